"""A rate that is kept by who asks now and then, and by who waits."""

import anyio
import pytest

from consumers.pace import Pace
from consumers.rate import parse_rate, per_second


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def allowed(pace: Pace, clock: Clock, seconds: float, *, every: float) -> int:
    """How many calls are allowed to who asks again and again until it is refused, after each pause."""
    count = 0
    for _ in range(round(seconds / every)):
        while pace.now_or_later():
            count += 1
        clock.now += every
    return count


@pytest.mark.parametrize("rate", [0.5, 10.0, 200.0])
@pytest.mark.parametrize("every", [0.01, 0.05])
def test_who_asks_now_and_then_gets_what_the_rate_allows(rate: float, every: float) -> None:
    clock = Clock()
    pace = Pace(per_second(rate), lambda: 1.0, clock)
    assert allowed(pace, clock, 20.0, every=every) == pytest.approx(rate * 20, abs=1 + rate * 0.1)


def test_a_member_keeps_to_its_share() -> None:
    clock = Clock()
    assert allowed(Pace(per_second(100), lambda: 0.25, clock), clock, 10.0, every=0.05) == pytest.approx(250, abs=11)


def test_what_was_missed_long_ago_is_not_made_good_for() -> None:
    clock = Clock()
    pace = Pace(per_second(10), lambda: 1.0, clock)
    assert pace.now_or_later()
    clock.now += 60
    assert allowed(pace, clock, 0.01, every=0.01) <= 2


@pytest.mark.anyio
async def test_who_waits_is_let_through_in_even_steps() -> None:
    pace, began_at = Pace(parse_rate("100/s"), lambda: 1.0), anyio.current_time()
    for number in range(10):
        await pace.turn()
        assert anyio.current_time() - began_at >= number / 100 - 0.001
