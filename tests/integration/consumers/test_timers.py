"""Scheduled events, through their public functions and a real server's scripts."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers import cancel_scheduled, consumer, schedule, scheduled
from consumers.errors import InvalidConsumer
from consumers.groups import create_group
from consumers.start import Start
from consumers.timers.calls import schedule_event, unschedule
from consumers.timers.firing import AHEAD_MS, MOST_TIMERS, fire, look
from consumers.timers.timekeeper import keeping_time
from eventstore import EventStore, Metadata, NewEvent, Priority, RecordedEvent
from eventstore.errors import IdConflict, InvalidEvent, InvalidRequest, TooLarge, Unavailable
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.logs import numbers, stream_in
from tests.support.running import running
from tests.support.servers import Server, tries, until
from tests.support.stores import Noted, forget_ids, open_store
from tests.support.timers import assert_sound, fire_all, found, noted, until_found, waiting

pytestmark = pytest.mark.anyio

server = server_fixture(scope="module")
store = store_fixture()
FAR = 4_000_000_000_000
"""Milliseconds: in the year 2096."""


async def test_an_event_is_appended_at_its_time_and_not_before(store: EventStore) -> None:
    async with keeping_time(store.log):
        soon = [await schedule(store, f"order-{n}", Noted(n), after=f"{200 + 50 * n}ms") for n in range(4)]
        assert await found(store) == []
        events = {event.stream: event for event in await until_found(store, 4)}
    for n, each in enumerate(soon):
        event = events[f"order-{n}"]
        assert (event.id, event.data, event.version, event.partition) == (each.id, Noted(n), 1, each.partition)
        assert 0 <= event.recorded_at - each.due_us < 5_000_000
    assert await waiting(store) == []
    await assert_sound(store)


async def test_a_worker_fires_and_its_handlers_get_them(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer("all")
    async def note(event: RecordedEvent) -> None:
        seen.append(event)

    async with running(store, note):
        await schedule(store, "order-1", Noted(1), after="100ms")
        await until(lambda: len(seen) == 1)
        await schedule(store, "order-1", Noted(2), after=0)
        await until(lambda: len(seen) == 2)
    assert [(event.stream, event.version, event.data.n) for event in seen] == [("order-1", 1, 1), ("order-1", 2, 2)]


async def test_what_is_past_is_due_at_once_and_in_its_order(store: EventStore) -> None:
    now = datetime.now(UTC)
    for days in (3, 9, 1, 7):
        await schedule(store, "order-1", Noted(days), at=now - timedelta(days=days))
    await schedule(store, "order-1", Noted(0), at=datetime(1901, 1, 1, tzinfo=UTC))
    async with keeping_time(store.log) as keeper:
        assert numbers(await until_found(store, 5)) == [0, 9, 7, 3, 1]
        await until(lambda: keeper.fired == 5)
    await assert_sound(store)


async def test_what_is_kept_of_the_event_is_what_an_append_keeps(store: EventStore) -> None:
    """Whatever version the stream has, above the cause, listed as urgent."""
    metadata = Metadata(
        correlation_id="t-7",
        causation_id="cause",
        traceparent="00-1-1-01",
        actor="ada",
        priority=Priority.CRITICAL,
        headers={"k": "v"},
    )
    receipt = await store.append("order-1", [Noted(1), Noted(2)])
    far_ahead = receipt.recorded_at + 60_000_000
    event = NewEvent(data=Noted(3, "ü" * 300), id=uuid4(), metadata=metadata)
    assert await schedule_event(store.log, "order-1", event, 1_000, far_ahead)
    assert await fire_all(store, 1) == 1
    *_, last = await found(store)
    assert (last.version, last.data, last.metadata, last.type) == (3, Noted(3, "ü" * 300), metadata, "Noted")
    assert last.recorded_at > far_ahead
    key = store.log.keys.urgent(last.partition)
    assert await store.log.redis.execute(key, "XLEN", key) == 1
    await assert_sound(store)


async def test_the_same_id_waits_once(store: EventStore) -> None:
    first = await schedule(store, "order-1", Noted(1), at=datetime(2096, 1, 1, tzinfo=UTC))
    again = await schedule(store, "order-1", Noted(1), after="1s", id=first.id)
    assert again == first
    assert not await schedule_event(store.log, "order-1", noted(1, first.id), 7)
    for stream, data in (("order-1", Noted(2)), (stream_in(first.partition, 4, "other"), Noted(1))):
        with pytest.raises(IdConflict, match=r"waits to be appended, as another event of order-1") as caught:
            await schedule(store, stream, data, after="1s", id=first.id)
        assert caught.value.field == "id"
    assert await waiting(store) == [first]


async def test_the_same_id_is_appended_once_within_the_duplicate_window(store: EventStore) -> None:
    first = await schedule(store, "order-1", Noted(1), after=0)
    assert await fire_all(store, FAR) == 1
    again = await schedule(store, "order-1", Noted(1), after=0, id=first.id)
    assert (again.state, again.id) == ("fired", first.id)
    with pytest.raises(IdConflict, match=r"in the log, as another event \(it is version 1 of order-1"):
        await schedule(store, "order-1", Noted(2), after=0, id=first.id)
    receipt = await store.append("order-1", [noted(1, first.id)])
    assert receipt.version == 1
    assert await waiting(store) == []
    await forget_ids(store)  # the window has passed
    assert (await schedule(store, "order-1", Noted(1), after=0, id=first.id)).state == "waiting"


async def test_an_id_that_an_append_uses_meanwhile_is_not_appended_again(store: EventStore) -> None:
    both = [await schedule(store, "order-1", Noted(n), at=datetime(2030, 1, n, tzinfo=UTC)) for n in (1, 2)]
    await store.append("order-1", [noted(1, both[0].id)])
    assert await fire_all(store, FAR) == 1
    assert numbers(await found(store)) == [1, 2]
    assert await waiting(store) == []
    await assert_sound(store)


async def test_who_cancels_is_told_whether_it_will_fire(store: EventStore) -> None:
    one, two = [await schedule(store, f"order-{n}", Noted(n), after="1h") for n in range(2)]
    assert not await cancel_scheduled(store, "order-9", one.id)
    other = stream_in(one.partition, 4, "other")
    assert not await cancel_scheduled(store, other, one.id)  # of another stream in the same partition
    assert await cancel_scheduled(store, "order-0", one.id)
    assert not await cancel_scheduled(store, "order-0", one.id)
    assert await waiting(store) == [two]
    assert await fire_all(store, FAR) == 1
    assert not await unschedule(store.log, "order-1", two.id)
    assert numbers(await found(store)) == [1]
    with pytest.raises(InvalidRequest) as caught:
        await cancel_scheduled(store, "order-1", "7")  # type: ignore[arg-type]
    assert caught.value.field == "id"


async def test_an_id_may_wait_again_once_it_was_taken_back(store: EventStore) -> None:
    """And whoever has looked before does not fire it before its new time, nor to its old stream."""
    log, partition = store.log, 2
    streams = [stream_in(partition, 4, category) for category in ("one", "two")]
    await schedule_event(log, streams[0], noted(1), 1_000)
    seen = await look(log, partition, now_ms=5)
    assert await unschedule(log, streams[0], UUID(int=1, version=4))
    assert await schedule_event(log, streams[0], noted(1), 9_000_000)
    due = await fire(log, partition, seen.told, now_ms=5)
    assert (due.fired, due.told, due.next_ms) == (0, (), 9_000)
    assert await unschedule(log, streams[0], UUID(int=1, version=4))
    assert await schedule_event(log, streams[1], noted(1), 1_000)
    due = await fire(log, partition, seen.told, now_ms=5)
    assert (due.fired, [each.stream for each in due.told]) == (0, [streams[1]])
    due = await fire(log, partition, due.told, now_ms=5)
    assert (due.fired, due.told, due.next_ms) == (1, (), None)
    await assert_sound(store)


async def test_of_what_is_due_nothing_is_passed_over(store: EventStore) -> None:
    """Who has looked before fires up to what came in between."""
    log, stream = store.log, stream_in(1, 4)
    for n in (2, 4):
        await schedule_event(log, stream, noted(n), n * 1_000)
    seen = await look(log, 1, now_ms=9)
    await schedule_event(log, stream, noted(3), 3_000)
    due = await fire(log, 1, seen.told, now_ms=9)
    assert due.fired == 1
    await fire(log, 1, due.told, now_ms=9)
    assert numbers(await found(store)) == [2, 3, 4]


async def test_what_is_told_ahead_is_not_fired_ahead(store: EventStore) -> None:
    stream = stream_in(1, 4)
    for ms in (50, 60, AHEAD_MS + 51):
        await schedule_event(store.log, stream, noted(ms), ms * 1_000)
    seen = await look(store.log, 1, now_ms=50)
    assert ([each.due_ms for each in seen.told], seen.later_ms) == ([50, 60], AHEAD_MS + 51)
    due = await fire(store.log, 1, seen.told, now_ms=50)
    assert (due.fired, [each.due_ms for each in due.told], due.next_ms) == (1, [60], 60)
    due = await fire(store.log, 1, seen.told, now_ms=59)
    assert due.fired == 0
    assert (await fire(store.log, 1, seen.told, now_ms=60)).fired == 1


async def test_pages_are_bounded_and_a_thousand_due_at_once_keep_their_order(store: EventStore) -> None:
    stream = stream_in(0, 4)
    for n in range(1, 1_001):
        await schedule_event(store.log, stream, noted(n), (2_000 - n % 10) * 1_000)
    due = await look(store.log, 0, now_ms=5_000)
    assert len(due.told) == MOST_TIMERS
    async with keeping_time(store.log) as keeper:
        events = await until_found(store, 1_000)
    assert keeper.fired == 1_000
    wanted = sorted(range(1, 1_001), key=lambda n: (2_000 - n % 10, str(UUID(int=n, version=4))))
    assert numbers(events) == wanted
    await assert_sound(store)


async def test_large_events_go_in_calls_of_a_mebibyte(store: EventStore) -> None:
    stream = stream_in(0, 4)
    for n in range(1, 7):
        await schedule_event(store.log, stream, NewEvent(data=Noted(n, "x" * 400_000), id=uuid4()), n * 1_000)
    due = await look(store.log, 0, now_ms=FAR)
    assert (len(due.told), due.later_ms) == (3, 4)
    assert await fire_all(store, FAR) == 6
    assert numbers(await found(store)) == [1, 2, 3, 4, 5, 6]


async def test_they_are_listed_in_order_of_their_times(store: EventStore) -> None:
    for n in range(1, 700):
        await schedule_event(store.log, f"order-{n % 9}", noted(n), (n * 7 % 101 + 1) * 1_000_000)
    listed = await waiting(store)
    assert len(listed) == 699
    assert [each.due_us for each in listed] == sorted(n * 7 % 101 * 1_000_000 + 1_000_000 for n in range(1, 700))
    assert {each.type for each in listed} == {"Noted"}
    of_one = [each async for each in scheduled(store, stream="order-4")]
    assert {each.id for each in of_one} == {UUID(int=n, version=4) for n in range(1, 700) if n % 9 == 4}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "at"),
        ({"at": datetime(2030, 1, 1, tzinfo=UTC), "after": "1s"}, "after"),
        ({"at": datetime(2030, 1, 1)}, "at"),  # without a zone
        ({"at": "2030-01-01T00:00:00Z"}, "at"),
        ({"after": "soon"}, "after"),
        ({"after": True}, "after"),
        ({"after": float("nan")}, "after"),
        ({"after": "5000d"}, "after"),
        ({"after": 1, "id": "7"}, "id"),
        ({"after": 1, "stream": "$audit"}, "stream"),
        ({"after": 1, "stream": ""}, "stream"),
        ({"after": 1, "event": NewEvent(data=Noted(1))}, "event"),
        ({"after": 1, "metadata": {"actor": "ada"}}, "metadata"),
    ],
)
async def test_what_cannot_be_meant_is_refused(store: EventStore, given: dict[str, Any], field: str) -> None:
    arguments = {"stream": "order-1", "event": Noted(1), **given}
    stream, event = arguments.pop("stream"), arguments.pop("event")
    with pytest.raises(InvalidRequest) as caught:
        await schedule(store, stream, event, **arguments)
    assert caught.value.field == field
    assert caught.value.remedy
    assert await waiting(store) == []


async def test_an_event_that_could_not_be_appended_is_refused_now(store: EventStore) -> None:
    with pytest.raises(TooLarge):
        await schedule(store, "order-1", Noted(1, "x" * 1_100_000), after=1)
    with pytest.raises(InvalidEvent):
        await schedule(store, "order-1", Noted(1, "\ud800"), after=1)
    assert await waiting(store) == []


async def test_zones_are_heeded_and_times_rounded_up(store: EventStore) -> None:
    at = datetime(2096, 1, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=5)))
    made = await schedule(store, "order-1", Noted(1), at=at)
    assert made.due_us == int(datetime(2096, 1, 1, 7, tzinfo=UTC).timestamp() * 1e6) + 1_000


async def test_no_group_may_be_called_as_what_fires_them(store: EventStore) -> None:
    with pytest.raises(InvalidConsumer, match="the name timers is taken") as caught:
        consumer("timers")
    assert caught.value.remedy
    with pytest.raises(InvalidRequest, match="the name timers is taken"):
        await create_group(store, "timers", Start("earliest"), who="ada")


async def test_out_of_memory_they_wait_and_can_still_be_taken_back(server: Server) -> None:
    async with open_store(server, append_timeout_seconds=0.2) as store:
        one, two = [await schedule(store, f"order-{n}", Noted(n), after=f"{n}s") for n in range(2)]
        with capture_logs() as logs:
            server.admin("CONFIG", "SET", "maxmemory", 1)
            try:
                async with keeping_time(store.log):
                    await until(lambda: any(each["event"] == "timers_wait" for each in logs))
                    assert await cancel_scheduled(store, "order-1", two.id)
                    assert (await schedule(store, "order-0", Noted(0), after=9, id=one.id)).due_us == one.due_us
                    with pytest.raises(Unavailable) as caught:
                        await schedule(store, "order-3", Noted(3), after=1)
                    assert (caught.value.reason, caught.value.maybe_ran) == ("out-of-memory", False)
            finally:
                server.admin("CONFIG", "SET", "maxmemory", 0)
        async with keeping_time(store.log):
            assert numbers(await until_found(store, 1)) == [0]
        assert await waiting(store) == []


async def test_an_earlier_one_wakes_who_sleeps_until_a_later_one(store: EventStore) -> None:
    stream = stream_in(0, 4)
    await schedule(store, stream, Noted(9), after="1h")
    async with keeping_time(store.log) as keeper:
        async for _ in tries():
            if len(keeper.partitions) == 4:
                break
        for n in (3, 2, 1):
            await schedule(store, stream, Noted(n), after=f"{n * 100}ms")
        assert numbers(await until_found(store, 3, 5.0)) == [1, 2, 3]


async def test_a_store_that_only_reads_schedules_nothing_and_takes_nothing_back(store: EventStore) -> None:
    async with EventStore.open(settings=store.settings, types=[Noted], read_only=True) as reader:
        with pytest.raises(Unavailable, match="read_only=True") as refused:
            await schedule(reader, "order-1", Noted(1), after=60)
        assert refused.value.reason == "permission"
        with pytest.raises(Unavailable, match="read_only=True"):
            await cancel_scheduled(reader, "order-1", uuid4())
