"""Durations are written as `200ms`, `90s`, `15m`, `2h`, `7d`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.durations import LONGEST_SECONDS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("45", 45), ("1.5s", 1.5), ("012", 12)],
)
def test_a_duration_is_a_number_with_a_unit_or_of_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 s", "1w", "1m30s", "12:30:00", "nan", "inf", "1e3", "١s", "4000d", "9" * 400]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|longer than ten years"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(600, "10m"), (90, "90s"), (604_800, "7d"), (0.2, "200ms"), (0, "0s")])
def test_a_duration_is_shown_in_its_largest_whole_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, int(LONGEST_SECONDS * 1_000)))
def test_what_is_shown_reads_back_as_the_same(ms: int) -> None:
    assert parse_duration(format_duration(ms / 1_000)) == ms / 1_000
