"""Cases in which sagas elsewhere lost, doubled or stopped (C20 to C23), without a server."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from msgspec import Struct

from consumers.retry import Fixed, Immediate
from consumers.sagas import facts
from consumers.sagas.context import StepContext
from consumers.sagas.errors import SagaConflict
from consumers.sagas.instances import Instances
from consumers.sagas.saga import Saga
from consumers.sagas.start import begin
from consumers.sagas.steps import step
from consumers.sagas.world import World
from eventstore.envelope import RecordedEvent
from tests.support.payments import Desk, Paid, Payment, act, by_order
from tests.support.stories import words

pytestmark = pytest.mark.anyio
RETRIED = Fixed("1s", attempts=3, immediate=1)


def told(world: World, saga_id: str) -> list[str]:
    return [words(event.data) for event in world.streams[world.stream(saga_id)]]


async def test_c20_an_answer_that_overtakes_what_is_saved_is_not_lost() -> None:
    """1,000 sagas: the first half is answered before they start, the others while the step that asks is under way, and
    the answer is brought to them before its success is appended."""
    world: World

    async def ask(data: Payment, ctx: StepContext) -> None:
        if int(data.order) >= 500:
            await world.handle(world.add("shop", Paid(data.order)))

    saga = Saga("asking", data=Payment).step("ask", ask).wait("answered", Paid, correlate=by_order, timeout="1h")
    world = World(saga)
    for n in range(500):
        world.add("shop", Paid(str(n)))
    await world.settle()
    for n in range(1_000):
        await world.start(str(n), Payment(str(n)))
    await world.settle()
    for n in range(1_000):
        assert (await world.state(str(n))).status == "completed"
        assert told(world, str(n)).count("step_succeeded answered") == 1
    assert world.timers == {}


async def test_c20_an_event_that_fits_no_saga_is_counted_by_its_type() -> None:
    saga = Saga("picky", data=Payment).wait("w", Paid, correlate=lambda event: event.order or None)
    world = World(saga)
    assert await world.bring(world.add("shop", Paid(""))) == [("HINCRBY", "unrouted", ("Paid", 1))]
    assert await world.bring(world.add("shop", Paid("1"))) == []
    assert told(world, "1") == ["event_received shop"]


async def test_c21_of_20_who_start_one_saga_at_once_one_does() -> None:
    desk = Desk()
    saga = Saga("ingestion", data=Payment).step("a", act).step("b", act)
    world = World(saga, {Desk: desk})

    async def one(data: Payment) -> bool:
        return (await begin(Instances(world, saga), "7", data)).is_new

    assert sorted(await asyncio.gather(*(one(Payment("7")) for _ in range(20)))) == [False] * 19 + [True]
    with pytest.raises(SagaConflict):
        await one(Payment("8"))
    await world.settle()
    assert told(world, "7").count("started") == 1
    assert desk.done == ["a 1", "b 1"]


@pytest.mark.parametrize("answer_first", [True, False])
async def test_c22_of_an_answer_and_its_timeout_the_first_in_the_stream_decides(answer_first: bool) -> None:
    """Due in the same millisecond, 500 times."""
    saga = (
        Saga("asking", data=Payment)
        .step("reserve", act, compensate=act)
        .wait("paid", Paid, correlate=by_order, timeout="15m")
    )
    desk = Desk()
    world = World(saga, {Desk: desk})
    for n in range(500):
        await world.start(str(n), Payment(str(n)))
    await world.settle()
    world.now_us = max(due_us for due_us, _, _ in world.timers.values())
    answers: list[Callable[[], RecordedEvent]] = [partial(world.add, "shop", Paid(str(n))) for n in range(500)]
    await _in_turn(world, answers if answer_first else [world.fire] * 500)
    await _in_turn(world, [world.fire] * 500 if answer_first else answers)
    await world.settle()
    loser = "ignored " + ("$wait.paid@" if answer_first else "")
    for n in range(500):
        status = (await world.state(str(n))).status
        assert status == ("completed" if answer_first else "compensated")
        found = told(world, str(n))
        assert sum(each.startswith("ignored") for each in found) == 1
        assert any(each.startswith(loser) for each in found)
    assert desk.done.count("undo reserve 1") == (0 if answer_first else 500)


async def _in_turn(world: World, inputs: Sequence[Callable[[], RecordedEvent]]) -> None:
    """Each is in the log and brought to its saga before anything that follows is done."""
    for each in inputs:
        event = each()
        if event.stream == "shop":
            await world.bring(event)


def _chain(desk: Desk) -> tuple[World, Saga]:
    saga = (
        Saga("chain", data=Payment)
        .step("1", act, compensate=act)
        .step("2", act, compensate=act, retry_compensation=RETRIED)
        .step("3", act, retry=Immediate(1))
    )
    return World(saga, {Desk: desk}), saga


async def test_c23_compensations_run_in_reverse_order_and_each_until_it_works() -> None:
    desk = Desk(**{"3": 1, "undo_2": 2})
    world, _ = _chain(desk)
    await world.start("1", Payment("1"))
    await world.turn(60)
    assert desk.done == ["1 1", "2 1", "3 1", "undo 2 1", "undo 2 2", "undo 2 3", "undo 1 1"]
    assert (await world.state("1")).status == "compensated"


async def test_c23_a_compensation_that_never_works_is_stuck_until_an_operator_has_it_retried() -> None:
    desk = Desk(**{"3": 1, "undo_2": 4})
    world, _ = _chain(desk)
    await world.start("1", Payment("1"))
    await world.turn(3_600)
    state = await world.state("1")
    assert (state.status, state.stuck_at) == ("stuck", "2")
    assert desk.done[3:] == ["undo 2 1", "undo 2 2", "undo 2 3"]
    await world.ask("1", facts.RetryRequested("ada"))
    await world.turn(60)
    assert desk.done[6:] == ["undo 2 1", "undo 2 2", "undo 1 1"]
    assert (await world.state("1")).status == "compensated"


async def test_parallel_steps_are_done_at_once() -> None:
    """Each waits until the other is under way."""
    under_way = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def meet(data: Payment, ctx: StepContext) -> None:
        under_way[ctx.step].set()
        await under_way["b" if ctx.step == "a" else "a"].wait()

    world = World(Saga("meeting", data=Payment).parallel(step("a", meet, timeout=5), step("b", meet, timeout=5)))
    await world.start("1", Payment("1"))
    await world.settle()
    assert (await world.state("1")).status == "completed"
    assert not any(each.startswith("step_failed") for each in told(world, "1"))


class Scored(Struct, frozen=True):
    marks: tuple[int, ...] = ()
    by: dict[int, str] = {}


async def test_a_start_with_the_same_data_is_the_same_whatever_json_makes_of_them() -> None:
    world = World(Saga("scored", data=Scored))
    assert (await world.start("1", Scored((1, 2), {3: "x"}))).is_new
    again = Instances(world, world.saga)
    assert not (await begin(again, "1", Scored((1, 2), {3: "x"}))).is_new
    with pytest.raises(SagaConflict):
        await begin(again, "1", Scored((1, 2), {4: "x"}))


async def test_data_of_an_append_that_failed_are_forgotten() -> None:
    """What was decided for a version that somebody else has taken leaves no trace in what is kept."""
    saga = Saga("payment", data=Payment).wait(
        "w", Paid, correlate=by_order, then=lambda data, event: Payment(event.order, 5)
    )
    world = World(saga)
    await world.start("1", Payment("1"))
    await world.settle()
    kept = await world.state("1")
    before = dict(kept.data)
    after = kept.copy()
    after.fold(facts.Reacted("e", {"total": 5}), world.now_us)
    after.fold(facts.StepSucceeded("w", 1, {"paid": True}, 0.0), world.now_us)
    assert kept.data == before


async def test_what_follows_is_not_the_fault_of_the_action_before_it() -> None:
    """The function of a step that waits returns nonsense: the action that succeeded just before has not failed."""
    saga = Saga("payment", data=Payment).step("a", act).wait("w", Paid, correlate=by_order, then=lambda data, event: 7)
    desk = Desk()
    world = World(saga, {Desk: desk})
    world.add("shop", Paid("1"))
    await world.settle()
    await world.start("1", Payment("1"))
    with pytest.raises(Exception, match="then of w returned a int"):
        await world.settle()
    assert "step_failed a" not in told(world, "1")
