"""A page read in one go is what its entries are one by one, whole or damaged."""

from collections.abc import Callable
from functools import partial
from itertools import repeat
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstore.codec import Entry, pack, pack_metadata, unpack_at
from eventstore.entries import Entries, Run, make_all, unpack_all
from eventstore.envelope import Metadata, Priority, RecordedEvent
from eventstore.errors import LogDamaged
from eventstore.event_types import EventTypes
from tests.support.stores import Noted

METADATA = [
    pack_metadata(Metadata()),
    pack_metadata(Metadata(correlation_id="journey")),
    pack_metadata(Metadata(actor="me", headers={"a": "b"})),
    pack_metadata(Metadata(correlation_id="journey", causation_id="c", priority=Priority.HIGH)),
    b"\x90",  # nothing, in more words than ours
]


def stored(i: int, stream: str = "order-1", name: str = "Noted", data: bytes = b'{"n":1}', meta: int = 0) -> bytes:
    header = bytes([1]) + (1_795_600_000_000_000 + i).to_bytes(8, "big") + (2**33 + i).to_bytes(6, "big")
    return header + pack(UUID(int=i), stream.encode(), name, 1 + i % 2, data, METADATA[meta])


values = st.builds(
    stored,
    st.integers(0, 9),
    st.sampled_from(["order-1", "$audit", "é"]),
    st.sampled_from(["Noted", "Other"]),
    st.sampled_from([b"{}", b'{"n":1}', b""]),
    st.integers(0, len(METADATA) - 1),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    value = draw(values)
    if draw(st.booleans()):
        return value[: draw(st.integers(0, len(value)))]
    at = draw(st.integers(0, len(value) - 1))
    return value[:at] + bytes([draw(st.integers(0, 255))]) + value[at + 1 :]


TYPE_BEYOND_ITS_CONTENT = stored(0)[:31] + bytes([0, 0, 0, 3, 0, 1, 200, 0, 1]) + b"s"


@settings(max_examples=500)
@example([TYPE_BEYOND_ITS_CONTENT])
@given(st.lists(values | damaged(), max_size=8))
def test_a_page_is_what_its_entries_are_one_by_one(page: list[bytes]) -> None:
    at_once = unpack_all(3, repeat(17), range(5, 5 + len(page)), page)
    for position, value in enumerate(page, 5):
        expected = outcome(partial(unpack_at, 3, 17, position, value))
        assert outcome(partial(next, at_once)) == expected
        if isinstance(expected, str):
            return
    assert list(at_once) == []


def outcome(make: Callable[[], Entry]) -> Entry | str:
    try:
        return make()
    except LogDamaged as error:
        return str(error)


def test_positions_go_the_way_that_was_read_and_epochs_change_between_runs() -> None:
    page = Entries(3, [Run(18, 7, -1, [stored(1)]), Run(17, 6, -1, [stored(2), stored(3)])])
    assert [(entry.epoch, entry.position) for entry in page] == [(18, 7), (17, 6), (17, 5)]
    assert (len(page), page.last_position) == (3, 5)
    assert len(Entries(3, [])) == 0


def recorded(page: list[bytes], *, system: bool = True) -> list[RecordedEvent | str]:
    """What could not be made stands as "with care"."""
    types, read = EventTypes([Noted]), range(1, len(page) + 1)
    made: list[RecordedEvent | str] = list(
        make_all(RecordedEvent, types.kind, lambda *_: "with care", 0, repeat(1), read, page, system=system)
    )
    return made


def test_events_of_system_streams_are_passed_over_before_their_data_are_looked_at() -> None:
    page = [stored(0), stored(2, "$audit", data=b"broken"), stored(4)]
    found = recorded(page, system=False)
    assert [event.position if isinstance(event, RecordedEvent) else event for event in found] == [1, 3]
    assert recorded(page)[1] == "with care"


def test_what_the_fast_way_cannot_make_is_left_to_care_and_the_rest_is_not() -> None:
    found = recorded([stored(0), stored(2, data=b'{"n":"x"}'), b"", stored(4, name="Other"), stored(6)])
    assert [event if isinstance(event, str) else event.data for event in found] == [
        Noted(1),
        "with care",
        "with care",
        {"n": 1},
        Noted(1),
    ]


def test_events_of_one_call_share_nothing_that_can_be_changed() -> None:
    one, other = unpack_all(0, repeat(1), range(1, 3), [stored(0, meta=2), stored(0, meta=2)])
    assert isinstance(one, Entry)
    one.metadata.headers["a"] = "changed"
    assert other.metadata.headers == {"a": "b"}
