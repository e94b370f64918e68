"""Append: check what the caller gave, encode it, send it; a receipt comes back, or a named refusal."""

import sys
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from eventstore import codec, expected
from eventstore.envelope import Metadata, NewEvent, Priority, Receipt, RecordedEvent
from eventstore.errors import IdConflict, InvalidEvent, InvalidRequest, TooLarge
from eventstore.event_types import EventTypes
from eventstore.expected import Expected, ExpectedVersion
from eventstore.partitions import partition_of
from infrastructure.settings import LogSettings

if sys.version_info >= (3, 14):
    from uuid import uuid7
else:
    from uuid_utils.compat import uuid7

Cause = Receipt | RecordedEvent
_LETTERS = {Priority.LOW: ".", Priority.NORMAL: "N", Priority.HIGH: "H", Priority.CRITICAL: "C"}
_PLAIN = Metadata()
MAX_TEXT_BYTES = 1024
MAX_HEADERS_BYTES = 16 * 1024


class Append(Struct, frozen=True):
    """One append, encoded: what append.lua is sent of it, and what the receipt needs."""

    stream: str
    partition: int
    expected: ExpectedVersion
    own_ids: bool
    cause_at: int
    letters: str
    events: tuple[bytes, ...]
    ids: tuple[UUID, ...]
    size: int


def encode(
    stream: str,
    events: Sequence[object],
    expected_version: ExpectedVersion,
    causes: Sequence[Cause],
    metadata: Metadata | None,
    types: EventTypes,
    limits: LogSettings,
    partitions: int,
) -> Append:
    """Raises InvalidRequest, InvalidEvent, TooLarge or IdConflict; nothing has been sent then."""
    new = [_new_event(e) for e in _checked_batch(events, limits)]
    ids, own_ids = _ids(new)
    call = _with_causes(_checked_metadata(metadata) or _PLAIN, _checked_causes(causes))
    name, stored = stream.encode(), _stored_metadata(new, ids, call)
    packed = tuple(
        codec.pack(event_id, name, *types.encode(event.data), about)
        for event_id, event, about in zip(ids, new, stored, strict=True)
    )
    _check_sizes(packed, limits)
    return Append(
        stream=stream,
        partition=partition_of(stream, partitions),
        expected=expected.checked(expected_version),
        own_ids=own_ids,
        cause_at=max((c.recorded_at for c in causes), default=0),
        letters="".join([_LETTERS[(e.metadata or call).priority] for e in new]),
        events=packed,
        ids=ids,
        size=sum(map(len, packed)),
    )


def _checked_batch(events: Sequence[object], limits: LogSettings) -> Sequence[object]:
    if isinstance(events, str | bytes) or not isinstance(events, Sequence):
        raise InvalidRequest("events must be a list", field="events", remedy="append(stream, [event])")
    if not events:
        raise InvalidRequest("there is no event to append", field="events", remedy="give at least one event")
    if len(events) > limits.max_call_events:
        raise TooLarge("the number of events of the call", len(events), limits.max_call_events, "max_call_events")
    return events


def _new_event(event: object) -> NewEvent:
    if not isinstance(event, NewEvent):
        return NewEvent(data=event)
    _checked_metadata(event.metadata)
    return event


def _checked_metadata(metadata: Metadata | None) -> Metadata | None:
    if metadata is not None and not isinstance(metadata, Metadata):
        raise InvalidRequest(
            f"metadata is a {type(metadata).__name__}", field="metadata", remedy="give eventstore.Metadata(...)"
        )
    return metadata


def _checked_causes(causes: Sequence[Cause]) -> Sequence[Cause]:
    if not isinstance(causes, Sequence) or not all(isinstance(cause, Cause) for cause in causes):
        raise InvalidRequest(
            "causes must be a list of receipts and recorded events", field="causes", remedy="causes=[receipt]"
        )
    return causes


def _ids(events: Sequence[NewEvent]) -> tuple[tuple[UUID, ...], bool]:
    given = [e.id for e in events if e.id is not None]
    if not given:
        return tuple(uuid7() for _ in events), False
    if len(given) < len(events):
        raise InvalidRequest(
            f"{len(given)} of {len(events)} events have an id", field="id", remedy="give all events an id, or none"
        )
    seen: set[UUID] = set()
    for event_id in given:
        if not isinstance(event_id, UUID):
            raise InvalidRequest(f"id {event_id!r} is not a UUID", field="id", remedy="uuid.UUID(text)")
        if event_id in seen:
            raise IdConflict(event_id, "", 0, 0, 0, "stands twice in one call")
        seen.add(event_id)
    return tuple(given), True


def _with_causes(metadata: Metadata, causes: Sequence[Cause]) -> Metadata:
    """The call's metadata, with what the newest causes say where the caller said nothing. A receipt knows no
    correlation id, so it does not hide that of an older event."""
    if not causes:
        return metadata
    newest, *older = sorted(causes, key=lambda c: c.recorded_at, reverse=True)
    cause_id = newest.id if isinstance(newest, RecordedEvent) else newest.ids[-1]
    known = (c.metadata.correlation_id for c in (newest, *older) if isinstance(c, RecordedEvent))
    correlation = next(known, None)
    return _replaced(metadata, metadata.correlation_id or correlation, metadata.causation_id or str(cause_id))


def _stored_metadata(events: Sequence[NewEvent], ids: Sequence[UUID], call: Metadata) -> list[bytes]:
    if call is _PLAIN and len(events) == 1 and events[0].metadata is None:
        return [b""]
    # Without a correlation id the first event begins a transaction: its own id is the correlation id, stored for the
    # others of the call only.
    alone = call.correlation_id is not None or len(events) == 1
    others = call if alone else _replaced(call, str(ids[0]), call.causation_id)
    first = _stored(call)
    rest = first if alone else _stored(others)
    return [
        (rest if place else first) if e.metadata is None else _stored(_completed(e.metadata, others if place else call))
        for place, e in enumerate(events)
    ]


def _completed(own: Metadata, call: Metadata) -> Metadata:
    return _replaced(own, own.correlation_id or call.correlation_id, own.causation_id or call.causation_id)


def _replaced(metadata: Metadata, correlation_id: str | None, causation_id: str | None) -> Metadata:
    return Metadata(
        correlation_id=correlation_id,
        causation_id=causation_id,
        traceparent=metadata.traceparent,
        actor=metadata.actor,
        priority=metadata.priority,
        headers=metadata.headers,
    )


def _stored(metadata: Metadata) -> bytes:
    try:
        _check_metadata(metadata)
        return codec.pack_metadata(metadata)
    except (UnicodeEncodeError, TypeError, AttributeError) as error:
        raise InvalidEvent(f"metadata cannot be stored: {error}", field="metadata", remedy="use plain text") from error


def _check_metadata(metadata: Metadata) -> None:
    for field in ("correlation_id", "causation_id", "traceparent", "actor"):
        text = getattr(metadata, field)
        if text is not None and not 1 <= len(text.encode()) <= MAX_TEXT_BYTES:
            raise InvalidEvent(
                f"{field} has {len(text.encode())} bytes",
                field=f"metadata.{field}",
                remedy=f"1 to {MAX_TEXT_BYTES} bytes",
            )
    size = sum(len(k.encode()) + len(v.encode()) for k, v in metadata.headers.items())
    if size > MAX_HEADERS_BYTES:
        raise TooLarge("the headers' size in bytes", size, MAX_HEADERS_BYTES, None)


def _check_sizes(packed: Sequence[bytes], limits: LogSettings) -> None:
    for event in packed:
        if len(event) > limits.max_event_bytes:
            raise TooLarge("an event's size in bytes", len(event), limits.max_event_bytes, "max_event_bytes")
    total = sum(map(len, packed))
    if total > limits.max_call_bytes:
        raise TooLarge("the call's size in bytes", total, limits.max_call_bytes, "max_call_bytes")


def arguments(append: Append, index_key_place: int) -> list[str | int | bytes]:
    """What append.lua is sent of one append."""
    wanted = append.expected.value if isinstance(append.expected, Expected) else append.expected
    head = (index_key_place, wanted, int(append.own_ids), append.cause_at, append.letters, len(append.events))
    return [*head, *append.events]
