"""What event stores on Redis have got wrong again and again, as tests that ours must pass."""

import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import pytest
from redis.crc import key_slot

import eventstore
from eventstore import (
    EventsMissing,
    EventStore,
    Expected,
    Filter,
    Fold,
    Metadata,
    NewEvent,
    Priority,
    Receipt,
    RecordedEvent,
    WrongExpectedVersion,
    audit,
    jobs,
)
from eventstore.health import check
from eventstore.verify import verify
from infrastructure import lua
from infrastructure.server_program import find_program
from tests.support.fixtures import store_fixture
from tests.support.logs import blocked_clients, fill, numbers, stream_in
from tests.support.monitor import Call, monitored
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted, forget_ids, open_store, settings_of

pytestmark = pytest.mark.anyio

ANY, EXISTS = Expected.ANY, Expected.EXISTS
DAY_SECONDS = 86_400
TOTAL = Fold(0, lambda total, noted: total + noted.n)
IDS = [UUID(int=n) for n in range(1, 10)]


@pytest.fixture(params=["redis-server", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    program = find_program() if request.param == "embedded" else "redis-server"
    async with redis_server(program) as server:
        yield server


store = store_fixture()


def event(number: int) -> NewEvent:
    return NewEvent(id=IDS[number], data=Noted(number))


async def read(store: EventStore, stream: str, **how: int | bool) -> list[RecordedEvent]:
    return [event async for event in store.read(stream, **how)]  # type: ignore[arg-type]


# ---- the length of what is left, taken for the version ----


@pytest.fixture
async def archived(server: Server, store: EventStore) -> EventStore:
    """order-1 has five events, of which the first three are archived: neither in its index nor in the log. What is
    archived is older than any id that the log still knows."""
    for number in range(5):
        receipt = await store.append("order-1", [event(number)], expected=number)
    _archive_three_of_five(server, store, receipt)
    await forget_ids(store)
    return store


def _archive_three_of_five(server: Server, store: EventStore, receipt: Receipt) -> None:
    index = store.log.keys.index(receipt.partition, "order-1")
    server.admin("LPOP", index, 4)
    server.admin("LPUSH", index, 3)
    server.admin("XTRIM", store.log.keys.events(receipt.partition), "MINID", f"{receipt.epoch}-{receipt.position - 1}")


async def test_the_version_counts_what_is_archived(archived: EventStore) -> None:
    assert await archived.version("order-1") == 5
    for wrong in (0, 2, 3, 4, 6):
        with pytest.raises(WrongExpectedVersion) as refused:
            await archived.append("order-1", [Noted(5)], expected=wrong)
        assert refused.value.actual == 5
    assert (await archived.append("order-1", [Noted(5)], expected=5)).version == 6
    assert (await archived.append("order-1", [Noted(6)], expected=EXISTS)).version == 7
    assert (await archived.append("order-1", [Noted(7)])).version == 8


async def test_what_is_not_archived_is_read_under_its_own_version(archived: EventStore) -> None:
    await archived.append("order-1", [Noted(5)], expected=5)
    for found in (
        await read(archived, "order-1", from_version=4),
        (await read(archived, "order-1", backwards=True, limit=3))[::-1],
    ):
        assert [(each.version, each.data.n) for each in found] == [(4, 3), (5, 4), (6, 5)]


async def test_what_is_archived_is_told_as_missing_and_not_passed_over(archived: EventStore) -> None:
    for how in ({}, {"from_version": 3}, {"backwards": True}):
        with pytest.raises(EventsMissing):
            await read(archived, "order-1", **how)


async def test_a_repeat_is_found_at_its_version_behind_what_is_archived(archived: EventStore) -> None:
    assert (await archived.append("order-1", [event(3), event(4)], expected=3)).version == 5
    assert await archived.version("order-1") == 5


@pytest.mark.parametrize("expected", [0, 1, 2])
async def test_the_tail_is_not_taken_for_a_version_that_is_archived(archived: EventStore, expected: int) -> None:
    # LINDEX of a version below the base counts from the tail, where the event has the very id that is sent
    for number in (3, 4):
        with pytest.raises(WrongExpectedVersion):
            await archived.append("order-1", [event(number)], expected=expected)
    assert await archived.version("order-1") == 5


async def test_a_state_from_a_snapshot_has_the_version_of_all_events_behind_it(
    server: Server, store: EventStore
) -> None:
    await store.append("order-1", [event(number) for number in range(3)])
    assert await store.snapshot("order-1", TOTAL) == 3
    receipt = await store.append("order-1", [event(3), event(4)])
    _archive_three_of_five(server, store, receipt)
    async with store.writing("order-1", TOTAL) as writing:
        assert (writing.state, writing.version) == (0 + 1 + 2 + 3 + 4, 5)
        writing.append(Noted(5))
    assert await store.version("order-1") == 6


# ---- clocks of clients ----


@pytest.mark.parametrize("wrong_by", [-DAY_SECONDS, DAY_SECONDS])
async def test_a_client_whose_clock_is_a_day_wrong_changes_nothing(
    server: Server, store: EventStore, monkeypatch: pytest.MonkeyPatch, wrong_by: int
) -> None:
    stream = stream_in(0, 4)
    first = await store.append(stream, [Noted(1)])
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda real=time.time: real() + wrong_by)
        clock.setattr(time, "time_ns", lambda real=time.time_ns: real() + wrong_by * 10**9)
        async with open_store(server.settings, prefix=store.log.settings.prefix) as elsewhere:
            second = await elsewhere.append(stream, [Noted(2)])
    third = await store.append(stream, [Noted(3)])
    assert [each.position for each in (first, second, third)] == [1, 2, 3]
    assert len({each.epoch for each in (first, second, third)}) == 1
    assert first.recorded_at < second.recorded_at < third.recorded_at < first.recorded_at + 60 * 1_000_000
    seconds, _ = server.admin("TIME")
    assert abs(third.recorded_at // 1_000_000 - int(seconds)) < 60


# ---- keys ----


async def test_a_thousand_streams_make_no_redis_stream_of_their_own(server: Server, store: EventStore) -> None:
    async with anyio.create_task_group() as tasks:
        for i in range(1_000):
            tasks.start_soon(partial(store.append, f"order-{i}", [Noted(i)], expected=0))
    kinds = {key: server.admin("TYPE", key) for key in server.admin("KEYS", "*")}
    keys = store.log.keys
    streams = {keys_of(p) for p in range(4) for keys_of in (keys.events, keys.urgent, keys.outgoing)}
    assert {key.decode() for key, kind in kinds.items() if kind == b"stream"} == streams
    assert Counter(kinds.values()) == {b"list": 1_000, b"stream": 12, b"hash": 4 * 4 + 1}
    indexes = [server.admin("MEMORY", "USAGE", key) for key, kind in kinds.items() if kind == b"list"]
    assert max(indexes) < 400  # a Redis stream of one entry: 4,700


async def test_scripts_touch_the_keys_that_they_declare_and_no_other(server: Server) -> None:
    with monitored(server) as monitor:
        await _everything(server)
        calls = [call for call in monitor.calls() if call.is_script]
    assert _names(calls) == _scripts()
    assert [(call.words[:3], call.touched - call.declared) for call in calls if call.touched - call.declared] == []
    assert [call.words[:3] for call in calls if len({key_slot(key) for key in call.declared}) != 1] == []


async def _everything(server: Server) -> None:
    """Every operation of the log."""
    async with open_store(server) as store:
        await store.append("order-1", [event(0), event(1)], expected=0)
        await store.append("order-1", [event(0), event(1)], expected=0)
        await store.append("order-1", [Noted(2)], expected=EXISTS, metadata=Metadata(priority=Priority.CRITICAL))
        with pytest.raises(WrongExpectedVersion):
            await store.append("order-1", [Noted(3)], expected=7)
        for i in range(30):
            await store.append(f"order-{i}", [Noted(i)])
        for backwards in (False, True):
            assert await read(store, "order-1", backwards=backwards)
            assert [each async for each in store.read_partition(0, backwards=backwards)]
            assert [each async for each in store.read_all(order="total", backwards=backwards)]
        assert [each async for each in store.read_all(where=Filter(since=1))]
        assert await store.snapshot("order-1", TOTAL) == 4
        assert (await store.load("order-1", TOTAL)).snapshot_version == 4
        async with aclosing(store.subscribe(order="total")) as subscription:
            assert len([await anext(subscription) for _ in range(33)]) == 33
        await audit.record(store, "ada", "looked")
        async with jobs.running(store, "import", "ada"):
            pass
        assert await verify(store.log) == []
        await check(store.log.redis, settings_of(server, prefix=store.log.settings.prefix))


def _scripts() -> set[str]:
    """Those that are called; the rest is included by them."""
    files = list(Path(eventstore.__file__).with_name("scripts").glob("*.lua"))
    included = {
        name for file in files for name in re.findall(r"^-- include (\w+)\.lua$", file.read_text(), re.MULTILINE)
    }
    return {file.stem for file in files} - included


def _names(calls: list[Call]) -> set[str]:
    scripts = [lua.load("eventstore", name) for name in _scripts()]
    known = {key.encode(): each.name for each in scripts for key in (each.sha, each.source)}
    return {known[call.words[1]] for call in calls}


# ---- publish/subscribe for what is live ----


async def test_a_subscriber_that_was_cut_off_while_events_came_gets_all_of_them(
    server: Server, store: EventStore
) -> None:
    elsewhere = open_store(server.settings, prefix=store.log.settings.prefix)
    async with elsewhere as reader, aclosing(reader.subscribe()) as subscription:
        await fill(store, "order-1", 1)
        assert numbers([await anext(subscription)]) == [1]
        for first in (2, 12, 22):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut_off_and_fill, server, store, first)
                with anyio.fail_after(20):
                    assert numbers([await anext(subscription) for _ in range(10)]) == [*range(first, first + 10)]
    stats = server.admin("INFO", "commandstats").decode()
    assert re.findall(r"cmdstat_\w*(?:publish|subscribe)\w*", stats) == []


async def _cut_off_and_fill(server: Server, store: EventStore, first: int) -> None:
    await until(lambda: blocked_clients(server) == 1)
    for line in server.clients():
        if b"cmd=xread" in line:
            server.admin("CLIENT", "KILL", "ID", int(re.findall(rb"id=(\d+)", line)[0]))
    await fill(store, "order-1", 10, first=first)


# ---- no check for duplicates ----


@pytest.mark.parametrize("expected", [0, ANY])
async def test_an_append_that_is_sent_by_many_at_once_is_there_once(
    server: Server, store: EventStore, expected: int | Expected
) -> None:
    receipts = []
    sent = [NewEvent(id=uuid4(), data=Noted(i)) for i in range(3)]

    async def send(through: EventStore) -> None:
        receipts.append(await through.append("order-1", sent, expected=expected))

    elsewhere = open_store(server.settings, prefix=store.log.settings.prefix)
    async with elsewhere as other, anyio.create_task_group() as tasks:
        for through in [store, other] * 10:
            tasks.start_soon(send, through)
    assert len(receipts) == 20
    assert len(set(receipts)) == 1
    assert [each.id for each in await read(store, "order-1")] == [each.id for each in sent]


# ---- append and publish in two steps ----


async def test_one_script_call_writes_all_of_an_append(server: Server, store: EventStore) -> None:
    urgent = Metadata(priority=Priority.HIGH)
    await store.append("order-1", [Noted(0)])  # from now on the server knows the script
    with monitored(server) as monitor:
        await store.append("order-1", [event(number) for number in range(3)], metadata=urgent)
        (call,) = monitor.calls()
    assert call.is_script
    written = Counter(words[0].upper() for words in call.inner)
    assert (written[b"XADD"], written[b"RPUSH"], written[b"HSET"]) == (6, 1, 2)  # in log and urgent; index; head, ids


async def test_no_moment_shows_an_event_without_its_place_in_the_stream_the_log_and_the_head(
    server: Server, store: EventStore
) -> None:
    stream = stream_in(0, 4)
    keys = store.log.keys
    seen: set[int] = set()
    written = anyio.Event()

    async def write() -> None:
        for i in range(200):
            await store.append(stream, [Noted(i)] * (1 + i % 3), expected=ANY)
        written.set()

    def look() -> None:
        server.admin("MULTI")
        server.admin("LLEN", keys.index(0, stream))
        server.admin("XLEN", keys.events(0))
        server.admin("HGET", keys.head(0), "pos")
        index, events, position = server.admin("EXEC")
        assert max(index - 1, 0) == events == int(position)
        seen.add(events)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        while not written.is_set():
            await anyio.to_thread.run_sync(look)
    assert len(seen) > 10
