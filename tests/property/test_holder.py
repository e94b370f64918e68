"""What a member keeps in memory and the scripts' rules together keep order and lose nothing (DESIGN 8, 3 and 6)."""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.holder_world import World

SCHEDULES = 20_000 if os.environ.get("EVENTSTORE_SOAK") else 400
STEPS = 200


def run(choose: Random, steps: int) -> None:
    world = World(choose)
    for _ in range(steps):
        world.step()
    world.settle()


@settings(max_examples=SCHEDULES // 4, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(20, STEPS))
def test_order_is_kept_and_nothing_is_lost(choose: Random, steps: int) -> None:
    run(choose, steps)


@pytest.mark.parametrize("seed", [49_108, 1_718, 794])
def test_schedules_that_were_wrong_once(seed: int) -> None:
    run(Random(seed), 20 + seed % 180)


def test_many_short_and_long_schedules() -> None:
    for seed in range(SCHEDULES):
        try:
            run(Random(seed), 20 + seed % 180)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
