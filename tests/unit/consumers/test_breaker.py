"""The breaker: an outage is told from failures, and ends by itself."""

from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from consumers.breaker import CHOOSY_SECONDS, FAILURES, LONGEST_PAUSE_SECONDS, Breaker
from tests.support.failures import Ticks, failure


@pytest.fixture
def clock() -> Ticks:
    return Ticks()


@pytest.fixture
def breaker(clock: Ticks) -> Breaker:
    return Breaker("charge", clock)


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


def test_events_that_had_failed_before_another_succeeded_do_not_open_it(breaker: Breaker, clock: Ticks) -> None:
    clock.now += 1
    breaker.succeeded_at = clock.now
    clock.now += 1
    assert [breaker.failed(f"order-{i}", failure(seconds_ago=1.5)) for i in range(100)] == [True] * 100
    assert not breaker.is_open
    for i in range(FAILURES):
        breaker.failed(f"order-{i}", failure(seconds_ago=0.5))
    assert breaker.is_open


def test_nor_do_those_that_had_failed_before_this_member_began(breaker: Breaker, clock: Ticks) -> None:
    clock.now += 1
    for i in range(100):
        breaker.failed(f"order-{i}", failure(seconds_ago=1.5))
    assert not breaker.is_open


def test_an_event_that_has_failed_before_probes_only_when_no_other_came(breaker: Breaker, clock: Ticks) -> None:
    failed_meanwhile, other = uuid4(), uuid4()
    fail(breaker, FAILURES, streams=10)
    breaker.failed("order-1", failure(event_id=failed_meanwhile))
    clock.now += 1.0
    assert breaker.is_choosy(failed_meanwhile, is_failing=False)
    assert breaker.is_choosy(other, is_failing=True)
    assert not breaker.is_choosy(other, is_failing=False)
    clock.now += CHOOSY_SECONDS
    assert not breaker.is_choosy(failed_meanwhile, is_failing=True)


def test_what_fails_is_told_for_as_long_as_it_is_open(breaker: Breaker, clock: Ticks) -> None:
    with capture_logs() as logs:
        fail(breaker, FAILURES, streams=10)
        assert breaker.error == "ConnectionError: refused at charge.py:31"
        clock.now += 1
        breaker.taken()
        fail(breaker, 1, streams=1)
        breaker.succeeded()
    assert breaker.error == ""
    assert [(each["event"], each.get("error")) for each in logs] == [
        ("breaker_open", "ConnectionError: refused at charge.py:31"),
        ("breaker_stays_open", "ConnectionError: refused at charge.py:31"),
        ("breaker_closed", None),
    ]


def test_while_it_is_open_no_failure_counts(breaker: Breaker) -> None:
    fail(breaker, FAILURES, streams=10)
    assert fail(breaker, 3, streams=3) == [False] * 3


def test_one_event_probes_at_a_time(breaker: Breaker, clock: Ticks) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 0.99
    assert not breaker.may_take
    clock.now += 0.02
    assert breaker.may_take
    breaker.taken()
    assert not breaker.may_take


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Ticks) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 1
    breaker.taken()
    breaker.succeeded()
    assert breaker.may_take
    assert breaker.failed("order-1", failure()) is True


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute(breaker: Breaker, clock: Ticks) -> None:
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


def test_late_failures_of_what_ran_before_do_not_lengthen_the_pause(breaker: Breaker, clock: Ticks) -> None:
    fail(breaker, FAILURES + 10, streams=10)
    clock.now += 1
    assert breaker.may_take


def test_a_probe_that_is_interrupted_lets_another_one_probe(breaker: Breaker, clock: Ticks) -> None:
    fail(breaker, FAILURES, streams=10)
    clock.now += 1
    breaker.taken()
    breaker.given_up()
    assert breaker.may_take
