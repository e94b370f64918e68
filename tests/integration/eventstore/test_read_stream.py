"""Reading one stream: order, bounds, pages, both directions, and what the log has lost."""

from typing import Any

import pytest

from eventstore import EventsMissing, EventStore, InvalidRequest, RecordedEvent, Unavailable
from eventstore.partitions import partition_of
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import Failover, collect, debuggable_server, fill, numbers
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


server = debuggable_fixture()
store = own_store_fixture()


async def read(store: EventStore, stream: str = "order-1", **how: Any) -> list[int]:
    return numbers([event async for event in store.read(stream, **how)])


async def test_events_come_back_as_they_were_appended(store: EventStore) -> None:
    receipt = await store.append("order-1", [Noted(1, "é"), Noted(2)])
    first, second = [event async for event in store.read("order-1")]
    assert (first.data, first.stream, first.version, first.type) == (Noted(1, "é"), "order-1", 1, "Noted")
    assert (second.version, second.position, second.epoch) == (2, receipt.position, receipt.epoch)
    assert (first.id, second.id) == receipt.ids
    assert first.recorded_at == second.recorded_at == receipt.recorded_at
    assert second.partition == partition_of("order-1", 4)


async def test_a_stream_without_events_is_empty_at_version_0(store: EventStore) -> None:
    assert await read(store) == await read(store, backwards=True) == []
    assert await store.version("order-1") == 0


async def test_bounds_and_directions(store: EventStore) -> None:
    await fill(store, "order-1", 10)
    assert await store.version("order-1") == 10
    assert await read(store, from_version=4) == [4, 5, 6, 7, 8, 9, 10]
    assert await read(store, from_version=4, limit=2) == [4, 5]
    assert await read(store, backwards=True, limit=3) == [10, 9, 8]
    assert await read(store, from_version=4, backwards=True) == [4, 3, 2, 1]
    assert await read(store, from_version=11) == []
    assert await read(store, from_version=99, backwards=True, limit=1) == [10]
    assert await read(store, limit=0) == []


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"from_version": 0}, "from_version"),
        ({"from_version": "1"}, "from_version"),
        ({"limit": -1}, "limit"),
        ({"limit": True}, "limit"),
    ],
)
async def test_a_wrong_bound_is_named(store: EventStore, how: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await read(store, **how)
    assert refused.value.field == field


async def test_a_wrong_name_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidRequest):
        await read(store, "a\nb")


async def test_streams_of_one_partition_lie_between_each_other_over_many_pages(server: Server) -> None:
    async with open_store(server.settings, partitions=1) as store:
        for i in range(1, 601):
            await store.append("order-1", [Noted(i)] if i % 3 else [Noted(i), Noted(-i)])
            await store.append(f"other-{i}", [Noted(0)])
        expected = [n for i in range(1, 601) for n in ([i] if i % 3 else [i, -i])]
        assert await read(store) == expected
        assert await read(store, backwards=True) == expected[::-1]
        assert await read(store, from_version=300, limit=300) == expected[299:599]


async def test_a_read_ends_at_the_version_it_saw_at_the_start(store: EventStore) -> None:
    await fill(store, "order-1", 300)
    seen: list[int] = []
    async for event in store.read("order-1"):
        if not seen:
            await fill(store, "order-1", 300, first=301)
        seen.append(event.data.n)
    assert seen == list(range(1, 301))


async def test_events_of_many_epochs_come_in_order(server: Server, store: EventStore) -> None:
    for i in range(30):
        await fill(store, "order-1", 1 + i % 4, first=10 * i)
        Failover(server).restart()
    expected = [10 * i + j for i in range(30) for j in range(1 + i % 4)]
    assert await read(store) == expected
    assert await read(store, backwards=True) == expected[::-1]
    assert len({event.epoch async for event in store.read("order-1")}) == 30


async def test_large_events_come_a_few_a_page(server: Server, store: EventStore) -> None:
    for i in range(20):
        await store.append("order-1", [Noted(i, "x" * 1_000_000)])
    calls = server.calls_of("evalsha")
    assert await read(store) == list(range(20))
    assert server.calls_of("evalsha") - calls == 20  # a second of them would be over the megabyte


async def test_an_event_that_is_gone_is_named(server: Server, store: EventStore) -> None:
    receipt = await fill(store, "order-1", 5)
    key = store.log.keys.events(receipt.partition)
    server.admin("XDEL", key, f"{receipt.epoch}-{receipt.position - 2}")
    for backwards in (False, True):
        with pytest.raises(EventsMissing) as missing:
            await read(store, backwards=backwards)
        assert (missing.value.where, missing.value.first, missing.value.last) == ("stream order-1", 3, 3)


async def test_a_read_does_not_mix_two_histories(server: Server, store: EventStore) -> None:
    failover = Failover(server)
    await fill(store, "order-1", 200)
    failover.replicated()
    await fill(store, "order-1", 400, first=201)
    reading = store.read("order-1")
    assert (await anext(reading)).data.n == 1
    failover.happen()
    await fill(store, "order-1", 400, first=1001)
    seen: list[RecordedEvent] = []
    with pytest.raises(EventsMissing, match="lost while order-1 was read"):
        await collect(reading, seen)
    assert numbers(seen) == list(range(2, 257))
    assert await read(store) == [*range(1, 201), *range(1001, 1401)]


async def test_types_that_the_process_does_not_know_read_as_dicts(server: Server, store: EventStore) -> None:
    await fill(store, "order-1", 1)
    async with open_store(server.settings, types=()) as stranger:
        (event,) = [event async for event in stranger.read("order-1")]
    assert event.data == {"n": 1, "text": ""}


async def test_reading_from_a_replica_is_refused(store: EventStore) -> None:
    async with debuggable_server() as other, open_store(other.settings) as lagging:
        await fill(lagging, "order-1", 1)
        other.admin("REPLICAOF", "127.0.0.1", 1)
        try:
            with pytest.raises(Unavailable) as refused:
                await read(lagging)
            assert refused.value.reason == "read-only"
        finally:
            other.admin("REPLICAOF", "NO", "ONE")
