"""Which attempts are to be made, and which outcomes are to be recorded."""

import pytest

from consumers.sagas.facts import Fact
from consumers.sagas.react import Open, open_attempts, still_matters
from tests.support.stories import Story, act, plain, skip, told


def _story() -> Story:
    return told(plain.step("a", act, compensate=act).step("b", act))


def _matters(story: Story, outcome: Fact, attempt: int = 1, *, undo: bool = False) -> bool:
    return still_matters(story.state, Open("a", undo, attempt), outcome)


def test_the_outcome_of_the_attempt_that_is_under_way_counts() -> None:
    story = _story()
    assert open_attempts(story.state) == [Open("a", False, 1)]
    assert _matters(story, story.done("a"))
    assert _matters(story, story.failed("a"))
    assert not _matters(story, story.failed("a", 2), 2)


def test_an_outcome_counts_once() -> None:
    story = _story()
    story.put(story.done("a"))
    assert open_attempts(story.state) == [Open("b", False, 1)]
    assert not _matters(story, story.done("a"))
    assert not _matters(story, story.failed("a"))


@pytest.mark.parametrize("given_up", ["retrying", "tried again", "failed", "skipped"])
def test_of_an_attempt_that_was_given_up_only_a_success_counts(given_up: str) -> None:
    story = _story()
    story.put(story.failed("a", retry_in=None if given_up == "failed" else 60))
    if given_up == "tried again":
        story.put(story.fires("$retry.a"), after=60)
    if given_up == "skipped":
        story.put(skip("a"))
    assert _matters(story, story.done("a"))
    assert not _matters(story, story.failed("a"))
    assert not _matters(story, story.done("a", 3), 3)


def test_a_step_that_is_skipped_before_any_attempt_has_no_outcome() -> None:
    story = _story()
    story.put(skip("b"))
    assert not still_matters(story.state, Open("b", False, 1), story.done("b"))


def test_compensations_have_outcomes_of_their_own() -> None:
    story = _story()
    story.put(story.done("a"))
    story.put(story.failed("b"))
    assert open_attempts(story.state) == [Open("a", True, 1)]
    assert _matters(story, story.undone("a"), undo=True)
    assert not _matters(story, story.done("a"))
    story.put(story.undone("a"))
    assert open_attempts(story.state) == []
    assert not _matters(story, story.undone("a"), undo=True)
