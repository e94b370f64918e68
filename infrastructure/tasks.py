"""Background tasks with an owner."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from infrastructure.errors import Unavailable

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
        with anyio.CancelScope(shield=True):
            await owned.cancel()
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

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.ended()
