"""CloudEvents 1.0: ours out and back without loss, foreign ones in."""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore import wire
from eventstore.cloud_events import from_cloud_event, is_cloud_event, to_cloud_event
from eventstore.envelope import Metadata, Priority, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent

FOREIGN: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A234-1234",
    "source": "https://github.com/cloudevents",
    "type": "com.github.pull_request.opened",
    "subject": "123",
    "time": "2018-04-05T17:31:00Z",
    "partitionkey": "pull-123",
    "comexample": 5,
    "flag": True,
    "data": {"x": 1},
}


def recorded(**changes: Any) -> RecordedEvent:
    members: dict[str, Any] = {
        "id": UUID("0199f2c4-0000-7000-8000-000000000001"),
        "stream": "document-docs/naïve café.md",
        "version": 3,
        "partition": 3,
        "epoch": 1795600215640217,
        "position": 4711,
        "recorded_at": 1795600215640217,
        "type": "OrderPlaced",
        "schema_version": 2,
        "data": {"total": 99},
        "metadata": Metadata(correlation_id="c"),
    }
    return RecordedEvent(**(members | changes))


def test_the_attributes_of_an_event_of_ours() -> None:
    metadata = Metadata(
        correlation_id="c",
        causation_id="d",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        actor="ada",
        priority=Priority.HIGH,
        headers={"tenant": "a", "X-Request": "7", "source": "s", "note": "two\nlines"},
    )
    assert to_cloud_event(recorded(metadata=metadata), base="https://shop.example") == {
        "specversion": "1.0",
        "id": "0199f2c4-0000-7000-8000-000000000001",
        "source": "https://shop.example/streams/document-docs%2Fna%C3%AFve%20caf%C3%A9.md",
        "type": "OrderPlaced",
        "time": "2026-11-25T09:50:15.640217Z",
        "datacontenttype": "application/json",
        "partitionkey": "document-docs/naïve café.md",
        "sequence": "00000000000000000003",
        "correlationid": "c",
        "causationid": "d",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "actor": "ada",
        "priority": "HIGH",
        "schemaversion": 2,
        "logposition": "3:1795600215640217-4711",
        "tenant": "a",
        "esheaders": '{"X-Request":"7","source":"s","note":"two\\nlines"}',
        "data": {"total": 99},
    }


names = st.text(min_size=1, max_size=20).filter(lambda text: not any(c < " " or "\x7f" <= c <= "\x9f" for c in text))
texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda v: st.lists(v) | st.dictionaries(texts, v)
)


@given(
    stream=names,
    version=st.integers(1, 2**48 - 1),
    data=values,
    headers=st.dictionaries(texts | st.sampled_from(["id", "data", "esheaders", "sequence", "abc"]), texts, max_size=4),
    actor=st.none() | names,
    priority=st.sampled_from(Priority),
)
def test_an_event_of_ours_comes_back_as_it_was(
    stream: str, version: int, data: Any, headers: dict[str, str], actor: str | None, priority: Priority
) -> None:
    metadata = Metadata(correlation_id="c", actor=actor, priority=priority, headers=headers)
    event = recorded(stream=stream, version=version, data=data, metadata=metadata)
    found = from_cloud_event(wire.strict_json(wire.encode(to_cloud_event(event))))
    assert (found.stream, found.version, found.event.id) == (stream, version, event.id)
    assert found.event.metadata == metadata
    assert found.event.data == Untyped("OrderPlaced", data, 2)


def test_what_a_foreign_event_has_of_its_own_becomes_headers() -> None:
    found = from_cloud_event(FOREIGN)
    assert (found.stream, found.version) == ("pull-123", None)
    assert found.event.metadata == Metadata(
        headers={
            "comexample": "5",
            "flag": "true",
            "id": "A234-1234",
            "source": "https://github.com/cloudevents",
            "subject": "123",
            "time": "2018-04-05T17:31:00Z",
        }
    )
    assert found.event.data == Untyped("com.github.pull_request.opened", {"x": 1})


def test_a_foreign_id_gives_the_same_uuid_each_time_and_another_one_for_another_source() -> None:
    first, again = from_cloud_event(FOREIGN).event.id, from_cloud_event(dict(FOREIGN)).event.id
    other = from_cloud_event(FOREIGN | {"source": "https://gitlab.com"}).event.id
    assert first == again == uuid5(uuid5(NAMESPACE_URL, "https://github.com/cloudevents"), "A234-1234")
    assert other != first


def test_a_foreign_uuid_is_kept() -> None:
    identity = "0199f2c4-0000-7000-8000-000000000009"
    found = from_cloud_event(FOREIGN | {"id": identity}).event
    assert str(found.id) == identity
    assert found.metadata is not None
    assert "id" not in found.metadata.headers


def test_a_sequence_of_a_foreign_producer_is_no_version() -> None:
    found = from_cloud_event(FOREIGN | {"sequence": "00000000000000000007"})
    assert found.version is None


def test_json_data_in_base64_are_read() -> None:
    packed = {k: v for k, v in FOREIGN.items() if k != "data"}
    packed["data_base64"] = base64.b64encode(b'{"x": 2}').decode()
    data = from_cloud_event(packed).event.data
    assert data.data == {"x": 2}


@dataclass
class Wrong:
    changes: dict[str, Any]
    field: str | None = None


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({"specversion": "0.3"}, "specversion"),
        Wrong({"id": ""}, "id"),
        Wrong({"id": 7}, "id"),
        Wrong({"source": None}, "source"),
        Wrong({"type": None}, "type"),
        Wrong({"priority": "URGENT"}, "priority"),
        Wrong({"schemaversion": "two"}, "schemaversion"),
        Wrong({"esheaders": "[1]"}),
        Wrong({"data_base64": "e30="}, "data_base64"),
        Wrong({"nested": {}}, "nested"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(wrong: Wrong) -> None:
    with pytest.raises(InvalidEvent) as caught:
        from_cloud_event(FOREIGN | wrong.changes)
    assert caught.value.field == wrong.field or wrong.field is None
    assert caught.value.remedy


def test_binary_data_are_refused() -> None:
    packed = {k: v for k, v in FOREIGN.items() if k != "data"}
    with pytest.raises(InvalidEvent, match="image/png cannot be kept"):
        from_cloud_event(packed | {"data_base64": "AAAA", "datacontenttype": "image/png"})


def test_a_cloud_event_is_known_by_its_specversion() -> None:
    assert is_cloud_event(FOREIGN)
    assert not is_cloud_event({"type": "A", "data": 1})
    assert not is_cloud_event([])
