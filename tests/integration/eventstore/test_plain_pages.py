"""Long pages come by plain XRANGE: the same events, within the same bounds, whatever happens meanwhile."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import anyio
import pytest

from eventstore import EventsMissing, EventStore, LogDamaged, RecordedEvent
from eventstore.epochs import LostEvents
from eventstore.pages import BYTES_PER_PAGE, EVENTS_PER_PAGE
from eventstore.scan import Scan
from eventstore.subscribe import BYTES_PER_PARTITION, EVENTS_PER_PARTITION, subscribe
from tests.support.cluster import Move, cluster
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import Failover, collect, fill, numbers, stream_in
from tests.support.servers import Server
from tests.support.stores import Noted, open_store, rewrite

pytestmark = pytest.mark.anyio

EVENTS, STREAM = 4_500, stream_in(0, 4)
BY_SCRIPT = EVENTS // 16  # its XRANGEs
MIB = 1 << 20
LARGE, LARGE_ONES = "x" * (MIB - 1_000), 40
Reading = Callable[[EventStore], AsyncIterator[RecordedEvent]]
READINGS: dict[str, Reading] = {
    "a partition": lambda store: store.read_partition(0),
    "a partition backwards": lambda store: store.read_partition(0, backwards=True),
    "all": lambda store: store.read_all(),
    "all backwards": lambda store: store.read_all(backwards=True),
    "the total order": lambda store: store.read_all(order="total"),
}
readings = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS.keys())


server = debuggable_fixture()
store = own_store_fixture()


def ranges(server: Server) -> int:
    return server.calls_of("xrange") + server.calls_of("xrevrange")


def sent_bytes(server: Server) -> int:
    return int(re.findall(rb"total_net_output_bytes:(\d+)", server.admin("INFO", "stats"))[0])


async def large_ones(store: EventStore) -> None:
    for i in range(LARGE_ONES):
        await store.append(STREAM, [Noted(i, LARGE)])


@readings
async def test_a_thousand_events_are_one_range_and_not_sixty(
    server: Server, store: EventStore, reading: Reading
) -> None:
    await fill(store, STREAM, EVENTS)
    before = ranges(server)
    found = numbers([event async for event in reading(store)])
    assert sorted(found) == list(range(1, EVENTS + 1))
    assert found in (sorted(found), sorted(found, reverse=True))
    first_by_script = EVENTS_PER_PAGE // 16 + 1
    assert ranges(server) - before <= first_by_script + EVENTS // EVENTS_PER_PAGE


async def test_a_subscription_reads_history_so_too(server: Server, store: EventStore) -> None:
    await fill(store, STREAM, EVENTS)
    before = ranges(server)
    async with aclosing(store.subscribe()) as subscription:
        assert [(await anext(subscription)).data.n for _ in range(EVENTS)] == list(range(1, EVENTS + 1))
    assert ranges(server) - before < BY_SCRIPT // 2


@readings
async def test_epochs_make_no_difference(server: Server, store: EventStore, reading: Reading) -> None:
    lengths = (700, 3, 1, 1_500, 40, 128)
    for i, length in enumerate(lengths):
        await fill(store, STREAM, length, first=1 + sum(lengths[:i]))
        Failover(server).restart()
    found = [event async for event in reading(store)]
    await store.log.redis.execute(store.log.keys.head(0), "HDEL", store.log.keys.head(0), "largest")
    assert [event async for event in reading(store)] == found
    assert sorted(numbers(found)) == list(range(1, 1 + sum(lengths)))
    assert len({event.epoch for event in found}) == len(lengths)


async def test_a_log_that_an_older_release_began_is_read_by_script(server: Server, store: EventStore) -> None:
    await fill(store, STREAM, EVENTS)
    head = store.log.keys.head(0)
    server.admin("HDEL", head, "largest")
    await fill(store, STREAM, 1, first=EVENTS + 1)
    assert server.admin("HGET", head, "largest") is None
    before = ranges(server)
    assert numbers([event async for event in store.read_all()]) == list(range(1, EVENTS + 2))
    assert ranges(server) - before > BY_SCRIPT


# ---- bounds ----


async def test_where_one_event_is_large_pages_are_as_before(server: Server, store: EventStore) -> None:
    await fill(store, STREAM, EVENTS)
    await store.append(STREAM, [Noted(0, LARGE)])
    before = ranges(server)
    assert len([event async for event in store.read_all()]) == EVENTS + 1
    assert ranges(server) - before > BY_SCRIPT


async def test_what_grows_after_a_read_began_is_not_fetched(server: Server, store: EventStore) -> None:
    await fill(store, STREAM, EVENTS)
    scan = Scan(store.log, 0)
    found, pages = len(await scan.next()), 1
    await large_ones(store)
    before = sent_bytes(server), ranges(server)
    while entries := await scan.next():
        assert sum(len(value) for run in entries.runs for value in run.values) <= BYTES_PER_PAGE
        found, pages = found + len(entries), pages + 1
    assert found == EVENTS
    assert sent_bytes(server) - before[0] < MIB
    assert ranges(server) - before[1] < pages  # the older bound holds for what was there then


async def test_a_subscription_that_is_behind_holds_no_more_of_what_has_grown(server: Server) -> None:
    async with open_store(server.settings, partitions=1, prefix="one") as store:
        await fill(store, STREAM, EVENTS_PER_PARTITION + 500)
        async with aclosing(store.subscribe()) as subscription:
            await anext(subscription)
            await large_ones(store)  # the last page of what it knows is still to come
            before = sent_bytes(server)
            for _ in range(EVENTS_PER_PARTITION + 499 + LARGE_ONES):
                await anext(subscription)
                assert sum(len(entry.data) for entry in subscription._ready) <= BYTES_PER_PARTITION
            assert sent_bytes(server) - before < (LARGE_ONES + 1) * MIB  # nothing came to be thrown away


@pytest.mark.parametrize("reading", [READINGS["a partition"], READINGS["all"]], ids=["a partition", "all"])
async def test_another_history_with_large_events_is_not_fetched(
    server: Server, store: EventStore, reading: Reading
) -> None:
    await fill(store, STREAM, 1_200)
    Failover(server).replicated()
    await fill(store, STREAM, EVENTS - 1_200, first=1_201)
    events = reading(store)
    assert (await anext(events)).data.n == 1
    Failover(server).happen()
    await large_ones(store)
    before, seen = sent_bytes(server), list[RecordedEvent]()
    with pytest.raises(EventsMissing, match="lost while it was read"):
        await collect(events, seen)
    assert numbers(seen) == list(range(2, len(seen) + 2))
    assert sent_bytes(server) - before < 2 * BYTES_PER_PAGE


# ---- what is lost, missing or damaged ----


@readings
async def test_a_read_does_not_mix_two_histories(server: Server, store: EventStore, reading: Reading) -> None:
    await fill(store, STREAM, 2_500)
    Failover(server).replicated()
    await fill(store, STREAM, 3_500, first=2_501)
    seen: list[RecordedEvent] = []
    events = reading(store)
    async for event in events:
        seen.append(event)
        if len(seen) == 1_500:
            break
    Failover(server).happen()
    await fill(store, STREAM, 4_000, first=10_001)
    with pytest.raises(EventsMissing, match="lost while it was read"):
        await collect(events, seen)
    assert max(numbers(seen)) <= 6_000
    assert len({event.epoch for event in seen}) == 1


@pytest.mark.parametrize("delivered", [1_500, 4_500])
async def test_a_subscription_catches_up_through_a_loss(server: Server, store: EventStore, delivered: int) -> None:
    lost: list[LostEvents] = []

    async def on_lost(event: LostEvents) -> None:
        lost.append(event)

    await fill(store, STREAM, 3_000)
    Failover(server).replicated()
    await fill(store, STREAM, 3_000, first=3_001)
    async with aclosing(subscribe(store.log, on_lost=on_lost)) as subscription:
        seen = [await anext(subscription) for _ in range(delivered)]
        Failover(server).happen()
        await fill(store, STREAM, 3_000, first=10_001)
        while seen[-1].data.n != 13_000:
            seen.append(await anext(subscription))
    gone = [event for event in seen if 3_000 < event.data.n <= 6_000]
    assert [event.position for event in gone] == [p for each in lost for p in range(each.first, each.last + 1)]
    assert bool(gone) == (delivered > 3_000)
    left = [event for event in seen if event not in gone]
    assert left == [event async for event in store.read_partition(0)]


@readings
@pytest.mark.parametrize("at", [1, 1_500, 3_000, EVENTS])
async def test_a_hole_is_named(server: Server, store: EventStore, reading: Reading, at: int) -> None:
    receipt = await fill(store, STREAM, EVENTS)
    server.admin("XDEL", store.log.keys.events(0), f"{receipt.epoch}-{at}")
    with pytest.raises(EventsMissing) as missing:
        await collect(reading(store), [])
    assert (missing.value.where, missing.value.first, missing.value.last) == ("partition 0", at, at)


@readings
async def test_a_damaged_entry_is_named(server: Server, store: EventStore, reading: Reading) -> None:
    await fill(store, STREAM, EVENTS)
    rewrite(server, store.log.keys.events(0), lambda position, value: b"?" if position == 2_500 else value)
    with pytest.raises(LogDamaged, match="-2500 of partition 0 is not an event"):
        await collect(reading(store), [])


async def test_a_log_that_is_deleted_as_it_is_read_is_missing(server: Server, store: EventStore) -> None:
    await fill(store, STREAM, EVENTS)
    events = store.read_all()
    await anext(events)
    server.admin("DEL", store.log.keys.events(0))
    with pytest.raises(EventsMissing):
        await collect(events, [])


# ---- a slot on its way ----


@pytest.mark.parametrize("what", ["head", "events"])
async def test_a_slot_may_move_between_two_pages(what: str) -> None:
    async with cluster(2, replicas=False) as nodes, open_store(nodes.settings) as store:
        await fill(store, STREAM, EVENTS)
        keys = store.log.keys
        key = keys.head(0) if what == "head" else keys.events(0)
        target = next(node for node in nodes.masters() if node is not nodes.owner(key))
        move, seen = Move(nodes, key, target), []
        events = store.read_partition(0)
        seen.append(await anext(events))
        move.begin()
        move.step([key.encode()])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, events, seen)
            await nodes.answer("TRYAGAIN")
            assert len(seen) < EVENTS
            move.step(move.left())
            move.end()
        assert numbers(seen) == list(range(1, EVENTS + 1))
        assert {node.calls_of("evalsha") > 0 for node in nodes.masters()} == {True}
