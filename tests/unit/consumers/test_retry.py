"""When a failed event is tried again, and when no more."""

import re
from collections.abc import Callable

import pytest

from consumers.errors import InvalidConsumer
from consumers.retry import DEFAULT, Exponential, Fixed, Immediate, Linear, Park, Policy, Rules


def pauses(policy: Policy, random: float = 0.0) -> list[float | None]:
    """After each attempt, up to the last."""
    return [policy.delay(attempts, random) for attempts in range(1, 10)][: policy_length(policy)]


def policy_length(policy: Policy) -> int:
    return 1 if isinstance(policy, Park) else policy.attempts


def test_the_default_makes_three_attempts_at_once_then_doubles_the_pause_and_gives_up_after_eight() -> None:
    assert pauses(DEFAULT) == [0, 0, 1, 2, 4, 8, 16, None]


def test_each_policy_has_its_pauses() -> None:
    assert pauses(Immediate(attempts=4)) == [0, 0, 0, None]
    assert pauses(Fixed("5s", attempts=4, immediate=1)) == [5, 5, 5, None]
    assert pauses(Linear("1s", "500ms", attempts=5, immediate=1)) == [1, 1.5, 2, 2.5, None]
    assert pauses(Exponential("200ms", 3, attempts=5, immediate=1)) == pytest.approx([0.2, 0.6, 1.8, 5.4, None])
    assert pauses(Park()) == [None]


def test_a_policy_with_few_attempts_still_pauses_between_them() -> None:
    assert pauses(Fixed("5s", attempts=3)) == [5, 5, None]
    assert pauses(Fixed("5s", attempts=4)) == [0, 5, 5, None]
    assert pauses(Fixed("5s", attempts=1)) == [None]


def test_a_pause_never_goes_above_the_cap() -> None:
    assert pauses(Linear("1s", "10s", cap="15s", attempts=5, immediate=1)) == [1, 11, 15, 15, None]
    assert Exponential(cap="1m", attempts=1_000_000).delay(999_999, 0.0) == 60  # its power is above any float


def test_jitter_takes_a_part_of_the_pause() -> None:
    assert Fixed("10s", jitter=0.5, immediate=1).delay(1, 0.5) == 7.5
    assert Fixed("10s", jitter=0, immediate=1).delay(1, 0.99) == 10
    assert Fixed("10s", jitter=1, immediate=1).delay(1, 1 - 2**-53) == 0.001  # a pause is never none


@pytest.mark.parametrize(
    ("define", "said", "remedy"),
    [
        (lambda: Fixed("5 seconds"), "^every is '5 seconds'", "such as"),
        (Fixed, "^every is missing", r'Fixed\("5s"\)'),
        (lambda: Fixed("0s"), "^every is '0s'", "at least 1ms"),
        (lambda: Fixed(-1), "^every is -1", "ten years"),
        (lambda: Fixed(float("nan")), "^every is nan", "number"),
        (lambda: Fixed(True), "^every is True", "number"),
        (lambda: Linear(step=None), "^step is None", "number"),  # type: ignore[arg-type]
        (lambda: Linear("1m", cap="10s"), "^cap is '10s'", "at least 1m"),
        (lambda: Exponential(factor=0.5), "^factor is 0.5", "at least 1"),
        (lambda: Exponential(jitter=1.5), "^jitter is 1.5", "0 to 1"),
        (lambda: Exponential(attempts=0), "^attempts is 0", "from 1"),
        (lambda: Immediate(2.0), "^attempts is 2.0", "whole number"),  # type: ignore[arg-type]
        (lambda: Fixed("5s", attempts=3, immediate=3), "^immediate is 3", r"from 1 to 2; Immediate\(attempts=3\)"),
    ],
)
def test_what_makes_no_policy_is_refused_with_what_to_give(
    define: Callable[[], object], said: str, remedy: str
) -> None:
    with pytest.raises(InvalidConsumer, match=said) as caught:
        define()
    assert re.search(remedy, caught.value.remedy or "")


class Declined(Exception):
    pass


class ForGood(Declined):
    pass


def test_the_most_specific_exception_that_a_rule_names_decides() -> None:
    rules = Rules(DEFAULT, ((Exception, Immediate()), (Declined, Fixed("5s")), (OSError, Park())))
    assert rules.policy_for(ForGood()) == Fixed("5s")
    assert rules.policy_for(ConnectionResetError()) == Park()
    assert rules.policy_for(ValueError()) == Immediate()
    assert Rules(DEFAULT, ((Declined, Park()),)).policy_for(ValueError()) == DEFAULT
