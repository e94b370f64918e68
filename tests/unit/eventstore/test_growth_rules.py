"""When memory is full: the arithmetic and the words of the forecast."""

import pytest
from msgspec.structs import replace

from eventstore.growth_rules import Growth, forecast

GB, DAY = 1 << 30, 86_400

# 340 events/s in the last hour, 34 in the last day; 231 bytes an event.
BUSY = Growth(
    address="10.0.0.7:6379",
    used=2 * GB,
    maxmemory=8 * GB,
    system=64 * GB,
    dataset=231 * 10_000_000,
    stream_bytes=200 * 10_000_000,
    events=10_000_000,
    last_hour=340 * 3_600,
    last_day=34 * DAY,
    age_seconds=90.0 * DAY,
)


def test_the_sooner_of_the_two_rates_counts() -> None:
    check = forecast([BUSY])
    assert check.status == "WARN"
    assert check.detail == (
        "full in 22 hours at 340 events/s (last hour), full in 9 days at 34 events/s (last day); "
        "2.0 GB of maxmemory 8.0 GB used, 231 B an event"
    )
    assert check.fix is not None
    assert f"CONFIG SET maxmemory {16 * GB}" in check.fix
    assert forecast([replace(BUSY, last_hour=0)]).status == "ok"


@pytest.mark.parametrize(("days", "status"), [(6.9, "WARN"), (7.1, "ok")])
def test_below_seven_days_it_is_a_warning(days: float, status: str) -> None:
    room = int(days * DAY * 34 * 231)
    assert forecast([replace(BUSY, last_hour=0, maxmemory=2 * GB + room)]).status == status


def test_without_maxmemory_the_memory_of_the_machine_counts() -> None:
    check = forecast([replace(BUSY, maxmemory=0, last_hour=0)])
    assert check.status == "ok"
    assert check.detail.startswith("full in 98 days at 34 events/s")
    assert "2.0 GB of 64.0 GB of memory used" in check.detail


def test_what_another_program_keeps_is_not_taken_for_events() -> None:
    assert "400 B an event" in forecast([replace(BUSY, dataset=7 * GB)]).detail
    assert "752 B an event" in forecast([replace(BUSY, dataset=7 * GB, stream_bytes=None)]).detail


def test_a_full_server_is_full_now() -> None:
    assert forecast([replace(BUSY, used=9 * GB)]).detail.startswith("full now at 340 events/s")


@pytest.mark.parametrize(
    ("age_seconds", "detail"),
    [
        (30.0, "the log is younger than a minute: too young for a forecast"),
        (600.0, "full in 3 hours at 2,040 events/s (last 10 minutes)"),
        (7_200.0, "full in 22 hours at 340 events/s (last hour), full in 18 hours at 408 events/s (last 2 hours)"),
    ],
)
def test_a_young_log_is_measured_over_its_age(age_seconds: float, detail: str) -> None:
    assert forecast([replace(BUSY, age_seconds=age_seconds)]).detail.startswith(detail)


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"last_hour": 0, "last_day": 0}, "no events in the last day; 2.0 GB of"),
        ({"last_hour": 0, "last_day": 60}, "full in over 100 years at 0.00069 events/s (last day)"),
        ({"events": 0, "last_hour": 0, "last_day": 0, "age_seconds": 0.0}, "the log is younger than a minute"),
        ({"maxmemory": 0, "system": 0}, "full in over 100 years"),
    ],
)
def test_nothing_to_fear(changed: dict[str, int], detail: str) -> None:
    check = forecast([replace(BUSY, **changed)])
    assert check.status == "ok"
    assert check.detail.startswith(detail)


def test_of_several_servers_the_first_to_be_full_is_named() -> None:
    check = forecast([replace(BUSY, last_hour=0), replace(BUSY, address="10.0.0.8:6379"), replace(BUSY, last_hour=0)])
    assert check.status == "WARN"
    assert check.detail.startswith("10.0.0.8:6379: full in 22 hours")


def test_no_log_yet() -> None:
    assert forecast([]).status == "ok"
