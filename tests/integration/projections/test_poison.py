"""An event that fails for good takes out its stream, stops the projection, or is passed over: as it is declared."""

from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import anyio
import pytest
import sqlalchemy as sa

from consumers.dead_letters import retry
from consumers.errors import GroupNotFound, OrderUnanswered
from consumers.groups import describe_group
from consumers.retry import Immediate, Park
from eventstore import EventStore, RecordedEvent, audit
from eventstore.partitions import partition_of
from projections import Projection, ReadModel, ReadModelBehind, Rows, projection, sql
from projections.home import home_of
from projections.operate import resume
from projections.status import GenerationShape, describe_projection
from tests.support.letters import audited, listed, until_listed
from tests.support.logs import fill
from tests.support.projected import counting, fold, rows_of, until_caught_up, until_rows
from tests.support.running import running
from tests.support.servers import Server, tries
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
GROUP = "projection.counts.1"


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as store:
        yield store


class Mendable:
    """Fails for the third event of order-1 until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True

    def __call__(self, event: RecordedEvent) -> bool:
        return self.is_broken and self.is_poison(event)

    def is_poison(self, event: RecordedEvent) -> bool:
        return event.stream == "order-1" and event.version == 3

    def is_behind(self, event: RecordedEvent) -> bool:
        return event.stream == "order-1" and event.version >= 3


async def test_a_stream_is_detached_and_a_retry_mends_its_rows(store: EventStore, database: str) -> None:
    poison = Mendable()
    count = counting(database, fails=poison)
    await fill(store, "order-1", 10)
    await fill(store, "order-2", 10)
    async with running(store, count):
        await until_rows(store, count, await fold(store, without=poison.is_behind))
        await fill(store, "order-2", 10, first=11)
        await until_rows(store, count, await fold(store, without=poison.is_behind))
        (letter,) = await until_listed(store, 1, GROUP)
        assert (letter.stream, letter.version, letter.waiting) == ("order-1", 3, 7)
        assert (await _live(store, count)).detached == 1
    async with running(store, count):  # another worker finds it as it was
        poison.is_broken = False
        await retry(store, GROUP, ["order-1"], who="ada")
        await until_rows(store, count, await fold(store))
        await fill(store, "order-1", 5, first=11)
        await until_rows(store, count, await fold(store))
        assert await listed(store, GROUP) == []


async def test_a_stream_that_came_back_counts_as_held_up_no_longer(store: EventStore, database: str) -> None:
    """Though no event follows in its partition: that of the audit stream is another one."""
    stream = next(name for n in range(9) if _partition(store, name := f"order-{n}") != _partition(store, audit.STREAM))
    is_broken = True
    count = counting(database, fails=lambda event: is_broken and (event.stream, event.version) == (stream, 3))
    await fill(store, stream, 5)
    async with running(store, count):
        await until_listed(store, 1, GROUP)
        is_broken = False
        await retry(store, GROUP, [stream], who="ada")
        await until_rows(store, count, await fold(store))
        async for _ in tries():
            if (await _live(store, count)).detached == 0:
                break


def _partition(store: EventStore, stream: str) -> int:
    return partition_of(stream, store.log.partitions)


async def test_without_a_worker_a_retry_has_no_answer_and_changes_nothing(store: EventStore, database: str) -> None:
    """Carried out in Redis alone, it would be undone by the next worker, to which the sink is the truth."""
    poison = Mendable()
    count = counting(database, fails=poison)
    await fill(store, "order-1", 10)
    async with running(store, count):
        await until_listed(store, 1, GROUP)
    with pytest.raises(OrderUnanswered):
        await retry(store, GROUP, ["order-1"], who="ada", wait_seconds=0.5)
    poison.is_broken = False
    async with running(store, count), anyio.create_task_group() as tasks:
        (letter,) = await until_listed(store, 1, GROUP)
        assert letter.attempts == 1
        tasks.start_soon(partial(retry, store, GROUP, ["order-1"], who="ada"))  # which waits for the worker
        await until_rows(store, count, await fold(store))


async def test_a_query_waits_for_a_stream_that_is_held_up(store: EventStore, database: str) -> None:
    poison = Mendable()
    count = counting(database, fails=poison)
    await fill(store, "order-1", 3)
    async with running(store, count):
        await until_listed(store, 1, GROUP)
        behind = await store.append("order-1", [Noted(9)])
        beside = await store.append("order-2", [Noted(9)])
        async with ReadModel.open(store, count) as model:
            await model.wait(beside)
            with pytest.raises(ReadModelBehind):
                await model.wait(behind, timeout="300ms")
            poison.is_broken = False
            await retry(store, GROUP, ["order-1"], who="ada")
            await model.wait(behind)
            assert await rows_of(model) == await fold(store)


async def test_an_event_is_tried_as_often_as_it_may(store: EventStore, database: str) -> None:
    calls = []

    def fails_twice(event: RecordedEvent) -> bool:
        calls.append((event.stream, event.version))
        return event.version == 2 and calls.count((event.stream, 2)) < 3

    count = counting(database, fails=fails_twice, retry=Immediate(attempts=3))
    await fill(store, "order-1", 4)
    async with running(store, count):
        await until_rows(store, count, await fold(store))
    assert calls.count(("order-1", 2)) == 3


async def test_a_change_that_the_database_refuses_fails_its_event_alone(store: EventStore, database: str) -> None:
    table = sa.Table(
        "limited",
        sa.MetaData(),
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.CheckConstraint("n <= 100", name="few"),
    )

    @projection("limited", sink=sql(table, url=database), retry=Park())
    def limited(event: RecordedEvent, rows: Rows) -> None:
        rows.put(table, stream=event.stream, n=event.data.n)

    for n in range(1, 31):
        await store.append(f"order-{n % 10}", [Noted(500 if n == 24 else n)])
    async with running(store, limited):
        (letter,) = await until_listed(store, 1, "projection.limited.1")
        assert (letter.stream, letter.version) == ("order-4", 3)
        assert "few" in letter.message
        await until_caught_up(store, limited, 1)
        async with home_of(store, limited.sink) as home:
            found = {row["stream"]: row["n"] for row in home.sink.read(sa.select(table))}  # type: ignore[attr-defined]
    assert found == {f"order-{n % 10}": n for n in range(21, 31)} | {"order-4": 14}


async def test_a_projection_that_stops_says_why_and_goes_on_when_it_is_told(store: EventStore, database: str) -> None:
    poison = Mendable()
    count = counting(database, fails=poison, poison="stop")
    await fill(store, "order-1", 5)
    async with running(store, count):
        async for _ in tries():
            if (found := await _paused(store)) is not None:
                break
        who, why = found  # type: ignore[misc]
        assert who == "projections"
        assert why.startswith('poison="stop": order-1@3 failed: ValueError: order-1@3 is poison')
        await until_listed(store, 1, GROUP)
        await fill(store, "order-2", 5)
        poison.is_broken = False
        await retry(store, GROUP, ["order-1"], who="ada", wait_seconds=5)
        async with home_of(store, count.sink) as home:
            await resume(store, home, "counts", who="ada")
        await until_rows(store, count, await fold(store))
        assert await _paused(store) is None
    assert [who for who, *_ in await audited(store, "group-pause")] == ["projections"]


async def test_a_projection_that_skips_passes_over_and_records(store: EventStore, database: str) -> None:
    poison = Mendable()
    count = counting(database, fails=poison, poison="skip")
    await fill(store, "order-1", 10)
    await fill(store, "order-2", 5)
    async with running(store, count):
        await until_rows(store, count, await fold(store, without=poison.is_poison))
        assert await listed(store, GROUP) == []
    ((who, _, why, facts),) = await audited(store, "dlq-discard")
    assert (who, why) == ("projections", 'poison="skip": ValueError: order-1@3 is poison')
    assert facts["letters"] == [{"stream": "order-1", "version": 3}]


async def test_what_a_worker_has_left_undone_is_skipped_by_the_next_one(store: EventStore, database: str) -> None:
    poison = Mendable()
    await fill(store, "order-1", 10)
    async with running(store, counting(database, fails=poison)):
        await until_listed(store, 1, GROUP)
    count = counting(database, fails=poison, poison="skip")
    async with running(store, count):
        await until_rows(store, count, await fold(store, without=poison.is_poison))


async def _live(store: EventStore, count: Projection) -> GenerationShape:
    async with home_of(store, count.sink) as home:
        live = (await describe_projection(store, home, count.name)).live
    assert live is not None
    return live


async def _paused(store: EventStore) -> tuple[str, str] | None:
    with suppress(GroupNotFound):
        shape = await describe_group(store, GROUP)
        return None if shape.paused is None else (shape.paused.who, shape.paused.why or "")
    return None
