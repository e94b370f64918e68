"""A worker's log tells of each event that was parked, but never of thousands in a second."""

import pytest
from structlog.testing import capture_logs

from consumers.parked import MOST_PER_SECOND, ParkedLines
from tests.support.failures import Ticks, failure
from tests.support.orders import OrderPlaced, recorded


@pytest.fixture
def clock() -> Ticks:
    return Ticks()


@pytest.fixture
def lines(clock: Ticks) -> ParkedLines:
    return ParkedLines("charge", clock)


def test_a_line_says_what_was_parked_and_why_and_where_to_look(lines: ParkedLines) -> None:
    with capture_logs() as logs:
        lines.tell(recorded(OrderPlaced(), "order 42", 7), failure(message="no\nmoney"), attempts=8)
    assert logs == [
        {
            "event": "event_parked",
            "log_level": "warning",
            "group": "charge",
            "at": "order 42@7",
            "type": "OrderPlaced",
            "error": "ConnectionError: no money at charge.py:31",
            "attempts": 8,
            "remedy": "eventstore dlq show charge 'order 42'",
        }
    ]


def test_of_many_in_a_second_the_rest_is_counted(lines: ParkedLines, clock: Ticks) -> None:
    with capture_logs() as logs:
        for i in range(MOST_PER_SECOND + 5_000):
            lines.tell(recorded(OrderPlaced(), f"order-{i}"), failure(), attempts=8)
        lines.tell_rest()
        assert [each["event"] for each in logs] == ["event_parked"] * MOST_PER_SECOND
        clock.now += 1.0
        lines.tell_rest()
        lines.tell_rest()
        lines.tell(recorded(OrderPlaced(), "order-1"), failure(), attempts=8)
    assert [each["event"] for each in logs[MOST_PER_SECOND:]] == ["more_events_parked", "event_parked"]
    assert logs[MOST_PER_SECOND]["events"] == 5_000


def test_nothing_is_left_untold_by_who_ends(lines: ParkedLines) -> None:
    with capture_logs() as logs:
        for i in range(MOST_PER_SECOND + 1):
            lines.tell(recorded(OrderPlaced(), f"order-{i}"), failure(), attempts=8)
        lines.tell_rest(at_once=True)
    assert logs[-1]["events"] == 1
