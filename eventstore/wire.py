"""The JSON shapes of an envelope and of a receipt, the same on the command line, over HTTP and in files."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from eventstore.envelope import Metadata, NewEvent, Priority, Receipt, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
encode = msgspec.json.Encoder().encode
"""Compact UTF-8 JSON of a shape of this module, on one line."""


class MetadataShape(Struct, frozen=True):
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    actor: str | None
    priority: str
    headers: dict[str, str]


class Envelope(Struct, frozen=True):
    """What `read`, `tail` and `export` print of an event, and HTTP answers."""

    id: UUID
    stream: str
    version: int
    partition: int
    epoch: int
    position: int
    recorded_at: str
    type: str
    schema_version: int
    data: Any
    metadata: MetadataShape


class ReceiptShape(Struct, frozen=True):
    """What an append answers."""

    stream: str
    version: int
    partition: int
    epoch: int
    position: int
    recorded_at: str
    ids: tuple[UUID, ...]


class IncomingEvent(Struct, frozen=True):
    """An event as a file or a request has it. Without `stream` the caller names it; without `version` it has no place
    yet."""

    event: NewEvent
    stream: str | None = None
    version: int | None = None


def rfc3339(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, always with six digits: `2026-11-23T10:15:30.123456Z`."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def envelope(event: RecordedEvent) -> Envelope:
    return Envelope(
        id=event.id,
        stream=event.stream,
        version=event.version,
        partition=event.partition,
        epoch=event.epoch,
        position=event.position,
        recorded_at=rfc3339(event.recorded_at),
        type=event.type,
        schema_version=event.schema_version,
        data=event.data,
        metadata=_metadata_shape(event.metadata),
    )


def receipt(receipt: Receipt) -> ReceiptShape:
    return ReceiptShape(
        stream=receipt.stream,
        version=receipt.version,
        partition=receipt.partition,
        epoch=receipt.epoch,
        position=receipt.position,
        recorded_at=rfc3339(receipt.recorded_at),
        ids=receipt.ids,
    )


def _metadata_shape(metadata: Metadata) -> MetadataShape:
    return MetadataShape(
        correlation_id=metadata.correlation_id,
        causation_id=metadata.causation_id,
        traceparent=metadata.traceparent,
        actor=metadata.actor,
        priority=metadata.priority.value,
        headers=metadata.headers,
    )


class _MetadataIn(Struct, frozen=True, forbid_unknown_fields=True):
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    actor: str | None = None
    priority: Priority = Priority.NORMAL
    headers: dict[str, str] = {}


_LEAST = 'an event is at least {"type": "OrderPlaced", "data": {"total": 99}}'
_REMEDIES = {
    "id": "a UUID, such as one that uuidgen prints",
    "metadata.priority": f"one of {', '.join(each.value for each in Priority)}",
}


class _EnvelopeIn(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    data: Any
    stream: str | None = None
    version: int | None = None
    id: UUID | None = None
    schema_version: int = 1
    metadata: _MetadataIn = _MetadataIn()
    # Where the event was in the log it comes from; the log that takes it gives it a place of its own.
    partition: int | None = None
    epoch: int | None = None
    position: int | None = None
    recorded_at: str | None = None


def from_envelope(value: object) -> IncomingEvent:
    """The event in an envelope, whole or only what matters of it (`type`, `data`). Raises InvalidEvent."""
    try:
        found = converted(value, _EnvelopeIn)
    except InvalidEvent as error:
        error.remedy = _REMEDIES.get(error.field or "", error.remedy) or _LEAST
        raise
    if found.version is not None and found.version < 1:
        raise InvalidEvent(f"version {found.version} is no version", field="version", remedy="versions count from 1")
    event = NewEvent(
        data=Untyped(found.type, found.data, found.schema_version),
        id=found.id,
        metadata=Metadata(
            correlation_id=found.metadata.correlation_id,
            causation_id=found.metadata.causation_id,
            traceparent=found.metadata.traceparent,
            actor=found.metadata.actor,
            priority=found.metadata.priority,
            headers=found.metadata.headers,
        ),
    )
    return IncomingEvent(event, found.stream, found.version)


def converted(value: object, shape: type[T]) -> T:
    """The value as `shape`, or InvalidEvent that names the member at fault."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        named = _MEMBER.search(detail)
        field = ".".join(part for part in (path.rstrip("`").removeprefix("."), named[2] if named else "") if part)
        remedy = "leave it out, or spell it otherwise" if named and named[1] == "unknown" else None
        raise InvalidEvent(detail, field=field or None, remedy=remedy) from error


_MEMBER = re.compile(r"(missing required|unknown) field `([^`]*)`")


def strict_json(text: str | bytes) -> Any:
    """The value of a JSON text, read strictly: a repeated key, NaN, an infinity, half of a surrogate pair or a text
    that is not UTF-8 raises InvalidEvent, where most readers would take something else for it in silence."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        value = _DECODER.decode(decoded)
        encode(value)  # finds half surrogate pairs, wherever they are
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}" if "\n" in decoded.strip() else f"column {error.colno}"
        raise InvalidEvent(f"this is not JSON: {error.msg} at {place}", field="data") from error
    except UnicodeError as error:
        raise InvalidEvent(f"this is not UTF-8: {error}", field="data") from error
    except RecursionError as error:
        raise InvalidEvent("the JSON is nested too deeply", field="data") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise InvalidEvent(f"the JSON holds a number that cannot be read: {error}", field="data") from error
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidEvent(f"key {key!r} stands twice in one JSON object", field="data", remedy="keep one of them")
        found[key] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise InvalidEvent(f"{text} is not a JSON number", field="data", remedy="write null, or leave the member out")


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise InvalidEvent(
            f"{text[:40]} is larger than any number that can be kept", field="data", remedy="write it as text"
        )
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
