"""A cursor survives as text, and only unchanged."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.cursor import Cursor, usable
from eventstore.envelope import Receipt
from eventstore.errors import InvalidRequest

places = st.tuples(st.integers(0, 2**53), st.integers(0, 2**53))
cursors = st.lists(places, min_size=1, max_size=20).map(lambda p: Cursor(tuple(p)))


def receipt(partition: int, epoch: int, position: int) -> Receipt:
    return Receipt("order-1", 1, partition, epoch, position, 1, (UUID(int=1),))


@given(cursors)
def test_the_text_of_a_cursor_is_read_back_as_that_cursor(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@given(cursors, st.data())
def test_a_text_with_one_character_changed_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = str(cursor)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09-_=+/ .\u00e9").filter(lambda c: c != text[at]))
    with pytest.raises(InvalidRequest) as refused:
        Cursor.parse(text[:at] + other + text[at + 1 :])
    assert refused.value.field == "cursor"


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.hex()))
def test_any_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Cursor.parse(text)
    assert refused.value.field == "cursor"


@pytest.mark.parametrize("wrong", ["", "AAAA", None, 5, b"AAAA"])
def test_what_is_no_text_of_a_cursor_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidRequest):
        Cursor.parse(wrong)  # type: ignore[arg-type]


def test_a_cut_text_is_refused() -> None:
    text = str(Cursor(((5, 1), (7, 2))))
    for end in range(len(text)):
        with pytest.raises(InvalidRequest):
            Cursor.parse(text[:end])


def test_after_and_before_move_one_partition() -> None:
    cursor = Cursor.start(3).after(receipt(1, 17, 5))
    assert cursor.places == ((0, 0), (17, 5), (0, 0))
    assert cursor.before(receipt(1, 17, 5)).places[1] == (17, 4)
    assert cursor.before(receipt(1, 17, 1)).places[1] == (0, 0)


def test_a_cursor_of_a_log_with_other_partitions_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="3 partitions, this one has 4"):
        usable(Cursor.start(3), 4)
    with pytest.raises(InvalidRequest, match="no partition 3"):
        Cursor.start(3).after(receipt(3, 1, 1))


def test_the_text_of_sixteen_partitions_stays_short() -> None:
    assert len(str(Cursor(tuple((1_795_600_215_640_217, 1_000_000 + p) for p in range(16))))) < 330
