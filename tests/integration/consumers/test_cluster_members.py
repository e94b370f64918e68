"""Members in a Cluster of which a master is away: the partitions of the others move all the same."""

from collections.abc import AsyncIterator, Iterable

import pytest

from consumers.consumer import consumer
from consumers.keys import group_keys, home_of
from eventstore import EventStore, RecordedEvent
from infrastructure.settings import RedisSettings
from tests.support.cluster import ClusterOfServers, cluster, freeze, kill, thaw
from tests.support.running import running
from tests.support.servers import until
from tests.support.stores import open_store

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


def _owners(nodes: ClusterOfServers, store: EventStore, partitions: Iterable[int]) -> list[str]:
    """As the masters that are there have it."""
    keys = [group_keys(store.log.keys, GROUP, p).control for p in partitions]
    return [(nodes.owner(key).admin("HGET", key, "owner") or b"").decode() for key in keys]
