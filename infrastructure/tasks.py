"""Background tasks with an owner."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

Spawn = Callable[[Callable[[], Coroutine[Any, Any, None]]], object]


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[Spawn]:
    """Yields a function that starts a task. Leaving waits for all of them; a cancelled owner cancels them.

    An error of the body comes out as it is, not in an exception group: whoever uses a resource that keeps tasks
    should not have to know.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group.start_soon
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the group
            failure = error
    if failure is not None:
        raise failure
