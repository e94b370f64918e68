"""Another generation is built beside the one that is read, and takes its place at once, all of it."""

from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa

from consumers.creation import ensure_group
from consumers.errors import GroupNotFound
from consumers.groups import describe_group
from consumers.start import parse_start
from consumers.worker import Worker
from eventstore import EventStore
from eventstore.jobs import WrongState
from projections import ProjectionNotFound, ReadModel, ReadModelBehind
from projections.generations import Generation
from projections.home import home_of
from projections.operate import BEHIND_AT_MOST, drop, rebuild, rollback
from projections.runner import Runner
from projections.sinks.sql import SqlSink
from projections.status import describe_projection
from tests.support.letters import audited
from tests.support.logs import fill
from tests.support.projected import (
    ByHand,
    counting,
    fold,
    rows_of,
    streams,
    totals,
    until_read,
    until_rows,
)
from tests.support.running import running
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as store:
        yield store


async def test_a_rebuild_under_load_loses_and_doubles_nothing_and_readers_see_whole_tables(
    store: EventStore, database: str
) -> None:
    count = counting(database)
    await fill(store, "order-1", 500)
    stop = anyio.Event()
    async with running(store, count), home_of(store, count.sink) as home:
        await until_rows(store, count, await fold(store))
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(_append_on, store, number, stop)
            reader = _Reader(database, 500)
            tasks.start_soon(anyio.to_thread.run_sync, reader.read_on)
            begun = await rebuild(store, home, "counts", who="ada", why="to see")
            await until_read(store, count, begun.number)
            stop.set()
            reader.is_over = True
        await until_rows(store, count, await fold(store))
        assert reader.wrong == []
        assert reader.reads > 10
        states = {each.number: each.state for each in await home.generations("counts")}
        assert states == {1: "kept", 2: "live"}
    assert [entry[0] for entry in await audited(store, "projection-rebuild", "generation-live")] == [
        "projections",
        "ada",
        "projections",
    ]


async def test_a_query_waits_for_the_generation_that_it_reads(store: EventStore, database: str) -> None:
    """C26: that another one, half built, has come to the event does not count."""
    receipt = await fill(store, "order-1", 20)
    count = counting(database)
    sink = SqlSink(database, (totals, streams))
    for number, position in ((1, 5), (2, 20)):
        begun = sink.begin(Generation("counts", 1, tables=count.tables), again=True)
        sink.prepare(begun)
        await ensure_group(store.log, begun.group, parse_start("earliest"))
        filling = ByHand(store, sink, begun, receipt.partition)
        await filling.take("ann")
        await filling.claim()
        await filling.commit(filling.call(position))
        if number == 1:
            sink.switch("counts", 1)
        else:
            await filling.commit(filling.call(position))
    async with ReadModel.open(store, count) as model:
        with pytest.raises(ReadModelBehind) as raised:
            await model.query(sa.select(totals), wait_for=receipt, timeout="100ms")
        assert raised.value.reached == 5
        assert (await rows_of(model))[0]["all"] == (1, 0)
        sink.switch("counts", 2)
        rows = await model.query(sa.select(totals), wait_for=receipt, timeout="100ms")
        assert [row["events"] for row in rows] == [2]
    sink.close()


async def test_a_generation_that_has_not_caught_up_is_not_read(store: EventStore, database: str) -> None:
    """However often one looks; and not at the first look that finds it where the log is, which may have gone on."""
    count = counting(database)
    async with running(store, count):
        receipt = await fill(store, "order-1", 20)
        await until_rows(store, count, await fold(store))
    async with home_of(store, count.sink) as home:
        begun = await rebuild(store, home, "counts", who="ada")
        await home.prepare(begun)
        await ensure_group(store.log, begun.group, parse_start("earliest"))
        runner = Runner(count, Worker(store, {}, anyio.Event()))
        known = await home.generations("counts")
        filling = [await _filling(store, SqlSink(database, (totals, streams)), begun, p) for p in range(4)]
        heads = [position for _, position in (await store.heads()).places]
        for each, head in zip(filling, heads, strict=True):
            if each.keys.partition != receipt.partition and head:
                await each.commit(each.call(head))
        for _ in range(3):
            assert not await runner._may_be_read(home, known, begun)
        last = filling[receipt.partition]
        await last.commit(last.call(heads[receipt.partition]))
        assert await runner._may_be_read(home, known, begun)
        for each in filling:
            each.sink.close()


async def _filling(store: EventStore, sink: SqlSink, generation: Generation, partition: int) -> ByHand:
    filling = ByHand(store, sink, generation, partition)
    await filling.take("ann")
    await filling.claim()
    return filling


async def test_a_new_version_is_built_beside_and_can_be_taken_back(store: EventStore, database: str) -> None:
    first, second = counting(database), counting(database, weight=10, version=2)
    await fill(store, "order-1", 50)
    async with running(store, first):
        await until_rows(store, first, await fold(store))
        async with running(store, second):
            await until_read(store, second, 2)
            await until_rows(store, second, await fold(store, weight=10))
            await fill(store, "order-2", 50)
            await until_rows(store, second, await fold(store, weight=10))
            async with home_of(store, second.sink) as home:
                assert (await rollback(store, home, "counts", who="ada", why="wrong sums")).number == 1
            await until_rows(store, first, await fold(store))  # it was filled all the time
        async with home_of(store, first.sink) as home:
            with pytest.raises(WrongState):
                await drop(store, home, "counts", 1, who="ada")
            await drop(store, home, "counts", 2, who="ada")
            with pytest.raises(ProjectionNotFound):
                await drop(store, home, "counts", 2, who="ada")
            with pytest.raises(WrongState):
                await rollback(store, home, "counts", who="ada")
            with pytest.raises(GroupNotFound):
                await describe_group(store, "projection.counts.2")
    assert not await anyio.to_thread.run_sync(_has_table, database, "totals__2")
    assert await anyio.to_thread.run_sync(_has_table, database, "totals__1")


async def test_nothing_goes_back_to_what_has_seen_less(store: EventStore, database: str) -> None:
    first, second = counting(database), counting(database, weight=10, version=2)
    await fill(store, "order-1", 50)
    async with running(store, first):
        await until_rows(store, first, await fold(store))
    async with running(store, second):  # nobody fills the first one any more
        await until_read(store, second, 2)
        await fill(store, "order-1", BEHIND_AT_MOST + 1)
        await until_rows(store, second, await fold(store, weight=10))
        async with home_of(store, second.sink) as home:
            with pytest.raises(WrongState, match="events behind the one that is read") as behind:
                await rollback(store, home, "counts", who="ada")
            assert "workers of version 1" in str(behind.value.remedy)
            sink = SqlSink(database, ())
            await anyio.to_thread.run_sync(sink.mark_diverged, "counts", 1)
            sink.close()
            with pytest.raises(WrongState, match="the log has lost"):
                await rollback(store, home, "counts", who="ada")


async def test_a_worker_of_an_older_version_fills_its_own_and_begins_none(store: EventStore, database: str) -> None:
    await fill(store, "order-1", 10)
    second, first = counting(database, version=2, weight=10), counting(database)
    async with running(store, second):
        await until_rows(store, second, await fold(store, weight=10))
    async with running(store, first), running(store, second):
        await fill(store, "order-1", 10, first=11)
        await until_rows(store, second, await fold(store, weight=10))
    async with home_of(store, second.sink) as home:
        assert [each.version for each in await home.generations("counts")] == [2]


async def test_a_generation_is_dropped_under_its_worker(store: EventStore, database: str) -> None:
    """Which leaves it within moments, and writes no more into it."""
    count = counting(database)
    stop = anyio.Event()
    async with (
        running(store, count, lease_seconds=60),
        home_of(store, count.sink) as home,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_append_on, store, 1, stop)
        await until_read(store, count, 1)
        await rebuild(store, home, "counts", who="ada")
        await until_read(store, count, 2)
        await drop(store, home, "counts", 1, who="ada")
        with pytest.raises(GroupNotFound):
            await describe_group(store, "projection.counts.1")
        stop.set()
        await until_rows(store, count, await fold(store))
    assert not await anyio.to_thread.run_sync(_has_table, database, "totals__1")


async def test_a_rebuild_that_is_dropped_begins_anew_with_another_number(store: EventStore, database: str) -> None:
    count = counting(database)
    await fill(store, "order-1", 50)
    async with running(store, count), home_of(store, count.sink) as home:
        await until_rows(store, count, await fold(store))
        for number in (2, 3):
            assert (await rebuild(store, home, "counts", who="ada")).number == number
            if number == 2:
                await drop(store, home, "counts", 2, who="ada")
        await until_read(store, count, 3)
        await until_rows(store, count, await fold(store))
        (shape,) = [await describe_projection(store, home, name) for name in await home.names()]
        assert {each.generation: each.state for each in shape.generations} == {1: "kept", 3: "live"}


class _Reader:
    """A reader of the view, in a thread, with a connection of its own."""

    def __init__(self, database: str, least: int) -> None:
        self.is_over = False
        self.wrong: list[object] = []
        self.reads = 0
        self._database, self._least = database, least

    def read_on(self) -> None:
        sink = SqlSink(self._database, (totals, streams))
        try:
            while not self.is_over:
                found = {row["name"]: row["events"] for row in sink.read(sa.select(totals))}
                whole = found.get("all", 0) == found.get("odd-0", 0) + found.get("odd-1", 0)
                if not whole or found.get("all", 0) < self._least:
                    self.wrong.append(found)
                self.reads += 1
        except Exception as error:  # noqa: BLE001 - it is what the test asks about
            self.wrong.append(error)
        finally:
            sink.close()


async def _append_on(store: EventStore, number: int, stop: anyio.Event) -> None:
    n = 0
    while not stop.is_set():
        n += 1
        await store.append(f"order-{number}-{n % 20}", [Noted(n)] * 5)


def _has_table(database: str, name: str) -> bool:
    sink = SqlSink(database, ())
    try:
        return bool(sa.inspect(sink._engine).has_table(name))
    finally:
        sink.close()
