"""Each event has its effect once: through restarts, moves, two workers, and a database that is away."""

from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa
from msgspec import Struct

from eventstore import EventStore
from projections import ReadModel, ReadModelBehind, query
from tests.support.logs import fill
from tests.support.postgres import Postgres
from tests.support.projected import counting, fold, rows_of, streams, totals, until_read, until_rows
from tests.support.running import running
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


class Ignored(Struct, frozen=True):
    n: int = 0


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Noted, Ignored]) as store:
        yield store


async def test_rows_are_the_fold_and_stay_so_through_restarts(store: EventStore, database: str) -> None:
    count = counting(database)
    for first in (1, 101, 201):
        await fill(store, f"order-{first}", 60, first=first)
        await fill(store, "order-shared", 40, first=first)
        async with running(store, count):
            await until_rows(store, count, await fold(store))
    async with running(store, count), ReadModel.open(store, count) as model:  # and nothing is done again
        receipt = await store.append("order-9", [Noted(7)])
        await model.wait(receipt)
        assert await rows_of(model) == await fold(store)


async def test_two_workers_share_the_partitions_and_double_nothing(store: EventStore, database: str) -> None:
    count = counting(database)
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_append_on, store, stop)
        async with running(store, count, lease_seconds=2.0):
            await until_read(store, count)
            for _ in range(2):  # which comes, takes its share, and leaves again
                async with running(store, count, lease_seconds=2.0):
                    await _until_more(store, count, 100)
            stop.set()
            await until_rows(store, count, await fold(store))
        tasks.cancel_scope.cancel()


async def test_a_database_that_is_away_holds_up_and_loses_nothing(store: EventStore, postgres: Postgres) -> None:
    count = counting(postgres.new_database())
    async with running(store, count):
        await fill(store, "order-1", 50)
        await until_rows(store, count, await fold(store))
        await anyio.to_thread.run_sync(postgres.stop)
        try:
            await fill(store, "order-1", 50, first=51)
            await fill(store, "order-2", 50)
        finally:
            await anyio.to_thread.run_sync(postgres.start)
        await until_rows(store, count, await fold(store), seconds=30)


async def test_a_worker_may_start_before_its_database(store: EventStore, postgres: Postgres) -> None:
    count = counting(postgres.new_database())
    await fill(store, "order-1", 20)
    await anyio.to_thread.run_sync(postgres.stop)
    started = False
    try:
        async with running(store, count), anyio.create_task_group():
            await store.append("order-2", [Noted(1)])
            await anyio.to_thread.run_sync(postgres.start)
            started = True
            await until_rows(store, count, await fold(store), seconds=30)
    finally:
        if not started:
            await anyio.to_thread.run_sync(postgres.start)


async def test_a_query_waits_for_an_event_that_the_projection_does_not_read(store: EventStore, database: str) -> None:
    """C25: the checkpoint passes it, within a second."""
    count = counting(database, categories=["order"])
    async with running(store, count):
        await until_read(store, count)
        for stream in ("other-1", "other-2", "order-1"):
            receipt = await store.append(stream, [Ignored() if stream != "order-1" else Noted(3)])
            with anyio.fail_after(3):
                rows = await query(store, count, sa.select(streams), wait_for=receipt, timeout="1s")
        assert [(row["stream"], row["n"]) for row in rows] == [("order-1", 3)]


async def test_a_query_that_waits_in_vain_says_what_for(store: EventStore, database: str) -> None:
    count = counting(database)
    async with running(store, count):
        await until_read(store, count)
        await query(store, count, sa.select(totals), wait_for=await store.append("order-1", [Noted(1)]))
    receipt = await store.append("order-1", [Noted(2)])
    with pytest.raises(ReadModelBehind) as raised:
        await query(store, count, sa.select(totals), wait_for=receipt, timeout="50ms")
    assert (raised.value.wanted, raised.value.reached) == (receipt.position, receipt.position - 1)
    assert raised.value.partition == receipt.partition


async def _append_on(store: EventStore, stop: anyio.Event) -> None:
    n = 0
    while not stop.is_set():
        n += 1
        await store.append(f"order-{n % 40}", [Noted(n), Noted(n + 1)])


async def _until_more(store: EventStore, count: object, events: int) -> None:
    """Until so many more events have been appended and are in the rows."""
    heads = sum(position for _, position in (await store.heads()).places)
    while sum(position for _, position in (await store.heads()).places) < heads + events:
        await anyio.lowlevel.checkpoint()
    receipt = await store.append("order-0", [Noted(1)])
    await query(store, count, sa.select(totals), wait_for=receipt, timeout="20s")  # type: ignore[arg-type]
