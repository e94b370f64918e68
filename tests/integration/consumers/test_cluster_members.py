"""Members in a Cluster of which a master is away: the partitions of the others move all the same."""

import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from subprocess import Popen

import pytest

from consumers.consumer import consumer
from consumers.keys import group_keys, home_of
from eventstore import EventStore, RecordedEvent
from eventstore.partitions import partition_of
from infrastructure.settings import RedisSettings
from tests.support.cluster import ClusterOfServers, cluster, freeze, kill, thaw
from tests.support.consumer_worker import GROUP as WORKED
from tests.support.consumer_worker import Work
from tests.support.running import running
from tests.support.servers import until
from tests.support.stores import open_store
from tests.support.workers import workers

pytestmark = pytest.mark.anyio

PARTITIONS = 6
GROUP = "away"


@pytest.fixture
async def nodes() -> AsyncIterator[ClusterOfServers]:
    async with cluster(replicas=False, args=["--cluster-require-full-coverage", "no"]) as nodes:
        yield nodes


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_partitions_of_the_other_masters_move(nodes: ClusterOfServers, is_frozen: bool) -> None:
    @consumer(GROUP, grace="0s")
    async def handle(event: RecordedEvent) -> None: ...

    where = RedisSettings(nodes=tuple(node.address for node in nodes.nodes), cluster=True, socket_timeout_seconds=2.0)
    async with open_store(where, partitions=PARTITIONS) as store:
        home = nodes.owner(group_keys(store.log.keys, GROUP, home_of(GROUP, PARTITIONS)).control)
        away = next(node for node in nodes.masters() if node is not home)
        there = [p for p in range(PARTITIONS) if nodes.owner(store.log.keys.head(p)) is not away]
        async with running(store, handle):
            await until(lambda: len(set(_owners(nodes, store, range(PARTITIONS)))) == 1)
            async with running(store, handle):
                await until(lambda: len(set(_owners(nodes, store, there)) - {""}) == 2)
                if is_frozen:
                    freeze(away)
                else:
                    await kill(away)
            await until(lambda: len(set(_owners(nodes, store, there)) - {""}) == 1)
            await until(lambda: "" not in _owners(nodes, store, there))
        if is_frozen:
            thaw(away)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_while_nobody_can_say_that_he_lives_the_dead_are_told_by_their_leases(
    nodes: ClusterOfServers, tmp_path: Path, how: signal.Signals
) -> None:
    """The home partition's master is away when one worker of two ends: all that can be held is the other's soon."""
    where = RedisSettings(nodes=tuple(node.address for node in nodes.nodes), cluster=True, socket_timeout_seconds=2.0)
    async with open_store(where, partitions=PARTITIONS, types=[Work]) as store, workers(store, tmp_path) as some:
        log = store.log
        ending, staying = some.start(), some.start()
        home = nodes.owner(group_keys(log.keys, WORKED, home_of(WORKED, PARTITIONS)).control)
        there = [p for p in range(PARTITIONS) if nodes.owner(log.keys.head(p)) is not home]

        def owned_by(process: Popen[bytes], partitions: Iterable[int]) -> list[bool]:
            return [f"-{process.pid}-" in each for each in _owners(nodes, store, partitions, WORKED)]

        await until(lambda: sum(owned_by(ending, range(PARTITIONS))) == sum(owned_by(staying, range(PARTITIONS))) == 3)
        await kill(home)
        ending.send_signal(how)
        await until(lambda: all(owned_by(staying, there)))
        streams = [f"order-{i}" for i in range(40) if partition_of(f"order-{i}", PARTITIONS) in there]
        for stream in streams:
            await store.append(stream, [Work()])
        await until(lambda: {note.stream for note in some.read() if note.what == "ended"} >= set(streams))
        assert all(owned_by(staying, there))


def _owners(nodes: ClusterOfServers, store: EventStore, partitions: Iterable[int], group: str = GROUP) -> list[str]:
    """As the masters that are there have it."""
    keys = [group_keys(store.log.keys, group, p).control for p in partitions]
    return [(nodes.owner(key).admin("HGET", key, "owner") or b"").decode() for key in keys]
