"""Where a replay goes to, as people write it."""

import pytest

from consumers.errors import InvalidRequest
from consumers.replay.request import Request
from consumers.replay.targets import (
    Ago,
    Earliest,
    Latest,
    Position,
    Positions,
    Shift,
    Target,
    Time,
    Version,
    parse_target,
)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("earliest", Earliest()),
        ("latest", Latest()),
        ("2026-11-23T08:00:00Z", Time(1_795_420_800_000_000)),
        ("-15m", Ago(900.0)),
        ("-2h", Ago(7_200.0)),
        ("3:4711", Positions((Position(3, 4711),))),
        ("3:17-4711", Positions((Position(3, 4711, 17),))),
        ("0:1,12:0", Positions((Position(0, 1), Position(12, 0)))),
        ("order-42@7", Version("order-42", 7)),
        ("a@b@7", Version("a@b", 7)),
        ("3:1@7", Version("3:1", 7)),
        ("-20", Shift(-20)),
        ("+20", Shift(20)),
    ],
)
def test_a_target_is_read_and_spelled_so_that_it_reads_the_same(text: str, means: Target) -> None:
    assert parse_target(text) == means
    assert str(means) == text or means == Ago(7_200.0)
    assert parse_target(str(means)) == means


@pytest.mark.parametrize(
    "text", ["", "yesterday", "3:", ":3", "3:-1", "@7", "order@", "-", "+", "-15x", "2026-11-23", "3:1,", "1e3"]
)
def test_what_is_no_target_is_refused_with_all_that_is(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_target(text)
    assert refused.value.field == "to"
    assert "STREAM@VERSION" in str(refused.value.remedy)


def test_a_bound_that_is_none_is_refused_with_what_bounds_there_are() -> None:
    with pytest.raises(InvalidRequest, match="'yesterday' is no bound") as refused:
        parse_target("yesterday", field="until")
    assert refused.value.field == "until"
    assert refused.value.remedy == "latest, a time (2026-11-23T08:00:00Z), -15m or P:POS"


@pytest.mark.parametrize(("text", "near"), [("earlyest", "earliest"), ("lates", "latest")])
def test_a_misspelt_end_of_the_log_is_guessed(text: str, near: str) -> None:
    with pytest.raises(InvalidRequest, match=f"no place to go to, did you mean {near}?"):
        parse_target(text, moment=int)


def test_a_way_in_reads_times_as_it_reads_others() -> None:
    assert parse_target("1795420800000000", moment=int) == Time(1_795_420_800_000_000)
    assert parse_target("-15m", moment=int) == Ago(900.0)
    with pytest.raises(InvalidRequest, match="'yesterdya' is no place to go to"):
        parse_target("yesterdya", moment=int)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("no blanks", Earliest()), "group"),
        (Request("g", Earliest(), rate=0.0), "rate is 0.0"),
        (Request("g", Earliest(), rate=float("nan")), "rate is nan"),
        (Request("g", Earliest(), streams=("",)), "stream"),
        (Request("g", Earliest(), types=("OrderPlaced", "")), "types has an empty text"),
        (Request("g", Earliest(), correlation_id=""), "correlation_id has an empty text"),
        (Request("g", Earliest(), until=Shift(-5)), "-5 is no bound"),
        (Request("g", Version("a", 1), streams=("b",)), "of one stream alone"),
        (Request("g", Earliest(), streams=tuple(f"s-{i}" for i in range(1_001))), "too many"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: Request, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        request_.check()


@pytest.mark.parametrize(
    ("to", "until", "where"),
    [
        ("2026-11-23T08:00:00Z", "2026-11-23T07:59:59Z", ""),
        ("0:4", "0:4", " in partition 0"),
        ("0:4,3:9", "1:7,3:8", " in partition 3"),
    ],
)
def test_a_replay_that_would_end_before_it_begins_is_refused(to: str, until: str, where: str) -> None:
    with pytest.raises(InvalidRequest, match=f"ends at {until}, before it begins at {to}{where}") as refused:
        Request("g", parse_target(to), until=parse_target(until)).check_bounds()
    assert refused.value.field == "until"


@pytest.mark.parametrize(
    ("to", "until"),
    [("2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"), ("0:4", "0:5,1:0"), ("earliest", "0:0"), ("0:4", "latest")],
)
def test_a_bound_behind_the_place_is_one(to: str, until: str) -> None:
    Request("g", parse_target(to), until=parse_target(until)).check_bounds()


def test_what_names_streams_is_done_by_stream() -> None:
    assert Request("g", Earliest()).mode == "in-place"
    assert Request("g", Version("a", 1)).named == Request("g", Version("a", 1), streams=("a",)).named == ("a",)
    assert Request("g", Earliest(), streams=("a", "b")).mode == "by-stream"
