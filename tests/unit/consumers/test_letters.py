"""What a letter tells of itself, which of them a filter means, and the cursor behind one."""

from typing import Any

import pytest

from consumers.errors import InvalidRequest
from consumers.failure import Failure
from consumers.letter_scan import LetterPlace
from consumers.letter_shape import Letter, Where
from consumers.state import Row, RowState
from eventstore.ids import new_id
from eventstore.wire import rfc3339

NOW_US = 1_795_600_215_640_217
PARKED = Row(7, RowState.PARKED, 8, 0, 0, "1-5")
RETRYING = Row(7, RowState.RETRYING, 2, NOW_US // 1_000 + 5_000, 0, "1-5")


def letter(row: Row = PARKED, *, age_seconds: float = 60.0, stream: str = "order-42", version: int = 11) -> Letter:
    failure = Failure(
        type="CardDeclined",
        message="do not honor",
        traceback="Traceback",
        where="charge.py:31",
        event_type="OrderPlaced",
        event_id=new_id(),
        correlation_id="transaction-7",
        version=row.next,
        position=5,
        first_failed_us=NOW_US - round(2 * age_seconds * 1e6),
        failed_us=NOW_US - round(age_seconds * 1e6),
        parked=row.state is RowState.PARKED,
        member="host-1",
    )
    return Letter("charge-cards", stream, 0, row, failure, version, NOW_US)


@pytest.mark.parametrize(
    ("where", "is_meant"),
    [
        ({}, True),
        ({"error": "CardDeclined"}, True),
        ({"error": "carddeclined"}, False),
        ({"type": "OrderPlaced", "category": "order", "prefix": "order-4"}, True),
        ({"category": "order-42"}, False),
        ({"prefix": "rder"}, False),
        ({"older_than_seconds": 60.0}, True),
        ({"older_than_seconds": 60.1}, False),
        ({"error": "CardDeclined", "type": "OrderPaid"}, False),
    ],
)
def test_all_that_a_filter_has_must_hold(where: dict[str, Any], is_meant: bool) -> None:
    assert Where(**where).matches(letter()) is is_meant


@pytest.mark.parametrize("name", ["error", "type", "category", "prefix"])
def test_a_filter_with_an_empty_text_is_refused_for_it_would_mean_all_or_none(name: str) -> None:
    with pytest.raises(InvalidRequest, match="empty") as refused:
        Where(**dict[str, Any]({name: ""}))
    assert refused.value.field == name


def test_what_is_retrying_is_not_parked_for_any_time() -> None:
    assert Where(error="CardDeclined").matches(letter(RETRYING))
    assert not Where(older_than_seconds=0.0).matches(letter(RETRYING))


def test_a_clock_of_a_member_that_is_ahead_makes_no_negative_age() -> None:
    assert letter(age_seconds=-5.0).parked_seconds == 0.0


def test_events_behind_the_letter_wait_and_it_does_not() -> None:
    assert letter(version=11).waiting == 4
    assert letter(version=7).waiting == 0


def test_the_state_decides_between_since_when_and_until_when() -> None:
    parked, retrying = letter().shape(), letter(RETRYING).shape()
    assert (parked.parked_at, parked.due_at) == (parked.failed_at, None)
    assert retrying.parked_at is None
    assert retrying.due_at == rfc3339(RETRYING.due_ms * 1_000)


def test_a_row_whose_failure_is_gone_is_shown_all_the_same() -> None:
    shown = Letter("charge-cards", "order-42", 0, PARKED, None, 8, NOW_US).shape()
    assert (shown.version, shown.attempts, shown.waiting) == (7, 8, 1)
    assert (shown.error, shown.message) == ("unknown", "why it fails is not stored")
    assert shown.parked_at is None


@pytest.mark.parametrize("stream", ["order-42", "straße-{7}", 'a"b\\c', "x" * 512])
def test_a_cursor_is_read_back(stream: str) -> None:
    place = LetterPlace("charge-cards", 15, stream)
    assert LetterPlace.parse(str(place)) == place
    assert str(place).isascii()


@pytest.mark.parametrize("text", ["", "?", "neverGiven", "é", "eyJhIjoxfQ"])
def test_what_no_page_gave_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        LetterPlace.parse(text)
    assert refused.value.field == "cursor"
