"""Worker processes on a Cluster, under load, while its slots move and its masters die: no event is handled out of its
order, none is left out, and what handlers bring is written once. Where the log goes back, all of a group goes with it.
"""

import os
import random
from pathlib import Path

import anyio
import pytest

from eventstore import EventStore
from infrastructure.settings import RedisSettings
from tests.support.cluster import (
    ClusterOfServers,
    Move,
    cluster,
    cut_off,
    fail_over,
    freeze,
    is_master,
    kill,
    start_again,
    thaw,
)
from tests.support.consumer_worker import Work
from tests.support.servers import Server, until
from tests.support.stores import open_store
from tests.support.worked_load import WRITERS, WorkedLoad, takeover_seconds, under_load, until_handled_beyond
from tests.support.workers import workers

pytestmark = [pytest.mark.anyio]

PARTITIONS = 4
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
ROUNDS = 10 if SOAK else 1
STEPS = 4


@pytest.mark.timeout(120 + 600 * SOAK)
async def test_slots_that_move_to_another_master(tmp_path: Path) -> None:
    chance = random.Random(seed := _seed())
    async with (
        cluster(replicas=False) as nodes,
        open_store(_all_of(nodes), partitions=PARTITIONS, types=[Work]) as store,
        workers(store, tmp_path) as some,
    ):
        load = WorkedLoad(store)
        async with under_load(load):
            for each in [some.start(), some.start()]:
                await some.until_began(each.pid)
            for partition in chance.sample(range(PARTITIONS), PARTITIONS) * ROUNDS:
                await _move(nodes, store, partition, chance)
                await load.wrote(40)
        print(seed, load.refused)
        assert await load.check(some) == 0
        assert nodes.errors("MOVED") > 0
        assert nodes.errors("ASK") > 0


@pytest.mark.timeout(120 + 600 * SOAK)
@pytest.mark.parametrize("frozen", [False] + [True] * SOAK)
async def test_a_master_that_is_killed(tmp_path: Path, frozen: bool) -> None:
    chance = random.Random(seed := _seed())
    taken_over: list[float] = []
    async with (
        cluster(node_timeout_ms=1_000) as nodes,
        open_store(_all_of(nodes), partitions=PARTITIONS, types=[Work], durability="replicas:1") as store,
        workers(store, tmp_path) as some,
    ):
        load = WorkedLoad(store)
        async with under_load(load):
            for each in [some.start(), some.start()]:
                await some.until_began(each.pid)
            for _ in range(ROUNDS):
                await load.wrote(100)
                master = chance.choice([node for node in nodes.masters() if _partitions(nodes, store, node)])
                await _pause_replica(nodes, load, master)
                partitions, since = _partitions(nodes, store, master), anyio.current_time()
                if frozen:  # it has taken commits, and answers none
                    freeze(master)
                else:
                    await kill(master)
                await until(lambda master=master: is_master(nodes.partner(master)))  # type: ignore[misc]
                if frozen:
                    await kill(master)
                await start_again(master)  # without a replica nothing is acknowledged
                taken_over.append(await takeover_seconds(some, partitions, PARTITIONS, since))
                await nodes.healthy()
                await nodes.replicated(nodes.partner(master))
                await load.wrote(50)
        print(seed, load.refused, "taken over after", [round(seconds, 1) for seconds in taken_over])
        assert await load.check(some) == 0
    # a second until it counts as failed, about one until its replica is elected; the rest is a busy machine
    assert max(taken_over) < 15


@pytest.mark.timeout(120 + 600 * SOAK)
async def test_a_replica_that_has_less(tmp_path: Path) -> None:
    """The log and the group go back together: what was lost is not waited for, and what is there counts once."""
    chance = random.Random(seed := _seed())
    async with (
        cluster() as nodes,
        open_store(_all_of(nodes), partitions=PARTITIONS, types=[Work], durability="memory") as store,
        workers(store, tmp_path) as some,
    ):
        load = WorkedLoad(store, returns=False)  # which would be there twice, where only their causes were lost
        async with under_load(load):
            for each in [some.start(), some.start()]:
                await some.until_began(each.pid)
            master = chance.choice([node for node in nodes.masters() if _partitions(nodes, store, node)])
            for _ in range(ROUNDS):
                await load.wrote(100)
                await _lose(nodes, load, master)
                master = nodes.partner(master)
                await load.wrote(50)
        lost = await load.check(some)
        print(seed, load.refused, "lost", lost)
        assert lost > 0


async def _lose(nodes: ClusterOfServers, load: WorkedLoad, master: Server) -> None:
    """The replica of a master takes over without what was written last, and handled."""
    replica = nodes.partner(master)
    await nodes.replicated(master)
    await cut_off(replica, master)
    await load.wrote(60)
    await until_handled_beyond(load.store, master, _partitions(nodes, load.store, master))
    await kill(master)
    thaw(replica)
    await fail_over(replica, "TAKEOVER")
    await nodes.healthy()
    await start_again(master)
    await nodes.healthy()
    await nodes.replicated(replica)


async def _move(nodes: ClusterOfServers, store: EventStore, partition: int, chance: random.Random) -> None:
    """A partition goes to another master, key by key, while appends, commits and renewals meet the pieces."""
    key = store.log.keys.head(partition)
    move = Move(nodes, key, chance.choice([node for node in nodes.masters() if node is not nodes.owner(key)]))
    move.begin()
    keys = sorted(move.left(), key=lambda _: chance.random())
    for step in range(STEPS):
        move.step(keys[step::STEPS])
        await nodes.answer("TRYAGAIN" if step < STEPS - 1 else "ASK")
    while rest := move.left():
        move.step(rest)
    move.end()


async def _pause_replica(nodes: ClusterOfServers, load: WorkedLoad, master: Server) -> None:
    """What is written is not as durable as it shall be, so appends and commits are repeated that were carried out."""
    unknown = load.refused["OutcomeUnknown"]
    freeze(nodes.partner(master))
    await until(lambda: load.refused["OutcomeUnknown"] >= unknown + WRITERS)
    thaw(nodes.partner(master))
    await nodes.healthy()
    await nodes.replicated(master)


def _all_of(nodes: ClusterOfServers) -> RedisSettings:
    """By all of their addresses: who begins while one is down finds the others."""
    return RedisSettings(nodes=tuple(node.address for node in nodes.nodes), cluster=True, socket_timeout_seconds=2.0)


def _partitions(nodes: ClusterOfServers, store: EventStore, master: Server) -> list[int]:
    return [p for p in range(PARTITIONS) if nodes.owner(store.log.keys.head(p)) is master]


def _seed() -> int:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return seed
