"""The end of the append-only file is lost: the log opens with what is left, whole, and no place is used twice.

A cut inside of a script's writes leaves the beginning of its MULTI in the file of Redis 7.0 and 8.0 and Valkey 8.1;
9.1.2 is mended (valkey-io/valkey#4342). Such a server does not apply it when it loads the file, but the *next* start
does, as part of the transaction that was written behind it. So there a server is cut once, ours often.
"""

import os
import random
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec import Struct

from eventstore import EventStore, NewEvent, Receipt
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.recorded import is_at_its_place, recorded
from tests.support.restarts import restart
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

PERSISTENT = ["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"]
ROUNDS = 100 if os.environ.get("EVENTSTORE_SOAK") else 8


class Written(Struct, frozen=True):
    """An append, and how long the file was once it had been acknowledged."""

    stream: str
    events: list[NewEvent]
    receipt: Receipt
    size: int


Places = dict[tuple[int, int, int], UUID]
"""(partition, epoch, position) of every event that ever was in the log, lost ones too."""


async def test_a_tail_that_is_cut_again_and_again() -> None:
    rng = _rng()
    async with redis_server(find_program(), PERSISTENT) as server:
        places: Places = {}
        kept: list[Written] = []
        lost: list[Written] = []
        for _ in range(ROUNDS):
            kept = await _write(server, kept, lost, places, rng)
            kept, lost = await _cut(server, kept, rng)
        await _write(server, kept, lost, places, rng)


@pytest.mark.parametrize("_time", range(4))
async def test_a_tail_that_is_cut_once(_time: int) -> None:
    rng = _rng()
    async with redis_server("redis-server", PERSISTENT) as server:
        places: Places = {}
        kept, lost = await _cut(server, await _write(server, [], [], places, rng), rng)
        await _write(server, kept, lost, places, rng)


async def _write(
    server: Server, kept: list[Written], lost: list[Written], places: Places, rng: random.Random
) -> list[Written]:
    """The log holds what was kept; what was lost is appended again, and then more. Returns all that it holds now."""
    async with open_store(server.settings, partitions=2, durability="fsync") as store:
        _holds_exactly(server, store, kept, places)
        again = [await _append(store, server, each.stream, each.events) for each in lost]
        epochs = {each.receipt.epoch for each in [*kept, *lost]}
        assert [each for each in again if each.receipt.epoch in epochs] == []
        more = [await _append(store, server, *_any_append(rng)) for _ in range(rng.randint(1, 12))]
        written = [*kept, *again, *more]
        _holds_exactly(server, store, written, places)
        assert await verify(store.log) == []
    return written


async def _cut(server: Server, written: list[Written], rng: random.Random) -> tuple[list[Written], list[Written]]:
    """Cuts within the last eight appends, and starts the server again. Returns what must be kept, and what is lost."""
    end = rng.randint(written[-8:][0].size, written[-1].size)
    os.truncate(_file(server), end)
    await restart(server)
    return [each for each in written if each.size <= end], [each for each in written if each.size > end]


def _rng() -> random.Random:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return random.Random(seed)


def _any_append(rng: random.Random) -> tuple[str, list[NewEvent]]:
    return f"order-{rng.randrange(4)}", [NewEvent(id=uuid4(), data=Noted(i)) for i in range(rng.randint(1, 4))]


async def _append(store: EventStore, server: Server, stream: str, events: list[NewEvent]) -> Written:
    receipt = await store.append(stream, events)
    return Written(stream, events, receipt, _file(server).stat().st_size)


def _file(server: Server) -> Path:
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return file


def _holds_exactly(server: Server, store: EventStore, kept: list[Written], places: Places) -> None:
    entries = recorded(server, store.log)
    assert [each for each in kept if not is_at_its_place(each.receipt, entries)] == []
    assert len(entries) == sum(len(each.events) for each in kept)
    for entry in entries:
        assert places.setdefault((entry.partition, entry.epoch, entry.position), entry.id) == entry.id
