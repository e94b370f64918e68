"""Attempts that take too long, and attempts that are broken off from outside: the first have failed, the others not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from consumers.consumer import Consumer, consumer
from consumers.context import Context
from consumers.outcome import NOTHING, Failed, Outcome
from consumers.retry import Fixed, Immediate, Park
from consumers.slots import NEVER, Interrupted, Slot
from tests.support.handling import handling
from tests.support.orders import Declined, OrderPaid, OrderPlaced, recorded

pytestmark = pytest.mark.anyio
OVER = 1e9  # seconds: over any time


class Worker:
    """One event in the hands of a worker of its own."""

    def __init__(self, group: Consumer, attempts: int = 0) -> None:
        self._handling, self._attempts = handling(group), attempts
        self.slot: Slot
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> Outcome:
        self.slot = Slot()
        return await self._handling.handle(self.slot, recorded(OrderPlaced()), self._attempts)

    async def failed(self) -> Failed:
        outcome = await self.task
        assert isinstance(outcome, Failed)
        return outcome


class Handler:
    """Waits until it is cancelled, and does then what it is told to."""

    def __init__(self, then: Callable[[], Awaitable[object]] | None = None) -> None:
        self.begun = anyio.Event()
        self.calls = 0
        self._then = then

    async def __call__(self, event: OrderPlaced) -> Any:
        self.calls += 1
        self.begun.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            if self._then is not None:
                return await self._then()
            raise


async def test_an_attempt_over_its_time_is_cancelled_and_has_failed() -> None:
    @consumer("charge", timeout="90s", retry=Fixed("5s"))
    async def charge(event: OrderPlaced) -> None:
        begun.set()
        await anyio.sleep_forever()

    begun = anyio.Event()
    worker = Worker(charge, 4)
    await begun.wait()
    assert 80 < worker.slot.deadline - asyncio.get_running_loop().time() <= 90
    assert not worker.slot.overdue(asyncio.get_running_loop().time())
    assert worker.slot.overdue(OVER)
    outcome = await worker.failed()
    assert (outcome.calls, outcome.delay_seconds) == (1, 5)
    assert (outcome.failure.type, outcome.failure.message) == ("TimeoutError", "charge took longer than 90s")
    assert outcome.failure.where.startswith("test_timeouts.py:")
    assert not worker.slot.overdue(OVER)


async def returns() -> OrderPaid:
    return OrderPaid()


async def returns_nothing() -> None: ...


async def raises() -> None:
    raise Declined("while it was cancelled")


@pytest.mark.parametrize("then", [None, returns, returns_nothing, raises])
async def test_whatever_a_handler_makes_of_its_cancellation_it_was_late(then: Any) -> None:
    handler = Handler(then)
    worker = Worker(consumer("charge", retry=Park())(handler))
    await handler.begun.wait()
    worker.slot.overdue(OVER)
    outcome = await worker.failed()
    assert (outcome.failure.type, outcome.calls, worker.task.cancelling()) == ("TimeoutError", 1, 0)


async def test_a_late_attempt_is_tried_again_where_the_policy_says_so() -> None:
    handler = Handler()
    worker = Worker(consumer("charge", retry=Immediate(2))(handler))
    for _ in range(2):
        await handler.begun.wait()
        handler.begun = anyio.Event()
        worker.slot.overdue(OVER)
    assert (await worker.failed()).calls == 2
    assert handler.calls == 2


async def test_a_rule_for_timeouts_holds_for_ours_and_the_handlers_own() -> None:
    @consumer("charge", on={TimeoutError: Fixed("7s")})
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        begun.set()
        with anyio.fail_after(0 if ctx.attempt == 5 else None):
            await anyio.sleep_forever()

    begun = anyio.Event()
    assert (await Worker(charge, 4).failed()).delay_seconds == 7
    worker = Worker(charge, 5)
    begun = anyio.Event()
    await begun.wait()
    worker.slot.overdue(OVER)
    assert (await worker.failed()).delay_seconds == 7


async def test_timeouts_that_a_handler_uses_are_its_own_business() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        with anyio.move_on_after(0):
            await anyio.sleep_forever()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anyio.sleep_forever()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            tasks.cancel_scope.cancel()

    worker = Worker(charge)
    assert await worker.task is NOTHING
    assert worker.task.cancelling() == 0


@pytest.mark.parametrize("then", [None, raises])
async def test_an_attempt_that_is_cancelled_from_outside_is_none(then: Any) -> None:
    handler = Handler(then)
    worker = Worker(consumer("charge", retry=Park())(handler))
    await handler.begun.wait()
    worker.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker.task


async def test_the_end_of_the_scope_of_a_worker_is_no_failure_either() -> None:
    handler = Handler(raises)
    outcomes: list[Outcome] = []

    async def work() -> None:
        outcomes.append(await handling(consumer("charge")(handler)).handle(Slot(), recorded(OrderPlaced())))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await handler.begun.wait()
        tasks.cancel_scope.cancel()
    assert (outcomes, handler.calls) == ([], 1)


@pytest.mark.parametrize("late_first", [True, False])
async def test_who_is_late_and_cancelled_at_once_is_cancelled(late_first: bool) -> None:
    handler = Handler()
    worker = Worker(consumer("charge")(handler))
    await handler.begun.wait()
    if late_first:
        worker.slot.overdue(OVER)
    worker.task.cancel()
    worker.slot.overdue(OVER)
    with pytest.raises(asyncio.CancelledError):
        await worker.task
    assert handler.calls == 1


async def test_a_cancellation_of_something_that_a_handler_waits_for_is_a_failure() -> None:
    @consumer("charge", retry=Park())
    async def charge(event: OrderPlaced) -> None:
        lookup = asyncio.create_task(anyio.sleep_forever())
        asyncio.get_running_loop().call_soon(lookup.cancel)
        await lookup

    outcome = await Worker(charge).failed()
    assert outcome.failure.type == "CancelledError"


async def test_twelve_interruptions_are_no_attempt() -> None:
    attempts: list[int] = []

    @consumer("charge", retry=Immediate(8))
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        begun.set()
        await may_end.wait()

    may_end = anyio.Event()
    for _ in range(12):
        begun = anyio.Event()
        worker = Worker(charge)
        await begun.wait()
        worker.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker.task
    may_end.set()
    assert await Worker(charge).task is NOTHING
    assert attempts == [1] * 13


@pytest.mark.parametrize("then", [None, returns, returns_nothing, raises])
async def test_an_interrupted_attempt_is_none_and_its_worker_goes_on(then: Any) -> None:
    handler = Handler(then)
    done = handling(consumer("charge")(handler))
    interrupted: list[Interrupted] = []

    async def work(slot: Slot) -> Outcome:
        try:
            await done.handle(slot, recorded(OrderPlaced()))
        except Interrupted as error:
            interrupted.append(error)
        return await handling(consumer("next")(returning)).handle(slot, recorded(OrderPlaced()))

    async def begin() -> Outcome:
        slots.append(Slot())
        return await work(slots[0])

    slots: list[Slot] = []
    task = asyncio.create_task(begin())
    await handler.begun.wait()
    slots[0].interrupt()
    assert await task is NOTHING
    assert (len(interrupted), handler.calls, task.cancelling(), slots[0].deadline) == (1, 1, 0, NEVER)


async def returning(event: OrderPlaced) -> None: ...


async def test_an_interruption_between_two_attempts_is_heeded_before_the_next() -> None:
    @consumer("charge", retry=Immediate(8))
    async def charge(event: OrderPlaced) -> None:
        calls.append(1)
        asyncio.get_running_loop().call_soon(worker.slot.interrupt)
        raise Declined

    calls: list[int] = []
    worker = Worker(charge)
    with pytest.raises(Interrupted):
        await worker.task
    assert calls == [1]


async def test_an_attempt_that_hangs_on_after_its_time_is_seen_and_can_be_interrupted() -> None:
    async def hangs() -> None:
        swallowed.set()
        await anyio.sleep_forever()

    swallowed = anyio.Event()
    handler = Handler(hangs)
    worker = Worker(consumer("charge")(handler))
    await handler.begun.wait()
    worker.slot.overdue(OVER)
    await swallowed.wait()
    assert worker.slot.overdue(OVER + 30)
    assert worker.slot.late_since == OVER
    worker.slot.interrupt()
    with pytest.raises(Interrupted):
        await worker.task
    assert worker.task.cancelling() == 0
