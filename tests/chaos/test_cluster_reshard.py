"""Slots of the log move between masters of a Cluster, key by key, under load: nothing is lost, doubled or skipped."""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import anyio
import pytest

from eventstore import Cursor, EventStore
from eventstore.verify import Finding, verify
from gateway.overview import describe_log, streams
from tests.support.cluster import ClusterOfServers, Move, cluster
from tests.support.load import Load, loaded
from tests.support.logs import fill, stream_in
from tests.support.recorded import recorded_in
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

PARTITIONS = 4
ROUNDS = 20 if os.environ.get("EVENTSTORE_SOAK") else 2
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


async def test_who_meets_a_slot_on_its_way_waits_or_is_told_all_that_is_there(nodes: ClusterOfServers) -> None:
    async with open_store(nodes.settings, partitions=PARTITIONS) as store:
        names = sorted(f"order-{i}" for i in range(200))
        for name in names:
            await fill(store, name, 3)
        key = store.log.keys.head(1)
        move = Move(nodes, key, next(node for node in nodes.masters() if node is not nodes.owner(key)))
        move.begin()
        move.step([key.encode(), *[each for each in move.left() if b":i:" in each][::2]])  # the events stay behind
        found: dict[str, object] = {}

        async def note(name: str, asking: Callable[[], Awaitable[object]]) -> None:
            found[name] = await asking()

        async with anyio.create_task_group() as tasks:
            for asking in (_opened, _listed, _described, _verified, _read, _placed):
                tasks.start_soon(note, asking.__name__, partial(asking, nodes, store))
            for _ in range(10):
                await nodes.answer("TRYAGAIN")
            assert "_read" not in found
            assert "_opened" not in found
            move.step(move.left())
            move.end()
        assert found == {
            "_opened": 600,
            "_listed": names,
            "_described": 600,
            "_verified": [],
            "_read": 600,
            "_placed": await store.heads(),
        }


async def _opened(nodes: ClusterOfServers, _: EventStore) -> int:
    async with open_store(nodes.settings, partitions=PARTITIONS) as another:
        return await _read(nodes, another)


async def _listed(_: ClusterOfServers, store: EventStore) -> list[str]:
    return [each.stream for each in await streams(store)]


async def _described(_: ClusterOfServers, store: EventStore) -> int:
    return (await describe_log(store)).events


async def _verified(_: ClusterOfServers, store: EventStore) -> list[Finding]:
    return await verify(store.log)


async def _read(_: ClusterOfServers, store: EventStore) -> int:
    return len([event async for event in store.read_all()])


async def _placed(_: ClusterOfServers, store: EventStore) -> Cursor:
    return await store.position_at(1 << 60)


async def _move(nodes: ClusterOfServers, store: EventStore, load: Load, partition: int, chance: random.Random) -> None:
    """A partition goes to another master. Between two steps the writers and readers have met what the nodes answer."""
    key = store.log.keys.head(partition)
    target = chance.choice([node for node in nodes.masters() if node is not nodes.owner(key)])
    move = Move(nodes, key, target)
    move.begin()
    keys = sorted(move.left(), key=lambda _: chance.random())
    await nodes.answer("TRYAGAIN")
    for step in range(STEPS):
        move.step(keys[step::STEPS])
        await nodes.answer("TRYAGAIN" if step < STEPS - 1 else "ASK")
    while rest := move.left():
        move.step(rest)
    moved = nodes.errors("MOVED")
    move.end()
    await nodes.answer("MOVED", moved)
    await load.wrote(50)
