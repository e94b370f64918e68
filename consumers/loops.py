"""Async functions called by tests that are not, and by those that are."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

T = TypeVar("T")


def run_apart(call: Callable[[], Awaitable[T]]) -> T:
    """In an event loop of its own; in a thread of its own where a loop runs already, which then waits for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return anyio.run(call)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(anyio.run, call).result()
