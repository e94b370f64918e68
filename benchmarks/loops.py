"""The event loop of a run: asyncio's own, or uvloop."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

LOOPS = ("asyncio", "uvloop")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """For `asyncio.Runner`. Raises ModuleNotFoundError if uvloop is asked for and not installed."""
    if name == "asyncio":
        return None
    module: Any = importlib.import_module(name)
    factory: Callable[[], asyncio.AbstractEventLoop] = module.new_event_loop
    return factory
