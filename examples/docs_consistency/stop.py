"""Ctrl-C: the first stops at the next safe point, the second at once."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from infrastructure.tasks import owned_tasks


class Stop:
    """Whether the user asked to stop. Work looks at it between its steps."""

    def __init__(self) -> None:
        self._requested = False

    @property
    def requested(self) -> bool:
        return self._requested

    def request(self) -> None:
        self._requested = True


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[Stop]:
    """Takes SIGINT, SIGTERM and the hangup of a terminal while it is open. A second signal cancels what runs inside."""
    stop, listening = Stop(), anyio.CancelScope()
    async with owned_tasks() as spawn:
        with anyio.CancelScope() as work:
            spawn(partial(_listen, stop, work, listening))
            try:
                yield stop
            finally:
                listening.cancel()


async def _listen(stop: Stop, work: anyio.CancelScope, listening: anyio.CancelScope) -> None:
    under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    hangup = () if under_nohup else (signal.SIGHUP,)
    with listening, anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hangup) as signals:
        async for _ in signals:
            if stop.requested:
                work.cancel()
                return
            stop.request()
            print("\nstopping at the next safe point; once more to stop at once", file=sys.stderr)
