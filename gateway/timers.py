"""Scheduled events as the ways in offer them, in the JSON shapes of all three."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from consumers import timers
from consumers.timers import Scheduled
from consumers.timers.api import cancel_by_operator
from eventstore.envelope import NewEvent
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from gateway.errors import BadRequest
from gateway.moments import EXPECTED_AHEAD, parse_moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduledShape(Struct, frozen=True):
    """An event that is appended to its stream at `due_at`; `fired`: the log has it already."""

    id: str
    stream: str
    type: str
    partition: int
    due_at: str
    state: str


class CancelledShape(Struct, frozen=True):
    """An event that waited and will not be appended."""

    stream: str
    id: str
    cancelled: bool = True


async def schedule(
    store: EventStore, stream: str, event: NewEvent, *, at: str | None = None, after: str | None = None
) -> ScheduledShape:
    """Appends an event at a time (RFC 3339, or epoch microseconds), or after a duration. Raises BadRequest, and what
    `consumers.schedule` does."""
    moment = None if at is None else _moment(at)
    return _shape(
        await timers.schedule(store, stream, event.data, at=moment, after=after, id=event.id, metadata=event.metadata)
    )


async def list_scheduled(
    store: EventStore, *, stream: str | None = None, limit: int | None = None
) -> AsyncIterator[ScheduledShape]:
    """The events that wait, the next first."""
    if limit == 0:
        return
    count = 0
    async for each in timers.scheduled(store, stream=stream):
        yield _shape(each)
        count += 1
        if count == limit:
            return


async def cancel_scheduled(
    store: EventStore, stream: str, event_id: UUID, *, who: str, why: str | None
) -> CancelledShape:
    """Raises TimerNotFound if it does not wait, or does no more."""
    await cancel_by_operator(store, stream, event_id, who=who, why=why)
    return CancelledShape(stream, str(event_id))


def _moment(text: str) -> datetime:
    if text.startswith("-"):
        raise BadRequest(f"{text!r} is not a time", field="at", remedy=EXPECTED_AHEAD)
    try:
        return _EPOCH + timedelta(microseconds=parse_moment(text, field="at"))
    except OverflowError as error:
        raise BadRequest(f"{text!r} is out of range", field="at", remedy=EXPECTED_AHEAD) from error


def _shape(each: Scheduled) -> ScheduledShape:
    return ScheduledShape(str(each.id), each.stream, each.type, each.partition, rfc3339(each.due_us), each.state)
