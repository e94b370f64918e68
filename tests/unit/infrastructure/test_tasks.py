"""Tasks that a resource owns."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from infrastructure.errors import Unavailable
from infrastructure.tasks import owned_tasks, to_the_end, unless

pytestmark = pytest.mark.anyio


async def test_leaving_waits_for_the_tasks() -> None:
    done: list[int] = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async with owned_tasks() as spawn:
        spawn(work)
    assert done == [1]


async def test_an_error_of_the_body_comes_out_bare_and_the_tasks_still_end() -> None:
    done: list[int] = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async def body() -> None:
        async with owned_tasks() as spawn:
            spawn(work)
            raise KeyError("body")

    with pytest.raises(KeyError):
        await body()
    assert done == [1]


async def test_a_cancelled_owner_cancels_its_tasks() -> None:
    with anyio.CancelScope() as scope:
        async with owned_tasks() as spawn:
            spawn(anyio.sleep_forever)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_after_the_end_nothing_is_started() -> None:
    async with owned_tasks() as spawn:
        pass
    with pytest.raises(Unavailable, match="closed"):
        spawn(anyio.sleep_forever)


async def test_an_error_of_a_task_comes_out_on_leaving() -> None:
    async def fail() -> None:
        raise KeyError("task")

    with pytest.raises(KeyError, match="task"):
        async with owned_tasks() as spawn:
            spawn(fail)


async def test_a_task_that_is_cancelled_before_its_first_step_still_comes_to_its_end() -> None:
    ended: list[int] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(1)

    async def body() -> None:
        async with owned_tasks() as spawn:
            spawn(work)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await body()
    assert ended == [1]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_call_that_must_not_be_left_half_done_is_not_and_the_cancellation_goes_on(times: int) -> None:
    may_end = anyio.Event()
    ended: list[int] = []

    async def work() -> None:
        await may_end.wait()
        ended.append(1)

    caller = asyncio.create_task(to_the_end(work))
    for _ in range(times):
        await anyio.lowlevel.checkpoint()
        caller.cancel()
    await anyio.lowlevel.checkpoint()
    assert not caller.done()
    may_end.set()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert ended == [1]


async def test_what_such_a_call_returns_or_raises_is_the_callers() -> None:
    async def fail() -> None:
        raise KeyError("call")

    async def answer() -> int:
        return 7

    assert await to_the_end(answer) == 7
    with pytest.raises(KeyError, match="call"):
        await to_the_end(fail)


async def test_a_call_is_broken_off_by_its_event_and_else_returns_or_raises() -> None:
    event, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> int:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return 1

    async def answer() -> int:
        await anyio.lowlevel.checkpoint()
        return 1

    async def fail() -> int:
        raise LookupError

    assert await unless(event, answer()) == 1
    with pytest.raises(LookupError):
        await unless(event, fail())
    asyncio.get_running_loop().call_soon(event.set)
    assert await unless(event, wait()) is None
    assert ended.is_set()
