"""For tests of code that is not async: a real server, waits, and what threads leave behind."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from anyio.from_thread import start_blocking_portal

from tests.support.servers import Server, redis_server

READY_SECONDS = 20.0


@contextmanager
def served(*args: str) -> Iterator[Server]:
    """A lone server, as `redis_server` gives it."""
    with (
        start_blocking_portal(name="server") as portal,
        portal.wrap_async_context_manager(redis_server(args=args)) as server,
    ):
        yield server


def eventually(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Waits until something is true; the test fails if it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.005)


class Started:
    """A thread that runs, and what became of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="test")
        self._thread.start()

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def ended(self, seconds: float = READY_SECONDS) -> Any:
        """What it returned; raises what it raised."""
        self._thread.join(seconds)
        assert not self.runs, f"it still runs after {seconds} s"
        if self.error is not None:
            raise self.error
        return self.result

    def _run(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - for who asks
            self.error = error


def interrupt_when(condition: Callable[[], bool]) -> Started:
    """Ctrl-C for the main thread, as soon as something is true."""

    def wait() -> None:
        eventually(condition)
        os.kill(os.getpid(), signal.SIGINT)

    return Started(wait)


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The server answers nobody as long as the block lasts."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@contextmanager
def nothing_left_behind(server: Server | None = None) -> Iterator[None]:
    """No thread, no descriptor and no connection more than before; nothing that warns when it is collected."""
    gc.collect()
    threads, descriptors = set(threading.enumerate()), psutil.Process().num_fds()
    clients = len(server.clients()) if server else 0
    yield
    gc.collect()
    assert set(threading.enumerate()) == threads
    assert psutil.Process().num_fds() == descriptors
    if server is not None:
        eventually(lambda: len(server.clients()) == clients)
