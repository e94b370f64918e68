"""The JSON shapes: what is written, what is read back, what is refused."""

import json
from uuid import UUID, uuid4

import pytest

from eventstore import wire
from eventstore.envelope import Metadata, Priority, Receipt, RecordedEvent
from eventstore.errors import InvalidEvent

EVENT = RecordedEvent(
    id=UUID("0199f2c4-0000-7000-8000-000000000001"),
    stream="order-42",
    version=3,
    partition=7,
    epoch=1795600215640217,
    position=4711,
    recorded_at=1795600215640217,
    type="OrderPlaced",
    schema_version=2,
    data={"total": 99, "note": "naïve"},
    metadata=Metadata(correlation_id="c-1", priority=Priority.HIGH, headers={"tenant": "a"}),
)


def test_times_always_have_six_digits_and_a_z() -> None:
    assert wire.rfc3339(1795600215640217) == "2026-11-25T09:50:15.640217Z"
    assert wire.rfc3339(1795600215000000) == "2026-11-25T09:50:15.000000Z"
    assert wire.rfc3339(0) == "1970-01-01T00:00:00.000000Z"


def test_an_envelope_has_the_members_of_the_interface_in_their_order() -> None:
    shape = json.loads(wire.encode(wire.envelope(EVENT)))
    assert list(shape) == [
        *("id", "stream", "version", "partition", "epoch", "position", "recorded_at"),
        *("type", "schema_version", "data", "metadata"),
    ]
    assert list(shape["metadata"]) == ["correlation_id", "causation_id", "traceparent", "actor", "priority", "headers"]
    assert shape["recorded_at"] == "2026-11-25T09:50:15.640217Z"
    assert shape["metadata"]["priority"] == "HIGH"
    assert shape["data"] == {"total": 99, "note": "naïve"}


def test_an_envelope_is_one_line() -> None:
    assert b"\n" not in wire.encode(wire.envelope(EVENT))


def test_a_receipt_has_the_members_of_the_interface() -> None:
    ids = (uuid4(), uuid4())
    shape = json.loads(wire.encode(wire.receipt(Receipt("order-42", 3, 7, 17, 4711, 1_000_000, ids))))
    assert shape == {
        "stream": "order-42",
        "version": 3,
        "partition": 7,
        "epoch": 17,
        "position": 4711,
        "recorded_at": "1970-01-01T00:00:01.000000Z",
        "ids": [str(each) for each in ids],
    }


def test_an_envelope_is_read_back_as_the_event_that_it_was() -> None:
    found = wire.from_envelope(wire.strict_json(wire.encode(wire.envelope(EVENT))))
    assert (found.stream, found.version) == ("order-42", 3)
    assert found.event.id == EVENT.id
    assert found.event.metadata == EVENT.metadata
    data = found.event.data
    assert (data.type, data.schema_version, data.data) == ("OrderPlaced", 2, EVENT.data)


def test_type_and_data_are_enough() -> None:
    found = wire.from_envelope({"type": "Noted", "data": [1]})
    assert (found.stream, found.version, found.event.id) == (None, None, None)
    assert found.event.metadata == Metadata()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"data": 1}, "type"),
        ([1, 2], None),
        ({"type": "A", "data": 1, "versoin": 2}, "versoin"),
        ({"type": "A", "data": 1, "version": 0}, "version"),
        ({"type": "A", "data": 1, "version": "3"}, "version"),
        ({"type": "A", "data": 1, "id": "42"}, "id"),
        ({"type": "A", "data": 1, "metadata": {"priority": "URGENT"}}, "metadata.priority"),
        ({"type": "A", "data": 1, "metadata": {"headers": {"a": 1}}}, "metadata.headers[...]"),
    ],
)
def test_what_is_wrong_with_an_envelope_is_named(value: object, field: str | None) -> None:
    with pytest.raises(InvalidEvent) as caught:
        wire.from_envelope(value)
    assert caught.value.field == field
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"x": [{"b": 1, "b": 1}]}', "'b' stands twice"),
        ("NaN", "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ("1e999", "larger than any number"),
        ('"\\ud800"', "not UTF-8"),
        ('{"\\udfff": 1}', "not UTF-8"),
        (b'"\xff"', "not UTF-8"),
        ('{"a": }', "column 7"),
        ('{"a": 1,\n "b": }', "line 2 column 7"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5_000, "cannot be read"),
    ],
)
def test_json_is_read_strictly(text: str | bytes, says: str) -> None:
    with pytest.raises(InvalidEvent, match=says):
        wire.strict_json(text)


def test_json_beyond_64_bits_and_outside_the_basic_plane_is_kept() -> None:
    text = '{"big":123456789012345678901234567890,"face":"\\ud83d\\ude00"}'
    assert wire.strict_json(text) == {"big": 123456789012345678901234567890, "face": "😀"}
