"""SIGTERM as an event, for processes that tests start."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


@contextmanager
def stopped_by_sigterm() -> Iterator[anyio.Event]:
    stop = anyio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
