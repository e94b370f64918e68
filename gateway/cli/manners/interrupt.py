"""Ctrl-C, SIGTERM and a terminal that is closed: stop at a safe point, and say how to go on."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def ending_signals() -> tuple[signal.Signals, ...]:
    """What ends a command beside Ctrl-C. Under nohup a hangup does not."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, *hangup)


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

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, *ending_signals())}
    for number in previous:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
