"""Sync handlers run in threads, which nobody can stop: what is late is dropped, but only then the next one begins."""

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from consumers.consumer import Consumer, consumer
from consumers.context import Context, To
from consumers.outcome import NOTHING, Failed, Outcome, Succeeded
from consumers.retry import Immediate, Park
from consumers.slots import Interrupted, Slot
from tests.support.handling import handled, handling, succeeded
from tests.support.orders import Declined, OrderPaid, OrderPlaced, recorded

pytestmark = pytest.mark.anyio
OVER = 1e9


class Thread:
    """A handler that says when it has begun, and ends when it may."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.begun = asyncio.Event()
        self.may_end = threading.Event()
        self._loop, self._error = asyncio.get_running_loop(), error

    def __call__(self, event: OrderPlaced, ctx: Context) -> OrderPaid:
        self.calls += 1
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.may_end.wait(30)
        ctx.effects.incrby("calls")
        if self._error is not None:
            raise self._error
        return OrderPaid()


class Worker:
    def __init__(self, group: Consumer) -> None:
        self._handling = handling(group)
        self.slot: Slot
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> Outcome:
        self.slot = Slot()
        return await self._handling.handle(self.slot, recorded(OrderPlaced()))


async def turns_of_the_loop() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_a_sync_handler_runs_beside_the_loop_and_its_return_counts() -> None:
    threads: list[int] = []

    @consumer("charge")
    def charge(event: OrderPlaced, ctx: Context) -> list[OrderPaid]:
        threads.append(threading.get_ident())
        ctx.effects.incrby("count")
        return [OrderPaid(event.total)]

    done = await succeeded(charge, OrderPlaced(4))
    assert (done.returned, len(done.effects)) == ((To("order-1", OrderPaid(4)),), 1)
    assert threads[0] != threading.get_ident()


async def test_its_exceptions_are_failures() -> None:
    @consumer("charge", retry=Park())
    def charge(event: OrderPlaced) -> None:
        raise StopIteration

    outcome = await handled(charge, OrderPlaced())
    assert isinstance(outcome, Failed)
    assert outcome.failure.where.startswith("test_threads.py:")


@pytest.mark.parametrize("error", [None, Declined("late")])
async def test_a_late_one_has_failed_when_its_thread_ends_and_what_it_brings_is_dropped(error: Any) -> None:
    thread = Thread(error)
    worker = Worker(consumer("charge", retry=Park())(thread))
    await thread.begun.wait()
    assert worker.slot.overdue(OVER)
    await turns_of_the_loop()
    assert not worker.task.done()
    assert worker.slot.overdue(OVER + 30)
    assert worker.slot.late_since == OVER
    thread.may_end.set()
    outcome = await worker.task
    assert isinstance(outcome, Failed)
    assert (outcome.failure.type, outcome.calls, thread.calls) == ("TimeoutError", 1, 1)


async def test_the_attempts_of_a_late_one_are_exactly_those_that_were_made() -> None:
    thread = Thread(Declined("late"))
    worker = Worker(consumer("charge", retry=Immediate(2))(thread))
    await thread.begun.wait()
    worker.slot.overdue(OVER)
    thread.begun.clear()
    thread.may_end.set()  # the late exception comes, then the second attempt fails at once
    outcome = await worker.task
    assert isinstance(outcome, Failed)
    assert (outcome.calls, thread.calls, outcome.failure.type) == (2, 2, "Declined")
    assert outcome.failure.parked


@pytest.mark.parametrize("by_interrupt", [True, False])
async def test_at_the_end_of_the_worker_the_thread_is_left_behind(by_interrupt: bool) -> None:
    thread = Thread()
    worker = Worker(consumer("charge")(thread))
    await thread.begun.wait()
    if by_interrupt:
        worker.slot.interrupt()
    else:
        worker.task.cancel()
    with pytest.raises(Interrupted if by_interrupt else asyncio.CancelledError):
        await worker.task
    assert not thread.may_end.is_set()
    thread.may_end.set()


async def test_as_many_threads_run_at_once_as_the_group_handles_streams() -> None:
    together = threading.Barrier(41, timeout=30)  # more than threads usually run

    @consumer("charge", concurrency=41)
    def charge(event: OrderPlaced) -> None:
        together.wait()

    done = handling(charge)
    outcomes: list[Outcome] = []

    async def work() -> None:
        outcomes.append(await done.handle(Slot(), recorded(OrderPlaced())))

    async with anyio.create_task_group() as tasks:
        for _ in range(41):
            tasks.start_soon(work)
    assert outcomes == [NOTHING] * 41


async def test_a_sync_function_that_returns_a_coroutine_is_told_so() -> None:
    async def later() -> None: ...

    @consumer("charge", retry=Park())
    def charge(event: OrderPlaced) -> object:
        return later()

    outcome = await handled(charge, OrderPlaced())
    assert not isinstance(outcome, Succeeded)
    assert "charge returned a coroutine" in outcome.failure.message
