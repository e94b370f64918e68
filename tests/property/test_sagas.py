"""Whatever fails and whoever restarts, a saga ends, with each effect once (DESIGN 8, 5; PROTOCOLS 7)."""

import asyncio
import os
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.property.saga_world import World

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
SCHEDULES = 20_000 if SOAK else 400
EXAMPLES = 2_000 if SOAK else 60
OFTEN = [*["handle"] * 8, *["answer"] * 12, *["commit"] * 2, "publish", "turn", "ring", "ring"]
SELDOM = ["publish", "begin", "take_over", "crash", "wake", "wake", "ask", "turn"]
numbers = st.integers(0, 65_535)


class SagaMachine(RuleBasedStateMachine):
    """What may happen to sagas and to those who run them, in any order; at the end all comes to rest."""

    @initialize(seed=st.integers(0, 2**32), n=numbers)
    def begin(self, seed: int, n: int) -> None:
        self.runner = asyncio.Runner()
        self.world = self.runner.run(_made(seed))
        self._step("begin", n)

    @rule(n=numbers)
    def somebody_starts_a_saga(self, n: int) -> None:
        self._step("begin", n)

    @rule(n=numbers)
    def an_event_comes(self, n: int) -> None:
        self._step("publish", n)

    @rule(n=numbers)
    def a_worker_takes_an_event(self, n: int) -> None:
        self._step("handle", n)

    @precondition(lambda self: self.world.gates)
    @rule(n=numbers)
    def a_call_is_answered(self, n: int) -> None:
        self._step("answer", n)

    @precondition(lambda self: self.world.gates)
    @rule(n=numbers)
    def all_calls_are_answered(self, n: int) -> None:
        for _ in range(len(self.world.gates)):
            self._step("answer", n)

    @precondition(lambda self: self.world.owner.finished)
    @rule()
    def the_owner_commits(self) -> None:
        self._step("commit", 0)

    @rule(n=numbers)
    def another_worker_has_the_lease(self, n: int) -> None:
        self._step("take_over", n)

    @rule(n=numbers)
    def a_worker_ends_where_it_is(self, n: int) -> None:
        self._step("crash", n)

    @rule(n=numbers)
    def time_passes(self, n: int) -> None:
        self._step("turn", n)

    @precondition(lambda self: self.world.timers)
    @rule()
    def a_timer_fires(self) -> None:
        self._step("ring", 0)

    @precondition(lambda self: self.world.threads)
    @rule(n=numbers)
    def an_action_succeeds_that_was_given_up(self, n: int) -> None:
        self._step("wake", n)

    @rule(n=numbers)
    def an_operator_asks(self, n: int) -> None:
        self._step("ask", n)

    @rule()
    def what_is_kept_is_the_fold_of_the_facts(self) -> None:
        self.world.same(self.world.owner)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.runner.run(self.world.settle())
            finally:
                self.runner.run(self.world.close())
                self.runner.close()

    def _step(self, name: str, n: int) -> None:
        self.runner.run(self.world.step(name, n))


async def _made(seed: int) -> World:
    return World(Random(seed))


@pytest.mark.timeout(600 if not SOAK else 3600)  # finding the smallest failing case may take 300 s
def test_every_saga_ends_with_each_effect_once() -> None:
    run_state_machine_as_test(
        SagaMachine, settings=settings(max_examples=EXAMPLES, stateful_step_count=60, deadline=None)
    )


async def play(seed: int, steps: int) -> None:
    choose = Random(seed)
    world = World(choose)
    rare = choose.choice([0.05, 0.1, 0.3])
    try:
        await world.step("begin", choose.getrandbits(16))
        await world.step("publish", choose.getrandbits(16))
        for _ in range(steps):
            await world.step(choose.choice(SELDOM if choose.random() < rare else OFTEN), choose.getrandbits(16))
            if choose.random() < 0.05:
                world.same(world.owner)
        await world.settle()
    finally:
        await world.close()


@pytest.mark.timeout(300 if not SOAK else 3600)
def test_many_short_and_long_schedules() -> None:
    with asyncio.Runner() as runner:
        for seed in range(SCHEDULES):
            try:
                runner.run(play(seed, 20 + seed % 180))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error
