"""What tests of scheduled events share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from consumers.timers import Scheduled, scheduled
from consumers.timers.firing import fire, look
from consumers.timers.timekeeper import Timekeeper, keeping_time
from consumers.verify import check_groups
from eventstore import EventStore, NewEvent, RecordedEvent
from eventstore.verify import CHECKS, verify
from tests.support.servers import tries
from tests.support.stores import Noted


def noted(n: int, event_id: UUID | None = None) -> NewEvent:
    return NewEvent(data=Noted(n), id=event_id or UUID(int=n, version=4))


async def waiting(store: EventStore) -> list[Scheduled]:
    return [each async for each in scheduled(store)]


async def found(store: EventStore) -> list[RecordedEvent]:
    """All events, in order of time."""
    return [event async for event in store.read_all(order="total")]


async def until_found(store: EventStore, count: int, seconds: float = 20.0) -> list[RecordedEvent]:
    async for _ in tries(seconds):
        if len(events := await found(store)) >= count:
            break
    return events


async def fire_all(store: EventStore, now_ms: int) -> int:
    """What a worker does at that time; how many it appended."""
    fired = 0
    for partition in range(store.log.partitions):
        due = await look(store.log, partition, now_ms=now_ms)
        while timers := due.until(now_ms):
            due = await fire(store.log, partition, timers, now_ms=now_ms)
            fired += due.fired
    return fired


@asynccontextmanager
async def two_timekeepers(store: EventStore, lease_seconds: float) -> AsyncIterator[tuple[Timekeeper, Timekeeper]]:
    """When they have shared the partitions."""
    async with (
        keeping_time(store.log, lease_seconds=lease_seconds) as one,
        keeping_time(store.log, lease_seconds=lease_seconds) as two,
    ):
        async for _ in tries():
            if not one.partitions & two.partitions and len(one.partitions | two.partitions) == store.log.partitions:
                break
        yield one, two


async def assert_sound(store: EventStore) -> None:
    assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
