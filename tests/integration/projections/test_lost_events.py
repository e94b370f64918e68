"""A failover that loses events which are in the rows: the read model is marked, and a rebuild puts it right."""

import pytest

from projections import ReadModel
from projections.home import home_of
from projections.operate import rebuild
from tests.support.letters import audited
from tests.support.logs import Failover, debuggable_server, fill
from tests.support.projected import counting, fold, rows_of, until_read, until_rows
from tests.support.running import running
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


async def test_rows_of_lost_events_are_told_of_and_go_with_a_rebuild(database: str) -> None:
    count = counting(database)
    async with debuggable_server() as server, open_store(server, partitions=1) as store:
        failover = Failover(server)
        async with running(store, count, lease_seconds=1):  # which comes back with the data of then
            await fill(store, "order-1", 20)
            await until_rows(store, count, await fold(store))
            failover.replicated()
            await fill(store, "order-1", 10, first=21)
            await until_rows(store, count, await fold(store))
            before = await fold(store)
        failover.happen()
        assert await store.version("order-1") == 20
        async with running(store, count), home_of(store, count.sink) as home:
            await fill(store, "order-1", 5, first=100)
            shape = await until_read(store, count, 1)
            async with ReadModel.open(store, count) as model:
                await model.wait(await fill(store, "order-1", 5, first=105), timeout="20s")
                assert await rows_of(model) != await fold(store)  # the lost ten are still in the sums
            (generation,) = await home.generations("counts")
            assert generation.diverged
            assert shape.generation == 1
            lost = await audited(store, "LostEvents")
            assert [(who, facts["partition"]) for who, _, _, facts in lost] == [("projection.counts.1", 0)]
            assert lost[0][3]["last"] >= 30
            assert lost[0][3]["first"] > 20
            await rebuild(store, home, "counts", who="ada")
            await until_read(store, count, 2)
            await until_rows(store, count, await fold(store))
            assert [each.diverged for each in await home.generations("counts")] == [True, False]
        assert await fold(store) != before


async def test_what_had_not_been_read_is_lost_without_a_trace(database: str) -> None:
    """Nor is a failover that loses nothing told of."""
    count = counting(database)
    async with debuggable_server() as server, open_store(server, partitions=1) as store:
        failover = Failover(server)
        async with running(store, count):
            await fill(store, "order-1", 20)
            await until_rows(store, count, await fold(store))
        failover.replicated()
        await fill(store, "order-1", 10, first=21)
        failover.happen()
        await fill(store, "order-1", 10, first=50)
        async with running(store, count), home_of(store, count.sink) as home:
            await until_rows(store, count, await fold(store))
            failover.restart()
            await fill(store, "order-1", 10, first=80)
            await until_rows(store, count, await fold(store))
            assert [each.diverged for each in await home.generations("counts")] == [False]
        assert await audited(store, "LostEvents") == []
