"""Append: check what the caller gave, encode it, send it; a receipt comes back, or a named refusal."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct

from eventstore import codec, expected
from eventstore.envelope import Metadata, NewEvent, Priority, Receipt, RecordedEvent
from eventstore.errors import DifferentPartitions, IdConflict, InvalidEvent, InvalidRequest, TooLarge
from eventstore.event_types import EventTypes
from eventstore.expected import Expected, ExpectedVersion
from eventstore.ids import new_id
from eventstore.names import publishable, stream_name
from eventstore.partitions import partition_of
from infrastructure.settings import LogSettings

Cause = Receipt | RecordedEvent
_LETTERS = {Priority.LOW: ".", Priority.NORMAL: "N", Priority.HIGH: "H", Priority.CRITICAL: "C"}
_PLAIN = Metadata()
_TEXTS = ("correlation_id", "causation_id", "traceparent", "actor")
OWN_IDS, GOES_ON = 1, 2  # flags of append.lua
MAX_TEXT_BYTES = 1024
MAX_HEADERS_BYTES = 16 * 1024


class StreamAppend(Struct, frozen=True):
    """Events for one stream of an `append_many`, and the version that it is expected at."""

    stream: str
    events: Sequence[Any]
    expected: ExpectedVersion = Expected.ANY


class Part(Struct, frozen=True, gc=False):
    """What an append does to one stream; without events it only checks the version."""

    stream: str
    expected: ExpectedVersion
    letters: str
    """One of `. N H C` for each event; empty where none is urgent."""
    events: Sequence[bytes]
    ids: tuple[UUID, ...]


class Append(Struct, frozen=True, gc=False):
    """One append, encoded: what append.lua is sent of it, and what the receipts need."""

    partition: int
    parts: Sequence[Part]
    own_ids: bool
    cause_at: int
    events: int
    """With the checks, for what waits is bounded by it."""
    size: int

    @property
    def stream(self) -> str:
        """The first that is written to."""
        return self.parts[0].stream

    @property
    def ids(self) -> tuple[UUID, ...]:
        return tuple(event_id for part in self.parts for event_id in part.ids)


def encode(
    appends: Sequence[StreamAppend],
    checks: Mapping[str, ExpectedVersion],
    causes: Sequence[Cause],
    metadata: Metadata | None,
    types: EventTypes,
    limits: LogSettings,
    partitions: int,
) -> Append:
    """Raises InvalidRequest, InvalidEvent, TooLarge, DifferentPartitions or IdConflict; nothing has been sent then."""
    if len(appends) == 1 and not checks and metadata is None and causes == ():
        plain = _plainly(appends[0], types, limits, partitions)
        if plain is not None:
            return plain
    new = [_new(event) for each in appends for event in _checked_batch(each)]
    if len(new) > limits.max_call_events:
        raise TooLarge("the number of events of the call", len(new), limits.max_call_events, "max_call_events")
    ids, own_ids = _ids([event.id for event in new])
    letters, stored = _about(new, ids, _call_metadata(metadata, causes))
    parts, first, size = [], 0, 0
    for each in appends:
        end = first + len(each.events)
        name = each.stream.encode()
        packed = [
            codec.pack(event_id, name, *types.encode(event.data), about)
            for event_id, event, about in zip(ids[first:end], new[first:end], stored[first:end], strict=True)
        ]
        size += _checked_size(packed, limits)
        parts.append(Part(each.stream, expected.checked(each.expected), letters[first:end], packed, ids[first:end]))
        first = end
    if size > limits.max_call_bytes:
        raise TooLarge("the call's size in bytes", size, limits.max_call_bytes, "max_call_bytes")
    parts += [Part(stream, expected.checked(wanted, "checks"), "", (), ()) for stream, wanted in checks.items()]
    size += sum([len(stream.encode()) for stream in checks])
    cause_at = max([c.recorded_at for c in causes]) if causes else 0
    return Append(_one_partition(parts, partitions), parts, own_ids, cause_at, len(new) + len(checks), size)


def _plainly(given: StreamAppend, types: EventTypes, limits: LogSettings, partitions: int) -> Append | None:
    """What most appends are: events of one stream without a word about them. It takes 0.6 of the time of the long way,
    which also finds what is to be refused: None for that, and for any other."""
    events, stream = given.events, given.stream
    if not isinstance(events, list | tuple) or not 0 < len(events) <= limits.max_call_events:
        return None
    if [event for event in events if isinstance(event, NewEvent)]:
        return None
    ids, name = tuple([new_id() for _ in events]), stream.encode()
    packed = [codec.pack(ids[0], name, *types.encode(events[0]), b"")]
    if len(events) > 1:
        about = _stored(_replaced(_PLAIN, str(ids[0]), None))  # one transaction, as in `_about`
        encode_data, pack = types.encode, codec.pack
        packed += [pack(i, name, *encode_data(event), about) for i, event in zip(ids[1:], events[1:], strict=True)]
    sizes = [len(event) for event in packed]
    size = sum(sizes)
    if max(sizes) > limits.max_event_bytes or size > limits.max_call_bytes:
        return None
    part = Part(stream, expected.checked(given.expected), "", packed, ids)
    return Append(partition_of(stream, partitions), (part,), False, 0, len(events), size)


def checked_many(appends: Sequence[StreamAppend], checks: Mapping[str, ExpectedVersion], limits: LogSettings) -> None:
    """What only a call for several streams can get wrong. Raises InvalidRequest, TooLarge."""
    if not isinstance(appends, Sequence) or not all(isinstance(each, StreamAppend) for each in appends):
        raise InvalidRequest(
            "appends must be a list of StreamAppend", field="appends", remedy="StreamAppend(stream, [event], expected)"
        )
    if not appends:
        raise InvalidRequest("there is nothing to append", field="appends", remedy="give at least one StreamAppend")
    if not isinstance(checks, Mapping):
        raise InvalidRequest("checks must be a mapping", field="checks", remedy="checks={stream: version}")
    for stream, wanted in checks.items():
        stream_name(stream)
        if wanted is Expected.ANY:
            raise InvalidRequest(
                f"the check of {stream} checks nothing", field="checks", remedy="give a version or Expected.EXISTS"
            )
    seen: set[str] = set()
    for stream in (*(publishable(each.stream) for each in appends), *checks):
        if stream in seen:
            raise InvalidRequest(
                f"{stream} stands twice in one call", field="appends", remedy="one StreamAppend with all its events"
            )
        seen.add(stream)
    if len(seen) > limits.max_call_events:
        raise TooLarge("the number of streams of the call", len(seen), limits.max_call_events, "max_call_events")


def _one_partition(parts: Sequence[Part], partitions: int) -> int:
    first = partition_of(parts[0].stream, partitions)
    if len(parts) > 1:
        placed = {part.stream: partition_of(part.stream, partitions) for part in parts}
        strangers = {stream: partition for stream, partition in placed.items() if partition != first}
        if strangers:
            raise DifferentPartitions(parts[0].stream, first, strangers)
    return first


def _checked_batch(given: StreamAppend) -> Sequence[object]:
    events = given.events
    if isinstance(events, str | bytes) or not isinstance(events, Sequence):
        raise InvalidRequest(
            f"the events for {given.stream} must be a list", field="events", remedy="a list, of one event too: [event]"
        )
    if not events:
        raise InvalidRequest(
            f"there is no event to append to {given.stream}",
            field="events",
            remedy="give at least one event; append_many looks at a stream without writing to it by checks={stream: n}",
        )
    return events


def _new(event: object) -> NewEvent:
    return event if isinstance(event, NewEvent) else NewEvent(data=event)


def checked_metadata(metadata: Metadata | None) -> Metadata | None:
    if metadata is not None and not isinstance(metadata, Metadata):
        raise InvalidRequest(
            f"metadata is a {type(metadata).__name__}", field="metadata", remedy="give eventstore.Metadata(...)"
        )
    if metadata is not None and not isinstance(metadata.priority, Priority):
        raise InvalidRequest(
            f"the priority {metadata.priority!r} is none",
            field="metadata.priority",
            remedy="give eventstore.Priority.HIGH",
        )
    return metadata


def checked_causes(causes: Sequence[Cause]) -> Sequence[Cause]:
    if not isinstance(causes, Sequence) or not all(isinstance(cause, Cause) for cause in causes):
        raise InvalidRequest(
            "causes must be a list of receipts and recorded events", field="causes", remedy="causes=[receipt]"
        )
    return causes


def _ids(given: Sequence[UUID | None]) -> tuple[tuple[UUID, ...], bool]:
    """The ids, and whether they are the caller's."""
    missing = given.count(None)
    if missing == len(given):
        return tuple([new_id() for _ in given]), False
    if missing:
        raise InvalidRequest(
            f"{len(given) - missing} of {len(given)} events have an id",
            field="id",
            remedy="give all events an id, or none",
        )
    seen: dict[UUID, None] = {}
    for event_id in given:
        if not isinstance(event_id, UUID):
            raise InvalidRequest(f"id {event_id!r} is not a UUID", field="id", remedy="uuid.UUID(text)")
        if event_id in seen:
            raise IdConflict(event_id, "", 0, 0, 0, "stands twice in one call")
        seen[event_id] = None
    return tuple(seen), True


def _call_metadata(metadata: Metadata | None, causes: Sequence[Cause]) -> Metadata:
    if metadata is None and causes == ():
        return _PLAIN
    return _with_causes(checked_metadata(metadata) or _PLAIN, checked_causes(causes))


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


def _about(events: Sequence[NewEvent], ids: Sequence[UUID], call: Metadata) -> tuple[str, Sequence[bytes]]:
    """The letters of append.lua and what is stored of the metadata, for each event. No letters if nothing is urgent,
    as is usual: append.lua then looks at none."""
    own = [event.metadata for event in events]
    if call is _PLAIN and own == [None]:
        return "", [b""]
    # Without a correlation id the first event begins a transaction: its own id is the correlation id, stored for the
    # others of the call only.
    alone = call.correlation_id is not None or len(events) == 1
    others = call if alone else _replaced(call, str(ids[0]), call.causation_id)
    if own.count(None) == len(own):
        first = _stored(call)
        letters = _LETTERS[call.priority] * len(own) if call.priority.urgent else ""
        return letters, [first] if len(own) == 1 else [first, *[_stored(others)] * (len(own) - 1)]
    about = [_completed(checked_metadata(each), others if i else call) for i, each in enumerate(own)]
    letters = "".join([_LETTERS[each.priority] for each in about]) if any(m.priority.urgent for m in about) else ""
    return letters, [_stored(_without_own_id(each, i)) for each, i in zip(about, ids, strict=True)]


def _without_own_id(metadata: Metadata, event_id: UUID) -> Metadata:
    """An event's own id need not be stored again: no correlation id means it."""
    if metadata.correlation_id != str(event_id):
        return metadata
    return _replaced(metadata, None, metadata.causation_id)


def _completed(own: Metadata | None, call: Metadata) -> Metadata:
    if own is None:
        return call
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
    if metadata is _PLAIN:
        return b""
    try:
        _check_metadata(metadata)
        return codec.pack_metadata(metadata)
    except (UnicodeEncodeError, TypeError, AttributeError) as error:
        raise InvalidEvent(
            f"metadata cannot be stored: {error}", field=_field_at_fault(metadata), remedy="use plain text"
        ) from error


def _field_at_fault(metadata: Metadata) -> str:
    """Which one is no text is looked for when it is too late, so that nobody else pays for it."""
    wrong = [name for name in _TEXTS if not isinstance(getattr(metadata, name), str | None)]
    return f"metadata.{wrong[0]}" if wrong else "metadata" if isinstance(metadata.headers, dict) else "metadata.headers"


def _check_metadata(metadata: Metadata) -> None:
    for field in _TEXTS:
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


def _checked_size(packed: Sequence[bytes], limits: LogSettings) -> int:
    sizes = [len(event) for event in packed]
    if max(sizes) > limits.max_event_bytes:
        raise TooLarge("an event's size in bytes", max(sizes), limits.max_event_bytes, "max_event_bytes")
    return sum(sizes)


def arguments(append: Append) -> list[str | int | bytes]:
    """What append.lua is sent of one append. The keys go before: of each part the index of its stream."""
    if len(append.parts) == 1 and not append.own_ids and not append.cause_at:
        part = append.parts[0]
        if not part.letters:
            return [_wanted(part), len(part.events), *part.events]
    args: list[str | int | bytes] = []
    left, flags = len(append.parts), OWN_IDS if append.own_ids else 0
    for part in append.parts:
        left -= 1
        joined = flags + GOES_ON if left else flags
        args += (_wanted(part), f"{len(part.events)} {joined} {append.cause_at} {part.letters}", *part.events)
    return args


def looks_up(append: Append) -> bool:
    """Whether append.lua has to look for ids of it in the duplicate window."""
    if append.own_ids:
        return True
    for part in append.parts:  # noqa: SIM110 - a generator for each append would cost it 0.4 us
        if part.events and not isinstance(part.expected, int):
            return True
    return False


def _wanted(part: Part) -> int | str:
    return part.expected if isinstance(part.expected, int) else part.expected.value
