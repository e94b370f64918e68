"""Calls of sinks, which block: each in a thread."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What it returns. Cancelled, it waits for the end: a transaction cannot be left alone."""
    return await anyio.to_thread.run_sync(partial(function, *args, **kwargs))
