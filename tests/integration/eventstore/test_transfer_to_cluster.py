"""A log moves into one with more partitions, in a Cluster or not: partitions are chosen anew, all else stays."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventstore import EventStore, Metadata, NewEvent, Priority, Receipt, RecordedEvent
from eventstore.partitions import hash_tags
from eventstore.transfer import export_events, import_events
from eventstore.verify import verify
from tests.support.cluster import ClusterOfServers, cluster
from tests.support.fixtures import server_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, forget_ids, open_store

pytestmark = pytest.mark.anyio

EVENTS, STREAMS = 600, 40


@pytest.fixture(scope="module")
async def nodes() -> AsyncIterator[ClusterOfServers]:
    async with cluster(replicas=False) as nodes:
        yield nodes


server = server_fixture(scope="module")


@pytest.fixture(params=["cluster", "lone"])
async def wider(request: pytest.FixtureRequest, nodes: ClusterOfServers, server: Server) -> AsyncIterator[EventStore]:
    """A log with 16 partitions."""
    where = nodes.settings if request.param == "cluster" else server.settings
    async with open_store(where, partitions=16, prefix="wider") as store:
        yield store


@asynccontextmanager
async def written(server: Server) -> AsyncIterator[EventStore]:
    """A log with four partitions, each event with what an event may have."""
    chance, receipts = random.Random(5), list[Receipt]()
    async with open_store(server, partitions=4) as store:
        for n in range(EVENTS // 2):
            cause = [chance.choice(receipts)] if receipts and n % 3 else []
            metadata = Metadata(actor=f"user-{n % 5}", priority=Priority.HIGH, headers={"n": str(n)})
            events = [NewEvent(data=Noted(2 * n)), NewEvent(data=Noted(2 * n + 1))]
            stream = f"note-{chance.randrange(STREAMS)}"
            receipts.append(await store.append(stream, events, causes=cause, metadata=metadata))
        yield store


async def test_a_log_is_carried_into_one_with_more_partitions(
    server: Server, wider: EventStore, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    async with written(server) as store:
        with file.open("wb") as out:
            async for line in export_events(store):
                out.write(line)
        lines = [json.loads(line)["id"] for line in file.read_text().splitlines()]
        assert lines == [str(event.id) async for event in store.read_all(order="total")]
        first = await import_events(wider, file, who="ada")
        assert (first.appended, first.already) == (EVENTS, 0)
        for number in range(STREAMS):
            here = [_kept(event) async for event in store.read(f"note-{number}")]
            assert here == [_kept(event) async for event in wider.read(f"note-{number}")] != []
    assert len({event.partition async for event in wider.read_all()}) > 10
    await forget_ids(wider)
    again = await import_events(wider, file, who="ada")
    assert (again.appended, again.already) == (0, EVENTS)
    assert len([event async for event in wider.read_all()]) == EVENTS
    assert await verify(wider.log) == []


@pytest.mark.parametrize("partitions", [1, 2, 4, 8, 16, 64])
async def test_partitions_spread_evenly_over_the_masters(nodes: ClusterOfServers, partitions: int) -> None:
    async with open_store(nodes.settings, partitions=partitions, prefix=f"p{partitions}") as store:
        owners = [nodes.owner(store.log.keys.head(p)) for p in range(partitions)]
        for p, tag in enumerate(hash_tags(partitions)):
            assert owners[p].admin("KEYS", f"p{partitions}:{{{tag}}}:head") == [store.log.keys.head(p).encode()]
    counts = sorted(owners.count(node) for node in nodes.nodes)
    assert counts in ([0, 0, 1], [0, 1, 1], [1, 1, 2], [2, 3, 3], [5, 5, 6], [20, 22, 22])


def _kept(event: RecordedEvent) -> tuple[object, ...]:
    return event.id, event.version, event.type, event.schema_version, event.data, event.metadata
