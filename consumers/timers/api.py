"""Schedule events, take them back, list them.

await schedule(store, "order-42", PaymentDue(), after="15m")
"""

import heapq
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from consumers.errors import TimerNotFound
from consumers.timers.calls import Kept, Listed, encoded_event, keep, listed, unschedule
from consumers.timers.scheduled import Scheduled
from eventstore import audit
from eventstore.append import Append
from eventstore.arguments import may_be, must_be
from eventstore.envelope import Metadata, NewEvent
from eventstore.errors import InvalidRequest, LogDamaged
from eventstore.ids import new_id
from eventstore.log import Log
from eventstore.names import publishable, stream_name
from eventstore.partitions import partition_of
from eventstore.store import EventStore, must_append
from infrastructure.durations import LONGEST_SECONDS, parse_duration

PAGE_TIMERS = 250
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def schedule(
    store: EventStore,
    stream: str,
    event: Any,
    *,
    at: datetime | None = None,
    after: str | float | None = None,
    id: UUID | None = None,  # noqa: A002 - the word of every envelope
    metadata: Metadata | None = None,
) -> Scheduled:
    """Appends an event to a stream later, whatever version that has then: at a time (`at`, with a zone), or `after` a
    duration ("15m", or seconds). Exactly once and never before its time, by the clock of the partition's server, and
    within milliseconds while a worker runs (any `run`, `eventstore work` or `up`); after a downtime, when one does
    again. A time in the past is due at once. Those of one partition are appended in order of their due times.

    The event is checked in full now. When this returns it is kept as durably as an append. Repeating it with the same
    `id` changes nothing while the event waits, and within the duplicate window after it was appended; without one it is
    another event. Raises InvalidRequest, InvalidEvent, TooLarge, IdConflict; Unavailable (surely not kept),
    OutcomeUnknown (repeat it with the id that it names)."""
    must_append(store, stream)
    when = _when(at, after)
    may_be(UUID, "a UUID of your own, or None", id=id)
    if isinstance(event, NewEvent):
        raise InvalidRequest(
            "the event is a NewEvent", field="event", remedy="give its data, and beside it id= and metadata="
        )
    new = NewEvent(data=event, id=id or new_id(), metadata=metadata)
    encoded = encoded_event(store.log, publishable(stream), new)
    return _scheduled(store, encoded, await keep(store.log, encoded, when), when)


async def cancel_scheduled(store: EventStore, stream: str, id: UUID) -> bool:  # noqa: A002
    """Takes an event back that waits for its time. True: it will not be appended. False: it has been, or never waited
    for that stream. Raises Unavailable: try again."""
    must_be(UUID, "the id that schedule() returned", id=id)
    must_append(store, stream)
    return await unschedule(store.log, stream_name(stream), id)


async def cancel_by_operator(
    store: EventStore,
    stream: str,
    id: UUID,  # noqa: A002
    *,
    who: str,
    why: str | None = None,
) -> None:
    """Takes an event back, with an entry in the audit stream. Raises TimerNotFound if it does not wait."""
    if not await cancel_scheduled(store, stream, id):
        raise TimerNotFound(stream, id)
    await audit.record(store, who, "timer-cancel", why, {"stream": stream, "id": str(id)})


async def scheduled(store: EventStore, *, stream: str | None = None) -> AsyncIterator[Scheduled]:
    """The events that wait, of one stream or of all, in order of their due times; read a page of each partition at a
    time. What comes or goes meanwhile is told of or not. Raises Unavailable, LogDamaged."""
    log = store.log
    partitions = range(log.partitions) if stream is None else [partition_of(stream_name(stream), log.partitions)]
    sources = [_of_partition(log, partition, stream) for partition in partitions]
    heads = [(each.due_us, i, each) for i, source in enumerate(sources) if (each := await anext(source, None))]
    heapq.heapify(heads)
    while heads:
        _, i, first = heads[0]
        yield first
        following = await anext(sources[i], None)
        if following is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.due_us, i, following))


async def _of_partition(log: Log, partition: int, stream: str | None) -> AsyncIterator[Scheduled]:
    last: Listed | None = None
    while page := await listed(log, partition, last, PAGE_TIMERS):
        for each in page:
            if stream is None or each.stream == stream:
                yield Scheduled(_id(each.id), each.stream, each.type, each.due_ms * 1_000, partition)
        last = page[-1]
        if len(page) < PAGE_TIMERS:
            return


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise LogDamaged(f"a timer has the id {text[:60]!r}", remedy="eventstore verify tells which it is") from error


def _scheduled(store: EventStore, event: Append, kept: Kept, when: str) -> Scheduled:
    (part,) = event.parts
    packed = part.events[0]
    kind = packed[23 : 23 + packed[22]].decode()  # as codec.pack writes it
    due_us = kept.due_ms * 1_000 if kept.due_ms is not None else _asked_us(when)
    state: Literal["waiting", "fired"] = "fired" if kept.due_ms is None else "waiting"
    return Scheduled(part.ids[0], part.stream, kind, due_us, event.partition, state)


def _asked_us(when: str) -> int:
    """When it would have been due, of an event that the log has."""
    if when.startswith("+"):
        return (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1) // 1_000 * 1_000 + int(when) * 1_000
    return int(when) * 1_000


# ---- when ----


def _when(at: datetime | None, after: str | float | None) -> str:
    """As schedule.lua takes it: rounded up to a millisecond, for nothing fires before its time."""
    match at, after:
        case None, None:
            raise InvalidRequest("neither at nor after is given", field="at", remedy=_REMEDY)
        case datetime(), None:
            return str(_milliseconds(at))
        case None, _:
            return f"+{-(-round(_seconds(after) * 1e6) // 1_000)}"
    if after is not None:
        raise InvalidRequest("at and after are given", field="after", remedy="give one of them")
    raise InvalidRequest(f"at is {at!r:.60}", field="at", remedy=_REMEDY)


_REMEDY = 'at=datetime(2026, 11, 23, 8, tzinfo=UTC), or after="15m"'


def _milliseconds(at: datetime) -> int:
    if at.utcoffset() is None:
        raise InvalidRequest(f"at is {at.isoformat()}, without a zone", field="at", remedy=_REMEDY)
    return max(-((_EPOCH - at) // timedelta(milliseconds=1)), 0)


def _seconds(after: str | float | None) -> float:
    remedy = 'such as "200ms", "90s", "15m", "7d", or a number of seconds; ten years at the most'
    if isinstance(after, bool) or not isinstance(after, str | int | float):
        raise InvalidRequest(f"after is {after!r:.60}", field="after", remedy=remedy)
    try:
        seconds = parse_duration(after) if isinstance(after, str) else float(after)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"after is {after!r:.60}: {error}", field="after", remedy=remedy) from error
    if not seconds <= LONGEST_SECONDS:
        raise InvalidRequest(f"after is {after!r:.60}", field="after", remedy=remedy)
    return max(seconds, 0.0)
