"""What a hostile reader of the code has found about reading, streams that fail and generations: each was wrong once."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from consumers.brought import Bringing, Brought
from consumers.creation import ensure_group
from consumers.dead_letters import retry
from consumers.start import parse_start
from consumers.state import Effect, Row
from consumers.worker import Worker
from eventstore.envelope import Metadata, Receipt, RecordedEvent
from projections import ProjectionNotFound, ReadModel, ReadModelBehind
from projections.checkpoint import Part, Step
from projections.home import home_of
from projections.operate import rebuild
from projections.rows import PUT
from projections.runner import Runner
from projections.sinks.sql import SqlSink
from tests.support.logs import fill
from tests.support.projected import (
    ByHand,
    added,
    begun,
    counting,
    fold,
    totals,
    until_caught_up,
    until_read,
    until_rows,
)
from tests.support.running import running
from tests.support.servers import Server, tries
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
PART = Part("counts", 1, 0)


# ---- reading ----


async def test_what_was_waited_for_is_in_the_generation_that_is_read(
    opened: Callable[..., SqlSink],
) -> None:
    """It was looked for in one, and read of another that was switched to in between, and was behind."""
    sink, other = opened(), opened()
    for number in (1, 2):
        begun(sink)
        part = Part("counts", number, 0)
        sink.claim(part, 1)
        sink.switch("counts", number)
    sink.switch("counts", 1)
    sink.apply(PART, Step(1, 1, (1, 5), "", {}), [added("a", events=1)])

    def switch(connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "-- mine" in statement:
            other.switch("counts", 2)

    sa.event.listen(sink._engine, "before_cursor_execute", switch)
    model = ReadModel("counts", sink)
    receipt = Receipt("order-1", 5, 0, 1, 5, 0, ())
    with pytest.raises(ReadModelBehind):
        await model.query(sa.text("SELECT name FROM totals -- mine"), wait_for=receipt, timeout="100ms")
    assert await model.query(sa.text("SELECT name FROM totals")) == []
    other.switch("counts", 1)
    assert await model.query(sa.text("SELECT name FROM totals"), wait_for=receipt) == [{"name": "a"}]


async def test_of_two_that_are_waited_for_both_are_in_one_generation(opened: Callable[..., SqlSink]) -> None:
    sink, other = opened(), opened()
    for number in (1, 2):
        begun(sink)
        for partition in (0, 1):
            sink.claim(Part("counts", number, partition), 1)
        sink.switch("counts", number)
    sink.switch("counts", 1)
    sink.apply(PART, Step(1, 1, (1, 5), "", {}), [])  # it has the first of them, the other one the second
    sink.apply(Part("counts", 2, 1), Step(1, 1, (1, 5), "", {}), [])
    model = ReadModel("counts", sink)
    receipts = [Receipt("order-1", 5, partition, 1, 5, 0, ()) for partition in (0, 1)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_switch_when_looked, model, other)
        with pytest.raises(ReadModelBehind):
            await model.wait(receipts, timeout="500ms")


async def test_of_what_was_never_projected_nothing_is_read(opened: Callable[..., SqlSink]) -> None:
    with pytest.raises(ProjectionNotFound):
        await ReadModel("counts", opened()).query(sa.select(totals))


async def _switch_when_looked(model: ReadModel, other: SqlSink) -> None:
    async for _ in tries():
        if model._looks:
            break
    await anyio.to_thread.run_sync(other.switch, "counts", 2)


# ---- streams that have left the main pass ----


async def test_a_stream_that_leaves_again_with_the_same_row_keeps_it(
    opened: Callable[..., SqlSink], server: Server
) -> None:
    """The row went, as it was to when the stream had come back, and its event was never applied."""
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 20)
        mine = ByHand(store, opened(), begun(opened()))
        await ensure_group(store.log, mine.generation.group, parse_start("earliest"))
        await mine.take("ann")
        await mine.claim()
        await mine.commit(mine.call(20, rows={"order-1": Row(21)}))
        await mine.commit(mine.call(20, rows={"order-1": Row(21, attempts=1)}))  # it has caught up, and is to go
        await fill(store, "order-1", 1, first=21)
        await mine.commit(mine.call(21, rows={"order-1": Row(21, attempts=1)}))
        assert mine.sink.checkpoints("counts", 1)[0].detached == {"order-1": Row(21, attempts=1)}
        other = ByHand(store, mine.sink, mine.generation)
        await other.take("bob", force=True)
        assert dict((await other.claim()).rows) == {"order-1": Row(21, attempts=1)}


# ---- which generation is read ----


async def test_a_version_that_fails_is_not_read_before_that_is_dealt_with(server: Server, database: str) -> None:
    """It had caught up, as dead letters are passed over, and nothing was read any more."""
    async with open_store(server) as store:
        for stream in ("order-1", "order-2"):
            await fill(store, stream, 5)
        broken = True
        first = counting(database)
        second = counting(database, version=2, fails=lambda event: broken and event.stream == "order-1")
        async with running(store, first):
            await until_rows(store, first, await fold(store))
            with capture_logs() as lines:
                async with running(store, second):
                    async for _ in tries():
                        if any(line["event"] == "generation_held_up" for line in lines):
                            break
                    assert (await until_read(store, first)).generation == 1
                    broken = False
                    await retry(store, "projection.counts.2", ["order-1"], who="ada")
                    await until_read(store, second, 2)
                    await until_rows(store, second, await fold(store))


async def test_a_lower_version_that_comes_late_is_not_read(server: Server, database: str) -> None:
    """A rebuild of the version before, which went on as the newer one was begun."""
    async with open_store(server) as store:
        await fill(store, "order-1", 20)
        first, second = counting(database), counting(database, version=2, weight=10)
        async with running(store, first):
            await until_rows(store, first, await fold(store))
        async with home_of(store, first.sink) as home:
            await rebuild(store, home, "counts", who="ada")
        async with running(store, second):
            await until_read(store, second, 3)
        async with running(store, first):
            await until_caught_up(store, first, 2)
        async with home_of(store, first.sink) as home:
            runner = Runner(first, Worker(store, {}, anyio.Event()))
            known = await home.generations("counts")
            assert [(each.number, each.state) for each in known] == [(1, "kept"), (2, "building"), (3, "live")]
            for _ in range(3):
                assert not await runner._may_be_read(home, known, known[1])


# ---- memory ----


@pytest.mark.parametrize(
    "changes",
    [
        [Effect(PUT, "totals", (("name", "page"), ("a", "x" * 20_000)))],
        [Effect(PUT, "totals", (("name", "page"), ("a", {"lines": ["x" * 20_000]})))],
        [added("a", events=1)] * 100,
    ],
)
def test_changes_count_by_their_bytes(changes: list[Effect]) -> None:
    """Only events counted: 8,192 of them with 20 rows of 2 kB each took 330 MB."""
    bringing = Bringing()
    event = RecordedEvent(UUID(int=1), "order-1", 1, 0, 1, 1, 0, "noted", 1, Noted(1), Metadata())
    for _ in range(600):
        bringing.add(Brought(event, (), tuple(changes)))
    assert bringing.is_laden
    assert bringing.is_much
    assert len(bringing.taken_along(lambda _: True)) == 600
    assert not bringing.is_laden
    assert not bringing.is_much
