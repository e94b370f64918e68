"""The breaker: an outage is told from failures, and ends by itself."""

import pytest

from consumers.breaker import FAILURES, LONGEST_PAUSE_SECONDS, Breaker


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


def fail(breaker: Breaker, number: int, streams: int) -> list[bool]:
    return [breaker.failed(f"order-{i % streams}") for i in range(number)]


def test_it_opens_after_twenty_failures_in_a_row_of_ten_streams(breaker: Breaker) -> None:
    assert fail(breaker, FAILURES - 1, streams=10) == [True] * (FAILURES - 1)
    assert breaker.may_take
    assert breaker.failed("order-3") is True
    assert breaker.is_open
    assert not breaker.may_take


def test_failures_of_fewer_streams_are_their_own_fault(breaker: Breaker) -> None:
    fail(breaker, 500, streams=9)
    assert not breaker.is_open
    breaker.failed("another")
    assert breaker.is_open


def test_a_success_between_begins_anew(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1, streams=12)
    breaker.succeeded()
    fail(breaker, FAILURES - 1, streams=12)
    assert not breaker.is_open


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
    assert breaker.failed("order-1") is True


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES, streams=10)
    pauses = []
    for _ in range(9):
        before = clock.now
        while not breaker.may_take:
            clock.now += 0.25
        pauses.append(clock.now - before)
        breaker.taken()
        assert breaker.failed("order-1") is False
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
