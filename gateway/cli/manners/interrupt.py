"""Ctrl-C and SIGTERM: stop at a safe point, and say how to go on."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The command was stopped at a safe point. The text says how to go on."""


class Stop:
    """Whether the user wants to stop; ask at safe points."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def request(self) -> None:
        self._event.set()


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """The first signal asks to stop at a safe point, the second one does not wait for it. For the main task."""
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), Stop()

    def on_signal() -> None:
        if stop.requested and task is not None:
            task.cancel()
        stop.request()

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, previous[number])
