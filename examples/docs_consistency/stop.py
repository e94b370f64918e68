"""Ctrl-C: the first stops at the next safe point, the second at once."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Stop:
    """Whether the user asked to stop. Work looks at it between its steps."""

    def __init__(self) -> None:
        self.requested = False


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[Stop]:
    """Takes SIGINT and SIGTERM while it is open. A second signal cancels what runs inside."""
    stop = Stop()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, stop, tasks.cancel_scope)
        yield stop
        tasks.cancel_scope.cancel()


async def _listen(stop: Stop, scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if stop.requested:
                scope.cancel()
                return
            stop.requested = True
            print("\nstopping at the next safe point; once more to stop at once", file=sys.stderr)
