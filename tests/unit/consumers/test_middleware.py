"""Middleware is told of every attempt, and changes none."""

import asyncio
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from consumers.consumer import consumer
from consumers.context import Context
from consumers.middleware import Middleware
from consumers.outcome import NOTHING, Failed
from consumers.retry import Immediate
from consumers.slots import Slot
from eventstore.envelope import RecordedEvent
from tests.support.handling import handled, handling
from tests.support.orders import Declined, OrderPaid, OrderPlaced, recorded

pytestmark = pytest.mark.anyio


class Notes(Middleware):
    def __init__(self, name: str, log: list[tuple[Any, ...]]) -> None:
        self.name, self.log = name, log

    async def start(self, event: RecordedEvent, ctx: Context) -> None:
        self.log.append((self.name, "start", ctx.attempt))

    async def success(self, event: RecordedEvent, ctx: Context, seconds: float) -> None:
        assert seconds > 0
        self.log.append((self.name, "success", ctx.attempt))

    async def failure(self, event: RecordedEvent, ctx: Context, error: BaseException, seconds: float) -> None:
        self.log.append((self.name, "failure", ctx.attempt, type(error).__name__))


async def test_each_attempt_is_told_the_first_middleware_being_the_outermost() -> None:
    log: list[tuple[Any, ...]] = []

    @consumer("charge", middleware=[Notes("a", log), Notes("b", log)])
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        log.append(("handler", ctx.attempt))
        if ctx.attempt == 1:
            raise Declined

    assert await handled(charge, OrderPlaced()) is NOTHING
    assert log == [
        ("a", "start", 1),
        ("b", "start", 1),
        ("handler", 1),
        ("b", "failure", 1, "Declined"),
        ("a", "failure", 1, "Declined"),
        ("a", "start", 2),
        ("b", "start", 2),
        ("handler", 2),
        ("b", "success", 2),
        ("a", "success", 2),
    ]


async def test_what_a_handler_returned_in_vain_is_a_failure_to_middleware_too() -> None:
    log: list[tuple[Any, ...]] = []

    @consumer("charge", middleware=[Notes("a", log)], retry=Immediate(1))
    def charge(event: OrderPlaced) -> object:
        return "paid"

    await handled(charge, OrderPlaced())
    assert log == [("a", "start", 1), ("a", "failure", 1, "InvalidEvent")]


class Plain:
    """Any object with one of the methods, async or not."""

    def __init__(self) -> None:
        self.failed: list[BaseException] = []

    def failure(self, event: RecordedEvent, ctx: Context, error: BaseException, seconds: float) -> None:
        self.failed.append(error)


async def test_any_object_with_one_of_the_methods_will_do() -> None:
    plain = Plain()

    @consumer("charge", middleware=[plain], retry=Immediate(1))
    async def charge(event: OrderPlaced) -> None:
        raise Declined

    await handled(charge, OrderPlaced())
    assert [type(each) for each in plain.failed] == [Declined]


class Broken(Middleware):
    async def start(self, event: RecordedEvent, ctx: Context) -> None:
        raise ValueError("start")

    async def success(self, event: RecordedEvent, ctx: Context, seconds: float) -> None:
        raise SystemExit(3)


async def test_errors_of_middleware_are_logged_and_change_no_outcome() -> None:
    @consumer("charge", middleware=[Broken()])
    async def charge(event: OrderPlaced) -> None: ...

    with capture_logs() as logs:
        assert await handled(charge, OrderPlaced()) is NOTHING
    assert [(each["event"], each["middleware"], each["error"]) for each in logs] == [
        ("middleware_failed", "Broken.start", "ValueError('start')"),
        ("middleware_failed", "Broken.success", "SystemExit(3)"),
    ]


class Slow(Middleware):
    def __init__(self) -> None:
        self.begun = anyio.Event()

    async def start(self, event: RecordedEvent, ctx: Context) -> None:
        self.begun.set()
        await anyio.sleep_forever()


@pytest.mark.parametrize("is_late", [True, False])
async def test_middleware_that_hangs_is_cut_off_and_shutdown_is_not_its_failure(is_late: bool) -> None:
    slow = Slow()
    slots: list[Slot] = []

    @consumer("charge", middleware=[slow])
    async def charge(event: OrderPlaced) -> OrderPaid:
        return OrderPaid()

    async def work() -> object:
        slots.append(Slot())
        return await handling(charge).handle(slots[0], recorded(OrderPlaced()))

    task = asyncio.create_task(work())
    await slow.begun.wait()
    with capture_logs() as logs:
        if is_late:
            slots[0].overdue(1e9)
            assert not isinstance(await task, Failed)
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert [each["error"] for each in logs] == ["TimeoutError('took longer than 10s')"] * is_late
