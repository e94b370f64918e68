"""What a job is, as the fold of its events."""

from uuid import uuid4

import pytest
from msgspec import Struct, to_builtins

from eventstore.envelope import Metadata, RecordedEvent
from eventstore.event_types import event_type
from eventstore.job_state import Job, JobCancelRequested, JobEnded, JobProgressed, JobStarted, Outcome, fold

SECOND = 1_000_000
START = 1_795_600_000 * SECOND


def at(seconds: float, data: Struct, version: int = 1, *, as_dict: bool = False) -> RecordedEvent:
    return RecordedEvent(
        id=uuid4(),
        stream="$jobs",
        version=version,
        partition=0,
        epoch=1,
        position=version,
        recorded_at=START + int(seconds * SECOND),
        type=event_type(type(data)).name,
        schema_version=1,
        data=to_builtins(data) if as_dict else data,
        metadata=Metadata(),
    )


BEGIN = at(0, JobStarted("a1", "import", "ada", "first load", 100))


def job(*own: RecordedEvent, ended: RecordedEvent | None = None, now: float = 1) -> Job:
    return fold(BEGIN, own, ended, START + int(now * SECOND))


def test_a_new_job_runs_and_knows_no_rate() -> None:
    new = job()
    assert (new.id, new.kind, new.who, new.why, new.state) == ("a1", "import", "ada", "first load", "running")
    assert (new.done, new.total, new.rate, new.eta_seconds) == (0, 100, None, None)


def test_progress_gives_rate_and_time_left() -> None:
    half = job(at(2, JobProgressed(20, 100)), now=3)
    assert (half.done, half.rate, half.eta_seconds) == (20, 10.0, 8.0)


def test_the_rate_is_that_of_late_not_that_of_a_slow_start() -> None:
    marks = [at(3_600 + n, JobProgressed(20 * n, 100), n + 2) for n in range(4)]
    running = job(at(1, JobProgressed(0, 100)), *marks, now=3_604)
    assert (running.done, running.rate, running.eta_seconds) == (60, 20.0, 2.0)


def test_where_nothing_was_done_of_late_the_rate_is_that_of_all_its_time() -> None:
    slow = job(at(8, JobProgressed(4, 10)), at(10, JobProgressed(4, 10), 2), now=11)
    assert (slow.rate, slow.eta_seconds) == (0.4, 15.0)


def test_events_read_backwards_and_as_dicts_give_the_same_job() -> None:
    first, second = at(2, JobProgressed(20, 100)), at(4, JobProgressed(30, 120), 2, as_dict=True)
    assert job(second, first) == job(first, second)
    assert job(second, first).total == 120


def test_without_a_total_nobody_knows_the_time_left() -> None:
    assert job(at(2, JobProgressed(20, None))).eta_seconds is None


@pytest.mark.parametrize(("now", "state"), [(61.9, "running"), (62.1, "stalled")])
def test_a_job_that_says_nothing_for_a_minute_is_stalled(now: float, state: str) -> None:
    assert job(at(2, JobProgressed(20, 100)), now=now).state == state


def test_a_request_to_cancel_is_no_progress() -> None:
    asked = job(at(2, JobProgressed(20, 100)), at(50, JobCancelRequested("bob", None), 2), now=63)
    assert (asked.state, asked.cancel_requested_by, asked.done) == ("stalled", "bob", 20)


@pytest.mark.parametrize("outcome", ["done", "failed", "cancelled"])
def test_an_ended_job_never_stalls(outcome: Outcome) -> None:
    ended = job(ended=at(10, JobEnded("a1", outcome, 50, 100, None)), now=1000)
    assert (ended.state, ended.done, ended.ended_at) == (outcome, 50, START + 10 * SECOND)
    assert (ended.rate, ended.eta_seconds) == (5.0, None)
