"""Masters of a Cluster are replaced under load: what was acknowledged at replicas:1 is there, once, and what a
subscriber saw and the log has lost is reported.
"""

import os
import random

import pytest

from eventstore.verify import verify
from tests.support.cluster import cluster, fail_over, freeze, is_master, kill, start_again
from tests.support.load import Load, loaded
from tests.support.recorded import recorded_in
from tests.support.servers import until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

PARTITIONS = 4
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))


@pytest.mark.timeout(120 + 600 * SOAK)
async def test_roles_exchanged_under_load_lose_double_and_skip_nothing() -> None:
    seed = _seed()
    async with (
        cluster() as nodes,
        open_store(nodes.settings, partitions=PARTITIONS, durability="replicas:1") as store,
    ):
        load = Load(store, seed=seed)
        async with loaded(load):
            await load.wrote(200)
            for made_first in nodes.masters() * (5 if SOAK else 1):
                master = made_first if is_master(made_first) else nodes.partner(made_first)
                await fail_over(nodes.partner(master))
                await nodes.healthy()
                await nodes.replicated(nodes.partner(master))
                await load.wrote(100)
        print(load.refused)
        load.check(recorded_in(nodes, store.log))
        assert await load.reports() == []
        assert await verify(store.log) == []


@pytest.mark.timeout(120 + 600 * SOAK)
@pytest.mark.parametrize("frozen", [False, True])
async def test_a_master_that_is_killed_takes_nothing_along_that_was_acknowledged(frozen: bool) -> None:
    chance = random.Random(seed := _seed())
    async with (
        cluster(node_timeout_ms=1_000) as nodes,
        open_store(nodes.settings, partitions=PARTITIONS, durability="replicas:1") as store,
    ):
        load = Load(store, seed=seed)
        async with loaded(load):
            for _ in range(10 if SOAK else 1):
                await load.wrote(200)
                master = chance.choice(nodes.masters())
                if frozen:  # it has taken appends, and answers none
                    freeze(master)
                    await until(lambda: load.refused["OutcomeUnknown"] > 0)
                await kill(master)
                await until(lambda master=master: is_master(nodes.partner(master)))  # type: ignore[misc]
                assert nodes.errors("CLUSTERDOWN") > 0
                await start_again(master)
                await nodes.healthy()
                await nodes.replicated(nodes.partner(master))
                await load.wrote(100)
        print(load.refused)
        load.check(recorded_in(nodes, store.log), lost=await load.reports())
        assert await verify(store.log) == []


def _seed() -> int:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return seed
