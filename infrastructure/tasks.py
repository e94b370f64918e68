"""Background tasks with an owner."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from infrastructure.errors import Unavailable

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[Spawn]:
    """Yields a function that starts a task. Leaving waits for all of them; a cancelled owner cancels them.

    An error of the body comes out as it is, not in an exception group: whoever uses a resource that keeps tasks
    should not have to know. Afterwards the function raises Unavailable.
    """
    failure: Exception | None = None
    is_open = True
    async with anyio.create_task_group() as group:

        def spawn(task: Callable[[], Coroutine[Any, Any, None]]) -> None:
            if not is_open:
                raise Unavailable("what this belongs to has been closed", reason="closed")
            group.start_soon(task)

        try:
            yield spawn
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
            failure = error
        finally:
            is_open = False
    if failure is not None:
        raise failure
