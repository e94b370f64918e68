"""What operators ask of a saga in each of its states, and sagas that go on under another version."""

from typing import Any

import pytest
from msgspec import Struct

from consumers.sagas.saga import Saga
from tests.support.stories import (
    ABORT,
    RETRY,
    Data,
    Story,
    act,
    pivoted,
    plain,
    skip,
    three,
    told,
    waiting,
)


def _states() -> dict[str, Story]:
    """A saga in each state; `b` is the step in question."""
    running, retrying, compensating, undoing, stuck, completed, compensated = (told(three) for _ in range(7))
    for story in (running, retrying, compensating, undoing, stuck, completed):
        story.put(story.done("a"))
    retrying.put(retrying.failed("b", retry_in=60))
    for story in (compensating, undoing, stuck):
        story.put(story.done("b"))
        story.put(story.failed("c"))
    undoing.put(undoing.undo_failed("b", retry_in=60))
    stuck.put(stuck.undo_failed("b"))
    completed.put(completed.done("b"))
    completed.put(completed.done("c"))
    compensated.put(compensated.failed("a"))
    return {
        "running": running,
        "retrying": retrying,
        "compensating": compensating,
        "undoing": undoing,
        "stuck": stuck,
        "completed": completed,
        "compensated": compensated,
    }


NO_RETRY = ["ignored retry: nothing waits to be tried again"]
GONE = "timer_cancelled $undo.b"


@pytest.mark.parametrize(
    ("state", "retry", "skipped", "abort"),
    [
        ("running", NO_RETRY, ["ignored skip: step b is running"], ["compensating: aborted by ada"]),
        (
            "retrying",
            ["forward: retried by ada", "timer_cancelled $retry.b", "step_started b 2"],
            ["step_skipped b", "timer_cancelled $retry.b", "step_started c"],
            ["compensating: aborted by ada", "timer_cancelled $retry.b", "compensation_started a"],
        ),
        (
            "compensating",
            NO_RETRY,
            ["ignored skip: the compensation of b is not waiting"],
            ["ignored abort: the saga is compensating"],
        ),
        (
            "undoing",
            ["forward: retried by ada", GONE, "compensation_started b 2"],
            ["compensation_skipped b", GONE, "compensation_started a"],
            ["ignored abort: the saga is compensating"],
        ),
        (
            "stuck",
            ["forward: retried by ada", "compensation_started b"],
            ["compensation_skipped b", "forward: skipped by ada", "compensation_started a"],
            ["ignored abort: it goes back"],
        ),
        *(
            (
                state,
                [f"ignored retry: the saga is {state}"],
                [f"ignored skip: the saga is {state}"],
                [f"ignored abort: the saga is {state}"],
            )
            for state in ("completed", "compensated")
        ),
    ],
)
def test_an_operator_is_answered_in_every_state(state: str, retry: Any, skipped: Any, abort: Any) -> None:
    assert _states()[state].put(RETRY) == retry
    assert _states()[state].put(skip("b")) == skipped
    assert _states()[state].put(ABORT) == abort


def test_a_step_may_be_skipped_before_its_turn_and_while_it_waits_for_an_event() -> None:
    story = told(waiting)
    assert story.put(skip("c")) == ["step_skipped c"]
    assert story.put(skip("no")) == ["ignored skip: there is no step no"]
    story.put(story.done("a"))
    assert story.put(skip("w")) == ["step_skipped w", "timer_cancelled $wait.w", "completed"]


def test_a_stuck_step_may_be_passed_over_and_no_other_one() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    story.put(story.done("p"))
    story.put(story.failed("r"))
    assert story.put(skip("a")) == ["ignored skip: it is stuck at r"]
    assert story.put(skip("r")) == ["step_skipped r", "forward: skipped by ada", "completed"]


def test_what_is_asked_while_an_attempt_is_under_way_is_answered_when_it_has_ended() -> None:
    story = told(three)
    story.put(ABORT)
    story.put(skip("a"))
    assert story.put(story.failed("a")) == [
        "ignored skip: the compensation of a is not waiting",
        "compensated: aborted by ada",
    ]


# ---- versions ----


def test_a_saga_of_an_earlier_version_goes_on_with_its_data_carried_over() -> None:
    class Later(Struct, frozen=True):
        count: int

    async def act_later(data: Later) -> None: ...

    later = Saga("story", data=Later, version=2).step("a", act_later).step("d", act_later)
    migrated = later.migrate(1, lambda data: {"count": data["n"]})
    story = told(three)
    story.saga = migrated
    assert story.put(story.done("a", n=4)) == ["migrated", "step_started d"]
    assert (story.data, story.state.saga_version) == ({"count": 4}, 2)
    story = told(plain)
    story.saga = later.migrate(1, lambda data: Later(data["n"]))
    assert story.put() == ["migrated", "step_started a"]


def test_a_step_that_fails_beyond_a_pivot_of_another_version_is_stuck() -> None:
    story = told(plain.step("p", act, kind="pivot").step("r", act, kind="retriable"))
    story.put(story.done("p"))
    story.saga = (
        Saga("story", data=Data, version=2)
        .step("new", act)
        .step("p", act, kind="pivot")
        .step("r", act, kind="retriable")
    ).migrate(1, dict)
    assert story.put(story.failed("r", retry_in=0)) == ["migrated", "step_started new"]
    assert story.put(story.failed("new")) == ["stuck: new failed: OSError: no"]
