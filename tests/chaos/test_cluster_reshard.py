"""Slots of the log move between masters of a Cluster, key by key, under load: nothing is lost, doubled or skipped."""

import os
import random
from collections.abc import AsyncIterator

import pytest

from eventstore import EventStore
from eventstore.verify import verify
from tests.support.cluster import ClusterOfServers, Move, cluster
from tests.support.load import Load, loaded
from tests.support.logs import stream_in
from tests.support.recorded import recorded_in
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

PARTITIONS = 4
ROUNDS = 20 if os.environ.get("EVENTSTORE_SOAK") else 2
STREAMS = 400  # of the partition that moves: a move takes several steps
STEPS = 6


@pytest.fixture
async def nodes() -> AsyncIterator[ClusterOfServers]:
    async with cluster(replicas=False) as nodes:
        yield nodes


@pytest.mark.timeout(60 + 60 * ROUNDS)
async def test_a_reshard_under_load_loses_doubles_and_skips_nothing(nodes: ClusterOfServers) -> None:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    chance = random.Random(seed)
    async with open_store(nodes.settings, partitions=PARTITIONS) as store:
        load = Load(store, seed=seed)
        async with loaded(load):
            await load.wrote(500)
            for turn in range(ROUNDS):
                partition = chance.randrange(PARTITIONS)
                await _move(nodes, store, load, partition, chance)
                await load.append(stream_in(partition, PARTITIONS, f"after{turn}"), 1, 0)
        print(load.refused)
        load.check(recorded_in(nodes, store.log))
        assert await verify(store.log) == []
        assert nodes.errors("MOVED") > 0
        assert nodes.errors("ASK") > 0
        assert nodes.errors("TRYAGAIN") > 0
        assert load.reads > 0


async def _move(nodes: ClusterOfServers, store: EventStore, load: Load, partition: int, chance: random.Random) -> None:
    """A partition goes to another master. Between two steps the writers and readers have met what the nodes answer."""
    key = store.log.keys.head(partition)
    target = chance.choice([node for node in nodes.masters() if node is not nodes.owner(key)])
    move = Move(nodes, key, target)
    move.begin()
    keys = sorted(move.keys(), key=lambda _: chance.random())
    await nodes.answer("TRYAGAIN")
    for step in range(STEPS):
        move.step(keys[step::STEPS])
        await nodes.answer("TRYAGAIN" if step < STEPS - 1 else "ASK")
    while rest := move.keys():
        move.step(rest)
    move.end()
    await nodes.answer("MOVED")
    await load.wrote(50)
