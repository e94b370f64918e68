"""What follows from the facts of a saga of steps: pure, told as words."""

import pytest
from msgspec.structs import replace

from consumers.sagas import facts
from consumers.sagas.steps import step
from tests.support.stories import (
    ABORT,
    RETRY,
    Answer,
    Other,
    Story,
    act,
    pivoted,
    plain,
    skip,
    three,
    told,
    waiting,
)

# ---- going on ----


def test_steps_follow_each_other_and_what_they_change_is_passed_on() -> None:
    story = told(three)
    assert story.begun == ["step_started a"]
    assert story.put(story.done("a", n=1)) == ["step_started b"]
    assert story.put(story.done("b", is_big=True)) == ["step_started c"]
    assert story.put(story.done("c")) == ["completed"]
    assert story.data == {"n": 1, "is_big": True}


def test_parallel_steps_begin_at_once_and_the_next_when_all_have_ended() -> None:
    story = told(plain.parallel(step("a", act), step("b", act)).step("c", act))
    assert story.begun == ["step_started a", "step_started b"]
    assert story.put(story.done("b")) == []
    assert story.put(story.done("a")) == ["step_started c"]


def test_a_step_whose_condition_does_not_hold_is_left_out() -> None:
    story = told(plain.step("a", act).step("b", act, when=lambda data: data.is_big).step("c", act))
    assert story.put(story.done("a")) == ["step_skipped b", "step_started c"]
    story = told(plain.step("a", act).step("b", act, when=lambda data: data.is_big))
    assert story.put(story.done("a", is_big=True)) == ["step_started b"]


def test_a_failure_is_tried_again_when_its_time_comes() -> None:
    story = told(three)
    assert story.put(story.failed("a", retry_in=5)) == ["timer_set $retry.a"]
    assert story.put(story.fires("$retry.a"), after=5) == ["step_started a 2"]
    assert story.put(story.failed("a", 2, retry_in=0)) == ["step_started a 3"]
    assert story.put(story.done("a", 3)) == ["step_started b"]


def test_nothing_is_begun_beside_a_step_that_has_failed_for_good() -> None:
    story = told(plain.parallel(step("a", act), step("b", act)))
    story.put(story.failed("b", retry_in=5))
    story.fold(story.fires("$retry.b"), after=5)
    assert story.put(story.failed("a")) == ["compensating: a failed: OSError: no", "compensated: a failed: OSError: no"]


def test_a_saga_without_steps_waits_for_events() -> None:
    assert told(plain).begun == []


# ---- going back ----


def test_what_has_succeeded_is_taken_back_in_reverse_order() -> None:
    story = told(three)
    story.put(story.done("a"))
    story.put(story.done("b"))
    why = "c failed: OSError: no"
    assert story.put(story.failed("c")) == [f"compensating: {why}", "compensation_started b"]
    assert story.put(story.undo_failed("b", retry_in=9)) == ["timer_set $undo.b"]
    assert story.put(story.fires("$undo.b"), after=9) == ["compensation_started b 2"]
    assert story.put(story.undone("b", 2)) == ["compensation_started a"]
    assert story.put(story.undone("a")) == [f"compensated: {why}"]


def test_attempts_under_way_end_before_anything_is_taken_back() -> None:
    story = told(plain.step("x", act, compensate=act).parallel(step("a", act), step("b", act, compensate=act)))
    story.put(story.done("x"))
    assert story.put(story.failed("a")) == ["compensating: a failed: OSError: no"]
    assert story.put(story.done("b")) == ["compensation_started b"]
    assert story.put(story.undone("b")) == ["compensation_started x"]


def test_a_retry_that_waits_is_not_made_any_more() -> None:
    story = told(plain.step("x", act, compensate=act).parallel(step("a", act), step("b", act)))
    story.put(story.done("x"))
    story.put(story.failed("b", retry_in=60))
    assert story.put(story.failed("a")) == [
        "compensating: a failed: OSError: no",
        "timer_cancelled $retry.b",
        "compensation_started x",
    ]


def test_a_compensation_that_gives_up_leaves_the_saga_stuck_and_those_before_it_alone() -> None:
    story = told(three)
    story.put(story.done("a"))
    story.put(story.done("b"))
    story.put(story.failed("c"))
    assert story.put(story.undo_failed("b")) == ["stuck: compensation of b failed: OSError: no"]
    assert story.put(RETRY) == ["forward: retried by ada", "compensation_started b"]
    assert story.put(story.undo_failed("b", retry_in=9)) == ["timer_set $undo.b"]  # with all attempts
    story.put(story.fires("$undo.b"), after=9)
    assert story.put(story.undone("b", 2)) == ["compensation_started a"]


# ---- the pivot ----


def test_beyond_the_pivot_it_only_goes_forward() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    assert story.put(story.done("p")) == ["step_started r"]
    assert story.put(ABORT) == ["ignored abort: it is past its pivot"]
    assert story.put(story.failed("r")) == ["stuck: r failed: OSError: no"]
    assert story.put(ABORT) == ["ignored abort: it is past its pivot"]
    assert story.put(RETRY) == ["forward: retried by ada", "step_started r"]
    assert story.put(story.done("r")) == ["completed"]


def test_a_pivot_that_fails_takes_the_saga_back() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    assert story.put(story.failed("p")) == ["compensating: p failed: OSError: no", "compensation_started a"]


def test_an_abort_while_the_pivot_is_under_way_waits_for_it() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    assert story.put(ABORT) == ["compensating: aborted by ada"]
    assert story.put(story.done("p")) == ["forward: its pivot succeeded", "step_started r"]
    story = told(pivoted)
    story.put(story.done("a"))
    story.put(ABORT)
    assert story.put(story.failed("p", retry_in=5)) == ["compensation_started a"]


def test_what_comes_while_the_pivot_decides_is_decided_afterwards() -> None:
    story = told(plain.step("p", act, kind="pivot"))
    late = story.event(Answer())
    story.put(ABORT)
    assert story.put(late) == []
    assert story.put(story.done("p")) == [
        "forward: its pivot succeeded",
        f"ignored {late.cause}: nothing of this version takes it",
        "completed",
    ]


def test_a_pivot_that_succeeds_after_all_is_told_to_an_operator_if_something_was_taken_back() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    story.put(story.failed("p"))
    late = "stuck: p succeeded after the saga had begun to go back"
    assert story.put(story.done("p")) == [late]
    assert story.put(story.undone("a")) == []
    assert story.put(RETRY) == [
        "forward: retried by ada",
        "compensated: p failed: OSError: no",
    ]
    story = told(pivoted)
    story.put(story.done("a"))
    story.put(story.failed("p"))
    story.put(story.undone("a"))
    assert story.put(story.done("p")) == ["compensating: p failed: OSError: no", late]
    assert story.put(skip("p"))[:2] == ["compensation_skipped p", "forward: skipped by ada"]
    assert story.state.status == "compensated"


def test_a_pivot_that_succeeds_after_all_turns_the_saga_if_nothing_was_taken_back() -> None:
    story = told(plain.step("p", act, kind="pivot").step("r", act, kind="retriable"))
    story.put(story.failed("p"))
    assert story.state.status == "compensated"
    assert story.put(story.done("p"))[1:] == ["forward: its pivot succeeded", "step_started r"]


def test_a_retriable_step_that_was_only_skipped_is_no_pivot_passed() -> None:
    story = told(pivoted)
    assert story.put(skip("r")) == ["step_skipped r"]
    assert story.put(story.failed("a"))[0] == "compensating: a failed: OSError: no"


# ---- waiting ----


def test_an_event_ends_a_step_that_waits() -> None:
    story = told(waiting)
    assert story.put(story.done("a")) == ["step_started w", "timer_set $wait.w"]
    event = story.event(Answer(5))
    kept, reacted = f"kept {event.cause}", f"reacted {event.cause}"
    assert story.put(event) == [kept, reacted, "step_succeeded w", "timer_cancelled $wait.w", "step_started c"]
    assert story.data == {"n": 5, "is_big": False}
    second = story.event(Answer())
    assert story.put(second) == [f"ignored {second.cause}: nothing waits for it any more"]


def test_an_event_that_comes_first_is_kept_until_its_step_waits() -> None:
    story = Story(waiting)
    first, second = story.event(Answer(3)), story.event(Other())
    assert story.put(first) == []
    assert story.put(second) == []
    assert story.put(facts.Started(1, {"n": 0, "is_big": False})) == [
        f"kept {first.cause}",
        f"ignored {second.cause}: nothing of this version takes it",
        "step_started a",
    ]
    assert story.put(story.done("a")) == [
        "step_started w",
        f"reacted {first.cause}",
        "step_succeeded w",
        "step_started c",
    ]
    assert story.data["n"] == 3


@pytest.mark.parametrize("is_together", [True, False])
@pytest.mark.parametrize("answer_first", [True, False])
def test_the_first_in_the_stream_wins_the_race_of_an_answer_and_its_timeout(
    answer_first: bool, is_together: bool
) -> None:
    story = told(waiting)
    story.put(story.done("a"))
    fired, answer = story.fires("$wait.w"), story.event(Answer())
    inputs = (answer, fired) if answer_first else (fired, answer)
    followed = (
        story.put(*inputs, after=3600) if is_together else [*story.put(inputs[0], after=3600), *story.put(inputs[1])]
    )
    if answer_first:
        assert [each for each in followed if each.startswith(("step", "ignored $wait.w@5"))] == [
            *(["ignored $wait.w@5: step w does not wait any more"] if is_together else []),
            *["step_succeeded w", "step_started c"],
            *([] if is_together else ["ignored $wait.w@5: the timer was cancelled"]),
        ]
    else:
        assert followed[:2] == ["reacted $wait.w@5", "step_failed w"]
        assert "compensation_started a" in followed
        assert any(each.startswith(f"ignored {answer.cause}") for each in followed)
        assert story.state.status == "compensating"


def test_a_saga_over_its_deadline_goes_back_unless_it_is_past_its_pivot() -> None:
    story = told(replace(three, deadline="1h"))
    assert story.begun == ["timer_set $deadline", "step_started a"]
    story.put(story.done("a"))
    over = ["reacted $deadline@2", "compensating: it took longer than 1h"]
    assert story.put(story.fires("$deadline"), after=3600) == over
    assert story.put(story.failed("b")) == ["compensation_started a"]
    story = told(replace(pivoted, deadline="1h"))
    story.put(story.done("a"))
    story.put(story.done("p"))
    assert story.put(story.fires("$deadline"), after=3600) == ["ignored $deadline@2: it is past its pivot"]
    story = told(replace(plain, deadline="1h").step("a", act))
    assert story.put(story.done("a")) == ["completed", "timer_cancelled $deadline"]


# ---- what comes late ----


def test_a_success_that_comes_late_counts_or_is_taken_back() -> None:
    story = told(three)
    story.put(story.failed("a", retry_in=5))
    assert story.put(story.done("a")) == ["step_started b"]
    story = told(three)
    story.put(story.failed("a"))
    assert story.state.status == "compensated"
    assert story.put(story.done("a")) == ["compensating: a failed: OSError: no", "compensation_started a"]
    assert story.put(story.undone("a")) == ["compensated: a failed: OSError: no"]


def test_what_comes_late_above_a_compensation_under_way_hides_none() -> None:
    story = told(plain.step("x", act, compensate=act).parallel(step("a", act, compensate=act), step("b", act)))
    story.put(story.done("x"))
    story.put(story.failed("a", retry_in=60))
    assert story.put(story.failed("b"))[-1] == "compensation_started x"
    assert story.put(story.done("a")) == ["compensation_started a"]
    assert story.put(story.undone("x")) == []
    assert story.put(story.undone("a")) == ["compensated: b failed: OSError: no"]


def test_a_stuck_saga_goes_on_if_what_was_given_up_succeeds_after_all() -> None:
    story = told(pivoted)
    story.put(story.done("a"))
    story.put(story.done("p"))
    story.put(story.failed("r"))
    assert story.put(story.done("r")) == ["forward: r succeeded after all", "completed"]
    story = told(three)
    story.put(story.done("a"))
    story.put(story.failed("b"))
    story.put(story.undo_failed("a"))
    assert story.put(story.undone("a")) == ["forward: a succeeded after all", "compensated: b failed: OSError: no"]
