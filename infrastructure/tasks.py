"""Tasks: in the background with an owner, several calls at once, and calls that no cancellation breaks off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, TypeVar, cast

import anyio

from infrastructure.errors import Unavailable

T = TypeVar("T")
AT_ONCE = 32  # calls of one `together` in flight

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[Spawn]:
    """Yields a function that starts a task. Leaving waits for all of them; a cancelled owner cancels them.

    An error of the body comes out as it is, not in an exception group: whoever uses a resource that keeps tasks should
    not have to know. An error of a task comes out on leaving. Afterwards the function raises Unavailable.

    The tasks are asyncio's own: with anyio's task group a lone append costs its client 12-15 % more.
    """
    owned = _Owned()
    failure: Exception | None = None
    try:
        try:
            yield owned.spawn
        except Exception as error:  # noqa: BLE001 - raised again below, when the tasks have ended
            failure = error
        owned.is_open = False
        await owned.ended()
    finally:
        owned.is_open = False
        owned.cancel()
        await to_the_end(owned.ended)
    first = failure or owned.failure
    if first is not None:
        raise first


class _Owned:
    def __init__(self) -> None:
        self.is_open = True
        self.failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self.is_open:
            raise Unavailable("what this belongs to has been closed", reason="closed")
        started = asyncio.get_running_loop().create_task(task())
        self._tasks.add(started)
        started.add_done_callback(self._note)

    def _note(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self.failure is None:
            self.failure = task.exception()

    async def ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        loop = asyncio.get_running_loop()
        for task in self._tasks:
            if getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) == CORO_CREATED:
                loop.call_soon(task.cancel)  # behind its first step: before that it would never come to its `finally`
            else:
                task.cancel()


async def to_the_end(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a short call that must not be left half done. A cancellation that comes meanwhile goes on when it
    has ended. (A shielded scope holds off scopes only, not `Task.cancel()`, by which asyncio.run ends on Ctrl-C.)"""
    task = asyncio.get_running_loop().create_task(call())
    cancellation: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancellation = error
    if cancellation is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # less than the cancellation, and nobody else asks
    raise cancellation


@contextmanager
def plain_errors() -> Iterator[None]:
    """Around a task group: what the first of its tasks has failed by comes out as it is, not in a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def unless(event: asyncio.Event, call: Coroutine[Any, Any, T]) -> T | None:
    """What the call returns; None if the event is set first. Then the call is broken off, so it should only read."""
    running, waiting = asyncio.ensure_future(call), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        return running.result() if running.done() else None
    finally:
        for each in (running, waiting):
            each.cancel()
        await asyncio.wait((running, waiting))


async def together(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results of all calls in their order; they are made concurrently, at most 32 at once. Raises the first error,
    not in a group, when all have ended."""
    if len(calls) == 1:
        return [await calls[0]()]
    results: dict[int, T] = {}
    failures: list[Exception] = []
    turn = anyio.CapacityLimiter(AT_ONCE)

    async def run(i: int, call: Callable[[], Awaitable[T]]) -> None:
        async with turn:
            try:
                results[i] = await call()
            except Exception as error:  # noqa: BLE001 - raised below, outside of the group
                failures.append(error)

    async with anyio.create_task_group() as tasks:
        for i, call in enumerate(calls):
            tasks.start_soon(run, i, call)
    if failures:
        raise failures[0]
    return [results[i] for i in range(len(calls))]
