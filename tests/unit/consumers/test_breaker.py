"""The breaker: an outage is told from failures, and ends by itself."""

from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from consumers.breaker import CHOOSY_SECONDS, FAILURES, LONGEST_PAUSE_SECONDS, Breaker
from consumers.failure import Failure


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("charge", clock)


def failure(seconds_ago: float = 0.0, event_id: UUID | None = None) -> Failure:
    """Of an event that failed first so long ago."""
    return Failure(
        type="ConnectionError",
        message="refused\nby the bank",
        traceback="",
        where="charge.py:31",
        event_type="Placed",
        event_id=event_id or uuid4(),
        correlation_id=None,
        version=1,
        position=1,
        first_failed_us=1_795_600_000_000_000 - round(seconds_ago * 1e6),
        failed_us=1_795_600_000_000_000,
        parked=False,
        member="a-member",
    )


def fail(breaker: Breaker, number: int, streams: int) -> list[bool]:
    return [breaker.failed(f"order-{i % streams}", failure()) for i in range(number)]


def test_it_opens_after_twenty_failures_in_a_row_of_ten_streams(breaker: Breaker) -> None:
    assert fail(breaker, FAILURES - 1, streams=10) == [True] * (FAILURES - 1)
    assert breaker.may_take
    assert breaker.failed("order-3", failure()) is True
    assert breaker.is_open
    assert not breaker.may_take


def test_failures_of_fewer_streams_are_their_own_fault(breaker: Breaker) -> None:
    fail(breaker, 500, streams=9)
    assert not breaker.is_open
    breaker.failed("another", failure())
    assert breaker.is_open


def test_a_success_between_begins_anew(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1, streams=12)
    breaker.succeeded()
    fail(breaker, FAILURES - 1, streams=12)
    assert not breaker.is_open


def test_events_that_had_failed_before_another_succeeded_do_not_open_it(breaker: Breaker, clock: Clock) -> None:
    clock.now += 1
    breaker.succeeded_at = clock.now
    clock.now += 1
    assert [breaker.failed(f"order-{i}", failure(seconds_ago=1.5)) for i in range(100)] == [True] * 100
    assert not breaker.is_open
    for i in range(FAILURES):
        breaker.failed(f"order-{i}", failure(seconds_ago=0.5))
    assert breaker.is_open


def test_nor_do_those_that_had_failed_before_this_member_began(breaker: Breaker, clock: Clock) -> None:
    clock.now += 1
    for i in range(100):
        breaker.failed(f"order-{i}", failure(seconds_ago=1.5))
    assert not breaker.is_open


def test_an_event_that_has_failed_before_probes_only_when_no_other_came(breaker: Breaker, clock: Clock) -> None:
    failed_meanwhile, other = uuid4(), uuid4()
    fail(breaker, FAILURES, streams=10)
    breaker.failed("order-1", failure(event_id=failed_meanwhile))
    clock.now += 1.0
    assert breaker.is_choosy(failed_meanwhile, is_failing=False)
    assert breaker.is_choosy(other, is_failing=True)
    assert not breaker.is_choosy(other, is_failing=False)
    clock.now += CHOOSY_SECONDS
    assert not breaker.is_choosy(failed_meanwhile, is_failing=True)


def test_what_fails_is_told_for_as_long_as_it_is_open(breaker: Breaker, clock: Clock) -> None:
    with capture_logs() as logs:
        fail(breaker, FAILURES, streams=10)
        assert breaker.error == "ConnectionError: refused by the bank at charge.py:31"
        clock.now += 1
        breaker.taken()
        fail(breaker, 1, streams=1)
        breaker.succeeded()
    assert breaker.error == ""
    assert [(each["event"], each.get("error")) for each in logs] == [
        ("breaker_open", "ConnectionError: refused by the bank at charge.py:31"),
        ("breaker_stays_open", "ConnectionError: refused by the bank at charge.py:31"),
        ("breaker_closed", None),
    ]


def test_while_it_is_open_no_failure_counts(breaker: Breaker) -> None:
    fail(breaker, FAILURES, streams=10)
    assert fail(breaker, 3, streams=3) == [False] * 3


def test_one_event_probes_at_a_time(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 0.99
    assert not breaker.may_take
    clock.now += 0.02
    assert breaker.may_take
    breaker.taken()
    assert not breaker.may_take


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 1
    breaker.taken()
    breaker.succeeded()
    assert breaker.may_take
    assert breaker.failed("order-1", failure()) is True


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES, streams=10)
    pauses = []
    for _ in range(9):
        before = clock.now
        while not breaker.may_take:
            clock.now += 0.25
        pauses.append(clock.now - before)
        breaker.taken()
        assert breaker.failed("order-1", failure()) is False
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]


def test_late_failures_of_what_ran_before_do_not_lengthen_the_pause(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES + 10, streams=10)
    clock.now += 1
    assert breaker.may_take


def test_a_probe_that_is_interrupted_lets_another_one_probe(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 1
    breaker.taken()
    breaker.given_up()
    assert breaker.may_take
