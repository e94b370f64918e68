"""Events as CloudEvents 1.0 in JSON (structured mode), out and back without loss.

What the specification has no attribute for travels as an extension: `partitionkey` (the stream), `sequence` (the
version, 20 digits), `logposition` (partition:epoch-position; a string, for CloudEvents integers have 32 bits),
`correlationid`, `causationid`, `traceparent`, `actor`, `priority`, `schemaversion`. A header whose name may be that of
an extension is one; the others travel as JSON in `esheaders`.

An event of ours has `source` = `<base>/streams/<stream>`, `partitionkey` and `sequence`, which agree. Any other is
foreign: its `source`, `subject`, `time`, `dataschema`, other content type and non-UUID `id` become headers, and its id
is UUIDv5(source, id), so that the same event is the same again.
"""

import base64
import binascii
import re
from typing import Any
from urllib.parse import quote, unquote
from uuid import NAMESPACE_URL, UUID, uuid5

from eventstore import wire
from eventstore.envelope import Metadata, NewEvent, Priority, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent
from eventstore.wire import IncomingEvent, rfc3339, strict_json

JSON = "application/json"
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_JSON_TYPE = re.compile(r"[^/;]+/(?:[^/;]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_SEQUENCE = re.compile(r"\d{20}")
_OURS = {"partitionkey", "sequence", "logposition", "schemaversion", "esheaders"}
_METADATA = {"correlationid", "causationid", "traceparent", "actor", "priority"}
_CONTEXT = {"specversion", "id", "type", "source", "subject", "time", "datacontenttype", "dataschema"}
_RESERVED = _OURS | _METADATA | _CONTEXT | {"data", "data_base64", "database64"}
_MAX_INTEGER = 2**31 - 1
_LEAST = 'a CloudEvent is at least {"specversion": "1.0", "type": "OrderPlaced", "source": "shop", "id": "1"}'


def to_cloud_event(event: RecordedEvent, base: str = "") -> dict[str, Any]:
    """The structured JSON form; `base` is what stands before `/streams/` in its source."""
    metadata = event.metadata
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"{base}/streams/{quote(event.stream, safe='')}",
        "type": event.type,
        "time": rfc3339(event.recorded_at),
        "datacontenttype": JSON,
        "partitionkey": event.stream,
        "sequence": f"{event.version:020d}",
        "correlationid": metadata.correlation_id,
        "causationid": metadata.causation_id,
        "traceparent": metadata.traceparent,
        "actor": metadata.actor,
        "priority": metadata.priority.value,
        "schemaversion": event.schema_version,
        "logposition": f"{event.partition}:{event.epoch}-{event.position}",
    }
    found = {name: value for name, value in found.items() if value is not None}
    return {**found, **_header_extensions(metadata.headers), "data": event.data}


def _header_extensions(headers: dict[str, str]) -> dict[str, str]:
    plain = {name: text for name, text in headers.items() if _is_extension(name, text)}
    rest = {name: text for name, text in headers.items() if name not in plain}
    return {**plain, "esheaders": wire.encode(rest).decode()} if rest else plain


def _is_extension(name: str, text: str) -> bool:
    return bool(_EXTENSION.fullmatch(name)) and name not in _RESERVED and not _CONTROL.search(text)


def is_cloud_event(value: object) -> bool:
    return isinstance(value, dict) and "specversion" in value


def from_cloud_event(value: dict[str, Any]) -> IncomingEvent:
    """The event in a structured CloudEvent, of ours or foreign. Raises InvalidEvent."""
    try:
        return _event_in(value)
    except InvalidEvent as error:
        error.remedy = error.remedy or _LEAST
        raise


def _event_in(value: dict[str, Any]) -> IncomingEvent:
    if value["specversion"] != "1.0":
        raise InvalidEvent(f"CloudEvents version {value['specversion']!r} is not read", field="specversion")
    source, identity, event_type = (_text(value, name) for name in ("source", "id", "type"))
    stream, version = _place(value, source)
    headers = _headers(value)
    if version is None:
        headers |= _foreign_headers(value)
    event = NewEvent(
        data=Untyped(event_type, _data(value), _integer(value, "schemaversion", 1)),
        id=_uuid(identity) or uuid5(uuid5(NAMESPACE_URL, source), identity),
        metadata=Metadata(
            correlation_id=_optional(value, "correlationid"),
            causation_id=_optional(value, "causationid"),
            traceparent=_optional(value, "traceparent"),
            actor=_optional(value, "actor"),
            priority=_priority(value),
            headers=headers,
        ),
    )
    return IncomingEvent(event, stream, version)


def _place(value: dict[str, Any], source: str) -> tuple[str | None, int | None]:
    """Stream and version of an event of ours; of a foreign one its partition key, which is the nearest to a stream."""
    key, sequence = _optional(value, "partitionkey"), _optional(value, "sequence")
    _base, found, name = source.rpartition("/streams/")
    if found and key is not None and unquote(name) == key and sequence and _SEQUENCE.fullmatch(sequence):
        return key, int(sequence)
    return key, None


def _headers(value: dict[str, Any]) -> dict[str, str]:
    headers = {name: _plain(item, name) for name, item in value.items() if name not in _RESERVED and item is not None}
    packed = _optional(value, "esheaders")
    if packed is None:
        return headers
    return headers | wire.converted(strict_json(packed), dict[str, str])


def _foreign_headers(value: dict[str, Any]) -> dict[str, str]:
    names = ["source", "subject", "time", "dataschema"]
    if _uuid(value["id"]) is None:
        names.append("id")
    if value.get("datacontenttype") not in {None, JSON}:
        names.append("datacontenttype")
    return {name: text for name in names if (text := _optional(value, name)) is not None}


def _data(value: dict[str, Any]) -> Any:
    content_type = _optional(value, "datacontenttype") or JSON
    if "data_base64" not in value:
        return value.get("data")
    if "data" in value:
        raise InvalidEvent("both data and data_base64 are given", field="data_base64", remedy="keep one of them")
    if not _JSON_TYPE.fullmatch(content_type):
        raise InvalidEvent(f"data of type {content_type} cannot be kept", field="data_base64", remedy="send JSON data")
    try:
        return strict_json(base64.b64decode(_text(value, "data_base64"), validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidEvent(f"this is not base64: {error}", field="data_base64") from error


def _text(value: dict[str, Any], name: str) -> str:
    text = _optional(value, name)
    if not text:
        raise InvalidEvent(f"a CloudEvent must have {name}", field=name)
    return text


def _optional(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise InvalidEvent(f"{name} must be a string", field=name)
    return text


def _integer(value: dict[str, Any], name: str, default: int) -> int:
    number = value.get(name, default)
    if isinstance(number, str) and number.isascii() and number.isdigit():
        number = int(number)  # binary mode writes every attribute as text
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MAX_INTEGER:
        raise InvalidEvent(f"{name} must be a whole number", field=name)
    return number


def _plain(item: object, name: str) -> str:
    """An extension's value in the form that the specification gives it as text."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str | int):
        return str(item)
    raise InvalidEvent(f"extension {name} must be a string, a whole number or a truth value", field=name)


def _priority(value: dict[str, Any]) -> Priority:
    text = _optional(value, "priority")
    try:
        return Priority(text) if text is not None else Priority.NORMAL
    except ValueError as error:
        raise InvalidEvent(
            f"priority {text!r} is unknown", field="priority", remedy="LOW, NORMAL, HIGH, CRITICAL"
        ) from error


def _uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
