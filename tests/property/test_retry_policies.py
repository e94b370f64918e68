"""Whatever the policy: its attempts, its bounds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from consumers.retry import Exponential, Fixed, Immediate, Linear

_SECONDS = some.floats(0.001, 86_400)
_CHANCE = some.floats(0, 1, exclude_max=True)


@some.composite
def _shared(draw: some.DrawFn) -> dict[str, Any]:
    attempts = draw(some.integers(1, 2_000))
    immediate = draw(some.none() | some.integers(1, max(attempts - 1, 1)))
    return {"attempts": attempts, "immediate": immediate, "jitter": draw(some.floats(0, 1))}


@some.composite
def _growing(draw: some.DrawFn) -> Linear | Exponential:
    first, cap = sorted((draw(_SECONDS), draw(_SECONDS)))
    if draw(some.booleans()):
        return Linear(first, draw(some.floats(0, 86_400)), cap, **draw(_shared()))
    return Exponential(first, draw(some.floats(1, 1e6)), cap, **draw(_shared()))


_FIXED = some.builds(lambda every, shared: Fixed(every, **shared), _SECONDS, _shared())


@given(_growing() | _FIXED, some.data())
def test_pauses_lie_within_bounds_and_end_with_the_attempts(
    policy: Linear | Exponential | Fixed, data: some.DataObject
) -> None:
    made = data.draw(some.integers(1, policy.attempts + 3))
    delay = policy.delay(made, data.draw(_CHANCE))
    if made >= policy.attempts:
        assert delay is None
    elif made < policy.at_once:
        assert delay == 0
    else:
        first, cap = (policy.every,) * 2 if isinstance(policy, Fixed) else (policy.first, policy.cap)
        assert delay is not None
        assert max(0.001, float(first) * (1 - policy.jitter) * 0.999) <= delay <= float(cap)


@given(_growing(), _CHANCE)
def test_pauses_never_become_shorter(policy: Linear | Exponential, chance: float) -> None:
    made = range(1, min(policy.attempts, 200))
    delays = [delay for attempts in made if (delay := policy.delay(attempts, chance)) is not None]
    assert len(delays) == len(made)
    assert delays == sorted(delays)


@given(_growing() | _FIXED)
def test_a_policy_with_pauses_uses_them(policy: Linear | Exponential | Fixed) -> None:
    delays = [policy.delay(attempts, 0.0) for attempts in range(1, policy.attempts)]
    assert not delays or delays[-1] != 0


@given(some.integers(1, 1_000), some.integers(1, 1_003), _CHANCE)
def test_immediate_attempts_follow_at_once(attempts: int, made: int, chance: float) -> None:
    assert Immediate(attempts).delay(made, chance) == (0 if made < attempts else None)
