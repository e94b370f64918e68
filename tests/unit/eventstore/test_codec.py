"""One event, one packed field: what goes in comes out."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventstore.codec import StoredMetadata, pack, pack_metadata, unpack, unpack_metadata
from eventstore.envelope import Metadata, Priority
from eventstore.errors import LogDamaged

HEADER = bytes([1]) + (1_795_600_000_000_000).to_bytes(8, "big") + (7).to_bytes(6, "big")
DEFAULTS = StoredMetadata.__struct_defaults__
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
metadata = st.builds(
    Metadata,
    correlation_id=st.none() | text,
    causation_id=st.none() | text,
    traceparent=st.none() | text,
    actor=st.none() | text,
    priority=st.sampled_from(Priority),
    headers=st.dictionaries(text, text, max_size=3),
)


def with_own_id(given_metadata: Metadata, event_id: UUID) -> Metadata:
    return replace(given_metadata, correlation_id=given_metadata.correlation_id or str(event_id))


@given(st.uuids(), text, text, st.integers(1, 65_535), st.binary(max_size=200), metadata)
def test_every_field_survives(
    event_id: UUID, stream: str, name: str, schema_version: int, data: bytes, given_metadata: Metadata
) -> None:
    packed = pack(event_id, stream.encode(), name, schema_version, data, pack_metadata(given_metadata))
    entry = unpack(3, b"1795600215640217-4711", HEADER + packed)
    assert (entry.id, entry.stream, entry.type, entry.schema_version) == (event_id, stream, name, schema_version)
    assert (entry.data, entry.metadata) == (data, with_own_id(given_metadata, event_id))
    assert (entry.partition, entry.epoch, entry.position) == (3, 1795600215640217, 4711)
    assert (entry.version, entry.recorded_at) == (7, 1_795_600_000_000_000)


def test_the_own_id_as_correlation_id_costs_no_byte() -> None:
    event_id = UUID(int=5)
    packed = pack(event_id, b"order-1", "T", 1, b"{}", pack_metadata(Metadata()))
    assert packed.endswith(b"order-1")
    assert unpack(0, b"1-1", HEADER + packed).metadata == Metadata(correlation_id=str(event_id))


@given(metadata)
def test_metadata_ends_with_the_last_that_is_no_default(given_metadata: Metadata) -> None:
    packed = pack_metadata(given_metadata)
    in_full = StoredMetadata(
        correlation_id=given_metadata.correlation_id,
        causation_id=given_metadata.causation_id,
        traceparent=given_metadata.traceparent,
        actor=given_metadata.actor,
        priority=given_metadata.priority.value,
        headers=given_metadata.headers or None,
    )
    fields = msgspec.to_builtins(in_full)
    while fields and fields[-1] == DEFAULTS[len(fields) - 1]:
        fields.pop()
    assert packed == (msgspec.msgpack.encode(fields) if fields else b"")
    own = str(UUID(int=9))
    assert unpack_metadata(packed, own) == unpack_metadata(msgspec.msgpack.encode(in_full), own)  # as it was once kept


def test_a_correlation_id_alone_is_kept_alone() -> None:
    assert pack_metadata(Metadata(correlation_id="c-1")) == b"\x91\xa3c-1"


def test_versions_beyond_32_bits_survive() -> None:
    packed = pack(UUID(int=1), b"s", "T", 1, b"{}", b"")
    header = bytes([1]) + (1).to_bytes(8, "big") + (2**40 + 3).to_bytes(6, "big")
    assert unpack(0, b"1-1", header + packed).version == 2**40 + 3


@given(st.binary(max_size=80))
def test_strange_bytes_are_named_as_damage(value: bytes) -> None:
    with pytest.raises(LogDamaged):
        unpack(0, b"1-1", b"\x02" + value)


@given(st.data())
def test_a_cut_entry_never_passes_for_a_whole_one_with_other_content(data: st.DataObject) -> None:
    packed = HEADER + pack(UUID(int=1), b"order-1", "T", 1, b'{"a":1}', pack_metadata(Metadata(correlation_id="c")))
    cut = data.draw(st.integers(0, len(packed) - 1))
    try:
        entry = unpack(0, b"1-1", packed[:cut])
    except LogDamaged:
        return
    assert entry.data == b'{"a":1}'


def test_format_1_opens_for_ever() -> None:
    stored = bytes.fromhex(
        "0100066116b42a82400000000000070199f2c40000700080000000000000010000001a00020b4f72646572506c616365647b22746f"
        "74616c223a39397d00086f726465722dc3a996a3632d31a3632d30c0a3616461a44849474881a16ba176"
    )
    entry = unpack(3, b"1795600215640217-4711", stored)
    assert (entry.id, entry.stream, entry.version) == (UUID("0199f2c4-0000-7000-8000-000000000001"), "order-é", 7)
    assert (entry.type, entry.schema_version, entry.data) == ("OrderPlaced", 2, b'{"total":99}')
    assert entry.recorded_at == 1_795_600_000_123_456
    assert entry.metadata == Metadata(
        correlation_id="c-1", causation_id="c-0", actor="ada", priority=Priority.HIGH, headers={"k": "v"}
    )
