"""A saga's timeline: what belongs together is one line, where it began."""

from typing import Any
from uuid import UUID

from consumers.sagas import facts
from consumers.sagas.facts import Reason
from consumers.sagas.history import History
from eventstore.envelope import Metadata, RecordedEvent

FAILED = Reason("ValueError", "no")


def told(*given: Any) -> list[tuple[Any, ...]]:
    """What, status, attempts, seconds, why; a fact each second."""
    found = History("saga-ingestion-1")
    for version, fact in enumerate([facts.Started(1, {}), *given], 1):
        found.add(
            RecordedEvent(
                UUID(int=version),
                "saga-ingestion-1",
                version,
                0,
                1,
                version,
                version * 1_000_000,
                "saga.fact",
                1,
                fact,
                Metadata(),
            )
        )
    lines = found.timeline.moments[1:]
    return [(each.what, each.status, each.attempts, each.seconds, each.why) for each in lines]


def test_the_attempts_of_a_step_are_one_line_which_takes_from_the_first_to_the_last() -> None:
    attempts = [
        facts.StepStarted("fetch", 1),
        facts.StepFailed("fetch", 1, FAILED, 0.1, retry_at=1),
        facts.TimerSet("$retry.fetch", 1),
        facts.TimerFired("$retry.fetch", 4),
        facts.StepStarted("fetch", 2),
    ]
    assert told(*attempts[:2]) == [("fetch", "retrying", 1, None, None)]
    assert told(*attempts) == [("fetch", "running", 2, None, None)]
    assert told(*attempts, facts.StepSucceeded("fetch", 2, {}, 0.2)) == [("fetch", "succeeded", 2, 5.0, None)]
    assert told(attempts[0], facts.StepSucceeded("fetch", 1, {}, 0.2)) == [("fetch", "succeeded", 1, 0.2, None)]


def test_attempts_after_an_operators_retry_are_a_line_of_their_own() -> None:
    lines = told(
        facts.StepStarted("report", 1),
        facts.StepFailed("report", 1, FAILED, 0.1),
        facts.Stuck("report", "no"),
        facts.RetryRequested("ada", "mended"),
        facts.Forward("retried by ada", "running"),
        facts.StepStarted("report", 1),
    )
    assert lines == [
        ("report", "failed", 1, 0.1, None),
        ("retry", "done", None, None, "by ada: mended"),
        ("report", "running", 1, None, None),
    ]


def test_a_saga_is_stuck_at_one_line_until_it_goes_on() -> None:
    stuck = [
        facts.StepStarted("report", 1),
        facts.StepFailed("report", 1, FAILED, 0.1),
        facts.Stuck("report", "no"),
    ]

    def places(*given: Any) -> list[bool]:
        found = History("saga-ingestion-1")
        for version, fact in enumerate([facts.Started(1, {}), *given], 1):
            event = RecordedEvent(UUID(int=version), "s", version, 0, 1, version, version, "f", 1, fact, Metadata())
            found.add(event)
        return [each.is_stuck for each in found.timeline.moments]

    assert places(*stuck) == [False, True]
    assert places(*stuck, facts.SkipRequested("report", "ada")) == [False, True, False]
    went_on = [facts.StepSkipped("report", "by ada"), facts.Forward("skipped by ada", "running")]
    assert not any(places(*stuck, facts.SkipRequested("report", "ada"), *went_on))


def test_a_step_that_is_called_like_what_an_operator_asks_for_is_not_taken_for_it() -> None:
    lines = told(facts.StepStarted("abort", 1), facts.AbortRequested("ada"), facts.Ignored("abort", "past its pivot"))
    assert [line[:2] for line in lines] == [("abort", "running"), ("abort", "ignored")]


def test_a_wait_that_is_skipped_ends_where_it_stands() -> None:
    lines = told(
        facts.StepStarted("approved", 1, waits=True),
        facts.SkipRequested("approved", "ada", "by phone"),
        facts.StepSkipped("approved", "by ada"),
    )
    assert lines == [
        ("approved", "skipped", 1, 2.0, "by ada"),
        ("skip-step approved", "done", None, None, "by ada: by phone"),
    ]


def test_events_that_are_sent_and_the_deadline_are_told() -> None:
    lines = told(
        facts.Sent("mail-1", "Mailed", 1, {}),
        facts.TimerSet("$deadline", 9),
        facts.TimerFired("$deadline", 3),
        facts.Compensating("it took longer than 1s"),
        facts.Sent("mail-1", "Recalled", 1, {}, undo=True),
        facts.Compensated("it took longer than 1s"),
    )
    assert [line[:2] for line in lines] == [
        ("send Mailed", "sent"),
        ("deadline", "passed"),
        ("saga", "compensating"),
        ("undo: send Recalled", "sent"),
        ("saga", "compensated"),
    ]
    assert lines[-1][3] == 6.0
