"""The Redis users of docs/reference.md, with exactly the rights that it lists: these suffice, and each is needed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from eventstore import EventStore, EventStoreError, NewEvent, Unavailable, audit
from eventstore.verify import verify
from gateway import actions
from gateway.self_test import measure
from infrastructure.secrets import Secret
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.accounts import ACCOUNT
from tests.support.every_server import EVERY, Promised
from tests.support.log_contract import CONTRACT, TYPES
from tests.support.logs import collect
from tests.support.reference import commands_of, rights_of
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

PREFIX = "es"
FIT = ["--maxmemory", "500mb", "--appendonly", "yes", "--aof-load-truncated", "no"]


class Machine(Struct):
    """A server, and whether it knows WAITAOF."""

    server: Server
    waitaof: bool

    def as_user(self, name: str, *changes: str, **log: object) -> Settings:
        """The user of that name as the reference makes it, with a few changes."""
        rules = rights_of(name, waitaof=self.waitaof)
        self.server.admin("ACL", "SETUSER", name, "reset", *rules, *changes)
        where = RedisSettings(host="127.0.0.1", port=self.server.port, username=name, password=Secret("password"))
        return Settings(redis=where, eventstore=LogSettings(**{"prefix": PREFIX, "partitions": 4, **log}))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    promised: Promised = request.param
    async with redis_server(promised.find(), FIT) as server:
        yield Machine(server, waitaof=(promised.product, promised.version) != ("redis", "7.0"))


@pytest.fixture(autouse=True)
def empty(machine: Machine) -> Iterator[None]:
    yield
    keys = machine.server.admin("KEYS", "*")
    machine.server.admin("FLUSHALL")
    assert [key for key in keys if not key.startswith(f"{PREFIX}:".encode())] == []


async def whole_contract(settings: Settings, folder: Path) -> None:
    for number, promise in enumerate(CONTRACT):
        own = replace(settings.eventstore, prefix=f"{PREFIX}:{number}")
        async with EventStore.open(settings=replace(settings, eventstore=own), types=TYPES) as store:
            await promise(store)


async def commands_of_an_operator(settings: Settings, folder: Path) -> None:
    """Each thing that a command of `eventstore` does, once."""
    async with EventStore.open(settings=settings, types=TYPES) as store:
        await store.append("order-1", [NewEvent(data=Noted(1), id=UUID(int=1))], expected=0)
        await store.append("order-2", [Noted(2)])
        await _read_all_ways(store)
        await audit.record(store, "ada", "replay")
        await store.snapshot("order-1", ACCOUNT)
        assert [s.stream for s in await actions.streams(store)] == ["order-1", "order-2"]
        assert (await actions.describe_log(store)).bytes is not None
        assert await actions.check_log(store, on_progress=lambda _done, _total: None) == []
        lines = [line async for line in actions.export_events(store, where=None, cloud_events=False, on_progress=_no)]
        (folder / "events.ndjson").write_bytes(b'{"type": "T", "stream": "new-1", "data": 1}\n')
        assert len(lines) == 2
        await actions.import_events(
            store,
            folder / "events.ndjson",
            name="events.ndjson",
            who="ada",
            why=None,
            stream=None,
            on_progress=_no,
            stop_requested=lambda: False,
        )
        (job,) = await actions.list_jobs(store, limit=None)
        assert (await actions.show_job(store, job.id)).state == "done"
    assert {check.status for check in await actions.check_server(settings)} == {"ok"}
    assert len([speed async for speed in measure(settings, 200)]) == 5


async def _read_all_ways(store: EventStore) -> None:
    for stream in ("order-1", "order-2"):
        await collect(store.read(stream), [])
    await collect(store.read_all(order="total"), [])
    async with aclosing(await actions.follow(store, where=None, order="partition", since=0)) as following:
        with anyio.fail_after(10):
            assert {(await anext(following)).stream for _ in range(2)} == {"order-1", "order-2"}
            with anyio.move_on_after(0.05):
                await anext(following)  # which waits at the server


def _no(_done: int, _total: int | None) -> None:
    """Progress is nobody's business here."""


PROGRAMS = (whole_contract, commands_of_an_operator)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
async def test_the_rights_of_the_reference_suffice(
    machine: Machine, program: Callable[[Settings, Path], Awaitable[None]], tmp_path: Path
) -> None:
    await program(machine.as_user("eventstore"), tmp_path)


async def test_without_any_one_of_them_it_is_named_before_anything_is_half_written(
    machine: Machine, tmp_path: Path
) -> None:
    silent, unnamed = [], []
    for command in commands_of("eventstore", waitaof=machine.waitaof):
        settings = machine.as_user("eventstore", f"-{command}", durability=_needing(command))
        try:
            await commands_of_an_operator(settings, tmp_path)
            silent.append(command)
        except (EventStoreError, AssertionError) as error:
            if not _names(error, command):
                unnamed.append((command, repr(error)))
        await _is_whole(machine)
        machine.server.admin("FLUSHALL")
        machine.server.admin("SCRIPT", "FLUSH")  # or EVAL is not needed
    assert unnamed == []
    assert silent == ["role", "select", "wait"], "needed with Sentinel, another database than 0, and replicas:N"


def _needing(command: str) -> str | None:
    """The durability that needs it: the others would not notice."""
    return "fsync" if command == "waitaof" else None


def _names(error: Exception, command: str) -> bool:
    if isinstance(error, AssertionError):  # a WARN of doctor, or a size that is not known: the reference says so
        return command in ("config|get", "memory|usage")
    said = f"{error} {error.remedy}" if isinstance(error, EventStoreError) else str(error)
    return command.partition("|")[0] in said.lower() and getattr(error, "reason", "") == "permission"


async def _is_whole(machine: Machine) -> None:
    """What was written before the refusal contradicts nothing."""
    if not machine.server.admin("EXISTS", f"{PREFIX}:log"):
        assert machine.server.admin("DBSIZE") == 0
        return
    async with open_store(machine.server.settings, types=TYPES, durability=None, prefix=PREFIX) as store:
        assert await verify(store.log) == []


async def test_a_reader_of_the_reference_reads_everything_and_appends_nothing(machine: Machine) -> None:
    async with EventStore.open(settings=machine.as_user("eventstore"), types=TYPES) as writer:
        await writer.append("order-1", [Noted(1)])
        await writer.append("order-2", [Noted(2)])
        before = machine.server.admin("DBSIZE"), machine.server.calls_of("hset")
        reading = machine.as_user("reader")
        async with EventStore.open(settings=reading, types=TYPES) as reader:
            await _read_all_ways(reader)
            assert [s.stream for s in await actions.streams(reader)] == ["order-1", "order-2"]
            assert await verify(reader.log) == []
            assert (await reader.load("order-1", ACCOUNT)).version == 1
            for refused in (reader.append("order-1", [Noted(3)]), audit.record(reader, "ada", "replay")):
                with pytest.raises(Unavailable, match="may only read") as caught:
                    await refused
                assert (caught.value.reason, caught.value.maybe_ran) == ("permission", False)
            async with aclosing(reader.subscribe(order="total")) as following:
                with pytest.raises(Unavailable, match=r"a promise, which needs hset") as caught, anyio.fail_after(10):
                    await anext(following)  # which wants promises of the other partitions
            assert (caught.value.reason, caught.value.maybe_ran) == ("permission", False)
            assert "--order partition" in str(caught.value.remedy)
        rights = {check.name: check for check in await actions.check_server(reading)}["rights"]
        assert (rights.status, rights.detail) == ("WARN", "this user may read, and not append")
        assert rights.fix == "ACL SETUSER <user> +hset +rpush +unlink +xadd +xgroup, if it is to append"
        assert (machine.server.admin("DBSIZE"), machine.server.calls_of("hset")) == before


async def test_without_time_the_right_is_named_where_the_log_is_made_already(machine: Machine) -> None:
    async with EventStore.open(settings=machine.as_user("eventstore"), types=TYPES):
        settings = machine.as_user("eventstore", "-time")
    with pytest.raises(Unavailable, match="rights: this user may not run: time") as caught:
        async with EventStore.open(settings=settings):
            pass
    assert caught.value.reason == "permission"
    checks = {check.name: check for check in await actions.check_server(settings)}
    assert (checks["rights"].status, checks["log"].status) == ("FAIL", "WARN")
    assert "'time'" in checks["log"].detail


async def test_a_reader_makes_no_log(machine: Machine) -> None:
    with pytest.raises(Unavailable, match="no log under 'es', and this user may not make one") as caught:
        async with EventStore.open(settings=machine.as_user("reader")):
            pass
    assert caught.value.reason == "permission"
    assert machine.server.admin("DBSIZE") == 0


async def test_keys_of_others_cannot_be_touched(machine: Machine) -> None:
    settings = machine.as_user("eventstore")
    elsewhere = replace(settings, eventstore=LogSettings(prefix="other"))
    with pytest.raises(Unavailable, match="key") as caught:
        async with EventStore.open(settings=elsewhere):
            pass
    assert "~other:*" in str(caught.value.remedy)
