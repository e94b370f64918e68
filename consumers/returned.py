"""Events that a handler returned, on their way: checked in full while the attempt may still fail by them.

The commit that finishes the cause writes them down and a relay carries them to their streams, which refuse nothing any
more: an event that could not be appended would block all that follow. So they are encoded here as an append does it.
Their ids derive from cause, group and place, so that whoever makes them again makes the same ones.
"""

import inspect
from collections.abc import Sequence
from uuid import UUID, uuid5

from msgspec import Struct

from consumers.context import To
from consumers.state import Outgoing
from eventstore.append import StreamAppend, encode
from eventstore.envelope import Metadata, NewEvent, Receipt, RecordedEvent
from eventstore.errors import EventStoreError, InvalidEvent, InvalidRequest, TooLarge
from eventstore.event_types import EventTypes
from eventstore.names import publishable
from infrastructure.settings import LogSettings

_REMEDY = "return an event (a msgspec Struct), To(stream, event), a list of these, or None"
_PLAIN = Metadata()


def events_of(returned: object, cause: RecordedEvent, handler: str) -> tuple[To, ...]:
    """What a handler returned, with the streams that it goes to. Raises InvalidEvent, which names the handler."""
    match returned:
        case None:
            return ()
        case list() | tuple():
            return tuple(_to(each, cause, handler) for each in returned)
        case _:
            return (_to(returned, cause, handler),)


def _to(event: object, cause: RecordedEvent, handler: str) -> To:
    stream = cause.stream
    if isinstance(event, To):
        stream, event = event.stream, event.event
    if isinstance(event, Struct) and not isinstance(event, To | RecordedEvent | Receipt | Metadata):
        return To(stream, event)
    if inspect.iscoroutine(event):
        event.close()
        raise InvalidEvent(f"{handler} returned a coroutine", field=handler, remedy="await it; define it async")
    raise InvalidEvent(f"{handler} returned {_told(event)}, which is no event", field=handler, remedy=_REMEDY)


def outgoing(
    events: Sequence[To],
    cause: RecordedEvent,
    group: str,
    handler: str,
    types: EventTypes,
    limits: LogSettings,
    partitions: int,
    job: str = "",
) -> tuple[Outgoing, ...]:
    """As the commit takes them. `job` is the replay in which they are made once more, for then they are other events.
    Raises InvalidEvent or TooLarge for what could not be appended, and names the handler."""
    try:
        if len(events) > limits.max_call_events:
            raise TooLarge("the number of events", len(events), limits.max_call_events, "max_call_events")
        made = tuple(
            _outgoing(each, cause, group, event_id(cause.id, group, place, job), types, limits, partitions)
            for place, each in enumerate(events)
        )
        size = sum(len(each.packed) for each in made)
        if size > limits.max_call_bytes:
            raise TooLarge("the events' size in bytes", size, limits.max_call_bytes, "max_call_bytes")
    except EventStoreError as error:
        raise _named(error, handler) from error
    return made


def event_id(cause: UUID, group: str, place: int, job: str = "") -> UUID:
    """A UUID of version 5: the same for the same four."""
    return uuid5(cause, f"{group}:{place}:{job}" if job else f"{group}:{place}")


def _outgoing(
    to: To,
    cause: RecordedEvent,
    group: str,
    new_id: UUID,
    types: EventTypes,
    limits: LogSettings,
    partitions: int,
) -> Outgoing:
    data, own = to.event, _PLAIN
    if isinstance(data, NewEvent):
        if data.id is not None:
            raise InvalidRequest("a returned event has an id", field="id", remedy="leave it out: it is derived")
        data, own = data.data, _PLAIN if data.metadata is None else data.metadata
    new = NewEvent(data=data, id=new_id, metadata=_metadata(own, cause, group))
    encoded = encode([StreamAppend(publishable(to.stream), [new])], {}, (), None, types, limits, partitions)
    part = encoded.parts[0]
    return Outgoing(encoded.partition, to.stream, part.events[0], cause.recorded_at, part.letters or "N")


def _metadata(own: Metadata, cause: RecordedEvent, group: str) -> Metadata:
    about = cause.metadata
    if not isinstance(own, Metadata):
        raise InvalidRequest("metadata is no Metadata", field="metadata", remedy="give eventstore.Metadata(...)")
    return Metadata(
        correlation_id=own.correlation_id or about.correlation_id,
        causation_id=own.causation_id or str(cause.id),
        traceparent=own.traceparent or about.traceparent,
        actor=own.actor or group,
        priority=own.priority,
        headers=own.headers,
    )


def _named(error: EventStoreError, handler: str) -> InvalidEvent:
    detail = f"{handler} returned an event that cannot be appended: {error.detail}"
    return InvalidEvent(detail, field=error.field, remedy=error.remedy, facts={**error.facts, "handler": handler})


def _told(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__} ({value!r:.80})"
