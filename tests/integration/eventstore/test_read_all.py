"""Reading partitions and the whole log: bounds, filters, times, both orders, cursors, holes."""

import random

import pytest

from eventstore import Cursor, EventsMissing, EventStore, Filter, InvalidRequest, Metadata, Receipt, RecordedEvent
from eventstore.scan import Scan
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import Failover, collect, fill, numbers, stream_in
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

Key = tuple[int, int, int]


server = debuggable_fixture()
store = own_store_fixture()


async def partition(store: EventStore, p: int = 0, **how: object) -> list[int]:
    return numbers([event async for event in store.read_partition(p, **how)])  # type: ignore[arg-type]


async def everything(store: EventStore, **how: object) -> list[RecordedEvent]:
    return [event async for event in store.read_all(**how)]  # type: ignore[arg-type]


def key(event: RecordedEvent) -> Key:
    return event.recorded_at, event.partition, event.position


async def spread(store: EventStore, n: int, seed: int = 1) -> None:
    """n events over all partitions, in calls of 1 to 5, some caused by the newest."""
    chance, i = random.Random(seed), 0
    newest: Receipt | None = None
    while i < n:
        count = min(chance.randint(1, 5), n - i)
        causes = [newest] if newest and chance.random() < 0.3 else []
        stream = f"{chance.choice(['order', 'invoice'])}-{chance.randrange(40)}"
        newest = await store.append(stream, [Noted(i + j) for j in range(count)], causes=causes)
        i += count


# ---- one partition ----


async def test_bounds_and_directions_of_a_partition(store: EventStore) -> None:
    assert await partition(store) == await partition(store, backwards=True) == []
    await fill(store, stream_in(0, 4), 10)
    assert await partition(store) == list(range(1, 11))
    assert await partition(store, from_position=8) == [8, 9, 10]
    assert await partition(store, from_position=3, backwards=True) == [3, 2, 1]
    assert await partition(store, from_position=11) == []
    assert await partition(store, from_position=99, backwards=True, limit=2) == [10, 9]
    assert await partition(store, limit=0) == []
    assert await partition(store, 1) == []


async def test_wrong_bounds_of_a_partition_are_named(store: EventStore) -> None:
    for how, field in [({"p": 4}, "partition"), ({"p": -1}, "partition"), ({"from_position": 0}, "from_position")]:
        with pytest.raises(InvalidRequest) as refused:
            await partition(store, **how)
        assert refused.value.field == field


async def test_a_partition_of_many_pages_and_epochs(server: Server, store: EventStore) -> None:
    for i in range(12):
        await fill(store, stream_in(0, 4), 300, first=300 * i)
        Failover(server).restart()
    assert await partition(store) == list(range(3600))
    assert await partition(store, backwards=True) == list(range(3600))[::-1]
    assert await partition(store, from_position=1700, limit=900) == list(range(1699, 2599))


async def test_pages_are_bounded_by_bytes(store: EventStore) -> None:
    stream = stream_in(0, 4)
    await fill(store, stream, 100)
    for i in range(30):
        await store.append(stream, [Noted(i, "x" * (1_000_000 if i % 2 else 100_000))])
    scan, pages = Scan(store.log, 0), []
    while entries := await scan.next():
        pages.append([len(value) for run in entries.runs for value in run.values])
    assert sum(map(len, pages)) == 130
    assert all(sum(page) <= 1 << 20 or len(page) == 1 for page in pages)


async def test_a_read_ends_at_the_head_it_saw_at_the_start(store: EventStore) -> None:
    stream = stream_in(0, 4)
    await fill(store, stream, 1500)
    seen: list[int] = []
    async for event in store.read_partition(0):
        if not seen:
            await fill(store, stream, 1500)
        seen.append(event.data.n)
    assert seen == list(range(1, 1501))


@pytest.mark.parametrize("at", [1, 5, 1000, 1001, 2000])
async def test_a_hole_is_named_wherever_it_is(server: Server, store: EventStore, at: int) -> None:
    receipt = await fill(store, stream_in(0, 4), 2000)
    server.admin("XDEL", store.log.keys.events(0), f"{receipt.epoch}-{at}")
    for backwards in (False, True):
        with pytest.raises(EventsMissing) as missing:
            await partition(store, backwards=backwards)
        assert (missing.value.where, missing.value.first, missing.value.last) == ("partition 0", at, at)


async def test_a_cut_end_is_named(server: Server, store: EventStore) -> None:
    await fill(store, stream_in(0, 4), 20)
    server.admin("DEL", store.log.keys.events(0))
    with pytest.raises(EventsMissing) as missing:
        await partition(store)
    assert (missing.value.first, missing.value.last) == (1, 20)


async def test_a_partition_does_not_mix_two_histories(server: Server, store: EventStore) -> None:
    failover, stream = Failover(server), stream_in(0, 4)
    await fill(store, stream, 900)
    failover.replicated()
    await fill(store, stream, 2100, first=901)
    reading = store.read_partition(0)
    assert (await anext(reading)).data.n == 1
    failover.happen()
    await fill(store, stream, 2100, first=5000)
    seen: list[RecordedEvent] = []
    with pytest.raises(EventsMissing, match="lost while it was read"):
        await collect(reading, seen)
    assert numbers(seen) == list(range(2, len(seen) + 2))
    assert len(seen) < 2000  # one page was on its way


async def test_a_read_that_is_left_early_leaves_nothing_behind(store: EventStore) -> None:
    await fill(store, stream_in(0, 4), 5000)
    for _ in range(5):
        reading = store.read_partition(0)
        assert (await anext(reading)).data.n == 1
        await reading.aclose()  # type: ignore[attr-defined]
    assert len(await partition(store)) == 5000


# ---- filters and times ----


async def test_filters_by_type_category_and_correlation(store: EventStore) -> None:
    await spread(store, 200)
    await store.append("order-1", [Noted(7)], metadata=Metadata(correlation_id="journey"))
    found = await everything(store, where=Filter(categories=("order",)))
    assert found == [event for event in await everything(store) if event.stream.startswith("order-")]
    assert numbers(await everything(store, where=Filter(correlation_id="journey"))) == [7]
    assert await everything(store, where=Filter(types=("Other",))) == []
    assert len(await everything(store, where=Filter(categories=("order",)), limit=3)) == 3


@pytest.mark.parametrize("order", ["partition", "total"])
@pytest.mark.parametrize("backwards", [False, True])
async def test_a_time_range_is_inclusive_on_both_sides(store: EventStore, order: str, backwards: bool) -> None:
    await spread(store, 400)
    times = sorted(event.recorded_at for event in await everything(store))
    since, until = times[100], times[250]
    found = await everything(store, order=order, backwards=backwards, where=Filter(since=since, until=until))
    assert sorted(event.recorded_at for event in found) == [t for t in times if since <= t <= until]
    for p in range(4):
        of_one = [e async for e in store.read_partition(p, backwards=backwards, where=Filter(since=since, until=until))]
        assert sorted(map(key, of_one)) == sorted(key(event) for event in found if event.partition == p)


async def test_what_lies_outside_of_a_time_range_is_not_read(server: Server, store: EventStore) -> None:
    await fill(store, stream_in(0, 4), 20_000)
    late = await store.append(stream_in(0, 4), [Noted(-1)])
    calls = server.calls_of("xrange")
    assert await partition(store, where=Filter(since=late.recorded_at)) == [-1]
    assert server.calls_of("xrange") - calls < 30  # a bisection and one page; a scan takes 1,250


async def test_the_position_at_a_time_is_the_last_at_or_before_it(server: Server, store: EventStore) -> None:
    for _ in range(4):
        await spread(store, 60)
        Failover(server).restart()
    events = await everything(store)
    for time in [0, *sorted({event.recorded_at for event in events})[::7], 2**52]:
        cursor = await store.position_at(time)
        for p, (epoch, position) in enumerate(cursor.places):
            before = [e for e in events if e.partition == p and e.recorded_at <= time]
            assert (epoch, position) == ((before[-1].epoch, before[-1].position) if before else (0, 0))
    assert await store.heads() == await store.position_at(2**52)


# ---- all partitions ----


async def test_the_whole_log_partition_after_partition(store: EventStore) -> None:
    await spread(store, 500)
    found = await everything(store)
    assert [(e.partition, e.position) for e in found] == sorted((e.partition, e.position) for e in found)
    assert sorted(numbers(found)) == list(range(500))
    back = await everything(store, backwards=True)
    assert sorted(map(key, back)) == sorted(map(key, found))


@pytest.mark.parametrize("partitions", [1, 3, 16])
async def test_the_total_order_in_both_directions(server: Server, partitions: int) -> None:
    async with open_store(server.settings, partitions=partitions) as store:
        await spread(store, 700)
        for p in range(partitions):
            await fill(store, stream_in(p, partitions), 1 + 700 * (p % 3))
        found = await everything(store, order="total")
        assert [key(e) for e in found] == sorted(key(e) for e in found)
        assert len(found) == sum([position for _, position in (await store.heads()).places])
        assert await everything(store, order="total", backwards=True) == found[::-1]
        assert await everything(store, order="total", limit=9, backwards=True) == found[::-1][:9]


async def test_an_empty_log_reads_as_nothing(store: EventStore) -> None:
    for order in ("partition", "total"):
        assert await everything(store, order=order) == await everything(store, order=order, backwards=True) == []


@pytest.mark.parametrize("order", ["partition", "total"])
@pytest.mark.parametrize("backwards", [False, True])
async def test_reading_on_from_a_cursor_page_by_page(store: EventStore, order: str, backwards: bool) -> None:
    await spread(store, 300)
    expected = await everything(store, order=order, backwards=backwards)
    cursor = await store.heads() if backwards else Cursor.start(4)
    found: list[RecordedEvent] = []
    while page := await everything(store, order=order, backwards=backwards, limit=37, cursor=cursor):
        found += page
        for event in page:
            cursor = cursor.before(event) if backwards else cursor.after(event)
        cursor = Cursor.parse(str(cursor))
    assert found == expected


async def test_system_streams_are_left_out_unless_asked_for(store: EventStore) -> None:
    await spread(store, 20)
    await store.append_to("$audit", [Noted(-1)])
    assert -1 not in numbers(await everything(store))
    assert -1 in numbers(await everything(store, system=True))
    assert len(await everything(store, limit=20)) == 20


async def test_a_wrong_order_and_a_foreign_cursor_are_refused(store: EventStore) -> None:
    with pytest.raises(InvalidRequest, match="no order 'time'"):
        await everything(store, order="time")
    with pytest.raises(InvalidRequest, match="3 partitions"):
        await everything(store, cursor=Cursor.start(3))


async def test_a_cursor_behind_lost_events_reads_on_from_what_is_common(server: Server, store: EventStore) -> None:
    failover, stream = Failover(server), stream_in(1, 4)
    await fill(store, stream, 10)
    failover.replicated()
    await fill(store, stream, 5, first=11)
    cursor = await store.heads()
    failover.happen()
    await fill(store, stream, 7, first=101)
    assert numbers(await everything(store, cursor=cursor)) == list(range(101, 108))
