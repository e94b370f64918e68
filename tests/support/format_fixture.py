"""Logs of released formats, as text: what every later release must open (tests/fixtures/formats).

    keys.ndjson      one Redis key a line, with what it holds: a log in which most that a log can hold is there
    export.ndjson    the same log by `eventstore export`

A release that stores something in another form leaves a fixture, made by the code of that release, and the fixtures of
older ones stay as they are:

    .venv/bin/python -m tests.support.format_fixture tests/fixtures/formats/2
"""

import asyncio
import json
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec import Struct

from eventstore import EventStore, Expected, Fold, Metadata, NewEvent, Priority, Untyped, audit, event, transfer
from infrastructure.settings import LogSettings, Settings
from tests.support.logs import Failover, debuggable_server
from tests.support.servers import Server

ROOT = Path(__file__).parents[1] / "fixtures" / "formats"
PARTITIONS = 2
NOTED = UUID("0192f2c4-0000-7000-8000-000000000001")
UNICODE = "kundin-Åsa/東京 🦊"


@event(name="OrderPlaced", version=2, upcasters={1: lambda old: {"cents": old["total"] * 100}})
class OrderPlaced(Struct, frozen=True):
    cents: int


@event(name="OrderPaid")
class OrderPaid(Struct, frozen=True):
    cents: int


TYPES = (OrderPlaced, OrderPaid)


class Owed(Struct, frozen=True):
    cents: int = 0


def owe(state: Owed, event: OrderPlaced | OrderPaid) -> Owed:
    return Owed(state.cents + (event.cents if isinstance(event, OrderPlaced) else -event.cents))


owed = Fold(Owed(), owe)


def settings_of(server: Server) -> Settings:
    """The prefix is part of the keys in a fixture."""
    return Settings(redis=server.settings, eventstore=LogSettings(partitions=PARTITIONS, durability="memory"))


async def write_history(store: EventStore, restart: Callable[[], None], lines: Path) -> None:
    """A bit of all that a log can hold, in two epochs. `restart` makes the server another process; `lines` is a file to
    import."""
    await store.append("order-1", [Untyped("OrderPlaced", {"total": 5}, 1)], expected=0)
    urgent = Metadata(
        correlation_id="purchase-7",
        causation_id="click-1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        actor="ada@example.com",
        priority=Priority.HIGH,
        headers={"tenant": "acme", "größe": "1 €"},
    )
    placed = await store.append("order-1", [NewEvent(data=OrderPlaced(700), metadata=urgent)], expected=1)
    low = Metadata(priority=Priority.LOW)
    await store.append(UNICODE, [Untyped("Kundin.neu", {"name": "Åsa 🦊", "tags": [None, 1.5, True]})], metadata=low)
    await store.append("order-1", [NewEvent(data=OrderPaid(300), id=NOTED)], expected=Expected.EXISTS)
    await store.append("{order-1}-lines", [OrderPlaced(n) for n in range(3)], causes=[placed])
    await audit.record(store, "ada", "fixture", "to be read for ever", {"größe": 1})
    await store.snapshot("order-1", owed)
    restart()
    critical = Metadata(priority=Priority.CRITICAL)
    for number in range(6):
        await store.append(f"order-{number}", [NewEvent(data=OrderPaid(number), metadata=critical)])
    await transfer.import_events(store, lines, who="ada", name="lines.ndjson")


# ---- keys as text ----


def dump(server: Server) -> Iterator[str]:
    """Every key of the server, one a line."""
    for key in sorted(server.admin("KEYS", "*")):
        kind = server.admin("TYPE", key).decode()
        yield json.dumps({"key": _text(key), "type": kind, "value": _READ[kind](server, key)}, ensure_ascii=False)


def load(server: Server, lines: str) -> None:
    """Makes each key anew on a server that has none."""
    assert server.admin("DBSIZE") == 0
    for line in lines.splitlines():
        found = json.loads(line)
        _WRITE[found["type"]](server, _bytes(found["key"]), found["value"])


def _text(value: bytes) -> Any:
    """UTF-8 as it is, else base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(text: Any) -> bytes:
    return b64decode(text["base64"]) if isinstance(text, dict) else text.encode()


def _read_hash(server: Server, key: bytes) -> list[list[Any]]:
    flat = server.admin("HGETALL", key)
    return [[_text(name), _text(value)] for name, value in sorted(zip(flat[::2], flat[1::2], strict=True))]


def _write_hash(server: Server, key: bytes, value: list[list[Any]]) -> None:
    server.admin("HSET", key, *(_bytes(each) for pair in value for each in pair))


def _read_list(server: Server, key: bytes) -> list[Any]:
    return [_text(each) for each in server.admin("LRANGE", key, 0, -1)]


def _write_list(server: Server, key: bytes, value: list[Any]) -> None:
    server.admin("RPUSH", key, *map(_bytes, value))


def _read_stream(server: Server, key: bytes) -> list[list[Any]]:
    return [[entry.decode(), *map(_text, fields)] for entry, fields in server.admin("XRANGE", key, "-", "+")]


def _write_stream(server: Server, key: bytes, value: list[list[Any]]) -> None:
    if not value:
        server.admin("XGROUP", "CREATE", key, "x", "0", "MKSTREAM")
        server.admin("XGROUP", "DESTROY", key, "x")
    for entry, *fields in value:
        server.admin("XADD", key, entry, *map(_bytes, fields))


_READ: dict[str, Any] = {"hash": _read_hash, "list": _read_list, "stream": _read_stream}
_WRITE: dict[str, Any] = {"hash": _write_hash, "list": _write_list, "stream": _write_stream}


# ---- to make one ----


def make(folder: Path) -> None:
    """Writes the fixture of what this release stores. Refuses a folder that has one."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as beside:
        lines = Path(beside, "lines.ndjson")
        lines.write_text('{"type": "Imported", "stream": "import-1", "data": {}}\n' * 2)
        keys, export = asyncio.run(_made(lines))
    (folder / "keys.ndjson").write_text("".join(f"{line}\n" for line in keys), "utf-8")
    (folder / "export.ndjson").write_bytes(b"".join(export))


async def _made(lines: Path) -> tuple[list[str], list[bytes]]:
    async with debuggable_server() as server:
        async with EventStore.open(settings=settings_of(server)) as store:
            await write_history(store, Failover(server).restart, lines)
        keys = list(dump(server))
        async with EventStore.open(settings=settings_of(server)) as untyped:
            return keys, [line async for line in transfer.export_events(untyped)]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
