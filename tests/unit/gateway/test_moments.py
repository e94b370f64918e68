"""Moments and durations, given and shown."""

import pytest

from gateway.errors import BadRequest
from gateway.moments import parse_moment, spell_ago, spell_duration

NOW = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
        ("2026-11-23T08:00Z", 1_795_420_800_000_000),
        ("2026-11-23t08:00:00z", 1_795_420_800_000_000),
        ("2026-11-23 10:00:00+02:00", 1_795_420_800_000_000),
        ("2026-11-22T22:30:00-09:30", 1_795_420_800_000_000),
        ("1795420800000000", 1_795_420_800_000_000),
        ("0", 0),
        ("-15m", NOW - 900_000_000),
        ("-1.5s", NOW - 1_500_000),
        ("-200ms", NOW - 200_000),
        ("-3650d", NOW - 315_360_000_000_000),
    ],
)
def test_a_moment_is_read(text: str, time_us: int) -> None:
    assert parse_moment(text, field="--since", now=NOW) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "-15",
        "-15x",
        "yesterday",
        "2026-11-23",
        "2026-11-23T08:00:00",
        "2026-13-01T00:00:00Z",
        "１２",
        "9" * 20,
    ],
)
def test_what_is_no_moment_is_refused_with_what_would_be_one(text: str) -> None:
    if text == "-15":
        assert parse_moment(text, field="--since", now=NOW) == NOW - 15_000_000  # a plain number is seconds
        return
    with pytest.raises(BadRequest) as caught:
        parse_moment(text, field="--since", now=NOW)
    assert caught.value.field == "--since"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (0.4, "0.4s"),
        (41, "41s"),
        (60, "1m"),
        (1_082, "18m 2s"),
        (8_040, "2h 14m"),
        (273_600, "3d 4h"),
        (86_400, "1d"),
    ],
)
def test_a_duration_is_spelled_with_two_units_at_most(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [(0, "now"), (0.9, "now"), (41, "41s ago"), (7_300, "2h ago"), (200_000, "2d ago"), (-5, "in 5s")],
)
def test_a_time_is_spelled_as_its_distance(before: float, text: str) -> None:
    assert spell_ago(NOW - round(before * 1e6), NOW) == text
