"""An event loop in a thread of its own, for code that is not async: other threads call in and wait.

    state                who                       calls
    opening              the thread opens          -
    open                 any thread calls          each a task of the loop; who waits gets its result or its error
    a call interrupted   Ctrl-C, a signal handler  the task is cancelled, and has ended when the exception goes on
    closing, over        the thread closes         refused; those still under way at its end are: Unavailable, `closed`
    forked               the child of a fork       refused: the thread, and with it the loop, stayed with the parent

It is not anyio's blocking portal. That one hands a call over twice, to start it and for its result, which takes twice
as long; it does not tell when a call that was interrupted has ended; and in a forked child it waits for ever.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import copy_context
from typing import Any, Generic, TypeVar

import anyio

from eventstore.errors import InvalidRequest, Unavailable

R = TypeVar("R")
T = TypeVar("T")


@contextmanager
def loop_thread(resource: AbstractAsyncContextManager[R]) -> "Iterator[tuple[LoopThread, R]]":
    """A loop, and in it `resource`, open as long as the block lasts. A block that Ctrl-C or SystemExit ends cancels
    what the resource still does; leaving it in any other way waits for that. Raises what opening and closing raise."""
    running = _Running(resource)
    value = running.open()
    try:
        yield running.loop, value
    except Exception:
        running.close()
        raise
    except BaseException:
        running.cancel()
        raise
    running.close()
    if running.failure is not None:
        raise running.failure


class LoopThread:
    """The way in, for any thread but the loop's own."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False
        self._calls: set[_Call[Any]] = set()
        self._aside: set[asyncio.Task[None]] = set()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine returns or raises. Raises InvalidRequest where a loop runs already, which would stand
        still; Unavailable once the loop is over, and in a forked child."""
        self.refuse_misuse()
        call = _Call(work)
        # Before the look at `_is_over`: the thread that ends looks in the other order, so one of the two sees it.
        self._calls.add(call)
        try:
            if not self._is_over and self.tell(call.start):
                call.wait()
        except BaseException:
            if self.tell(call.cancel):
                call.wait()
            raise
        finally:
            self._calls.discard(call)
        return call.outcome()

    def aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts a coroutine and does not wait, for objects that are collected: that may happen in any thread, the
        loop's own too. Does nothing where there is no loop any more."""
        if not self.is_cut_off:
            self.tell(lambda: self._keep(asyncio.create_task(work())))

    def refuse_misuse(self) -> None:
        if sys.is_finalizing():
            raise _closed()
        if self.is_cut_off:
            raise Unavailable(
                f"this store was opened by process {self._pid}; in this one, its fork, nothing runs that could answer",
                reason="closed",
                remedy="open a SyncEventStore in each process, after the fork",
            )
        refuse_within_loop()

    @property
    def is_cut_off(self) -> bool:
        """Whether the thread does not run: in a forked child, and once the interpreter takes itself apart."""
        return os.getpid() != self._pid or sys.is_finalizing()

    # ---- for the thread and its owner ----

    def begin(self) -> None:
        self._loop = asyncio.get_running_loop()

    def tell(self, callback: Callable[[], object]) -> bool:
        """Whether there was still a loop to tell."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(callback, context=copy_context())
        except RuntimeError:  # it has been closed
            return False
        return True

    def end(self) -> None:
        self._is_over = True
        for call in list(self._calls):
            call.end()

    def _keep(self, task: "asyncio.Task[None]") -> None:
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)


class _Running(Generic[R]):
    """The thread, for the one who has made it."""

    def __init__(self, resource: AbstractAsyncContextManager[R]) -> None:
        self.loop = LoopThread()
        self.failure: BaseException | None = None
        self._resource = resource
        self._value: R
        self._thread = threading.Thread(target=self._run, name="eventstore", daemon=True)
        self._opened, self._ended = threading.Event(), threading.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    def open(self) -> R:
        refuse_within_loop()
        try:
            self._thread.start()
            self._opened.wait()
        except BaseException:
            self.cancel()
            raise
        if self._ended.is_set():
            self._thread.join()
            raise self.failure or _closed()
        return self._value

    def close(self) -> None:
        """Returns when all that ran has ended; interrupted meanwhile, it cancels that."""
        if self.loop.is_cut_off:
            return
        try:
            self.loop.tell(self._stopping.set)
            self._wait()
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        if self.loop.is_cut_off:
            return
        self._is_cancelled = True  # before the look at the task: `_live` looks in the other order
        if self._task is not None:
            self.loop.tell(self._task.cancel)
        self._wait()

    def _wait(self) -> None:
        if threading.current_thread() is self._thread:
            return  # the block was collected there, and nobody waits
        self._ended.wait()  # join() alone, interrupted, takes a thread that runs for one that has ended
        self._thread.join()

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                anyio.run(self._live)
        except BaseException as error:  # noqa: BLE001 - for the thread that has opened it
            self.failure = error
        finally:
            self.loop.end()
            self._ended.set()
            self._opened.set()

    async def _live(self) -> None:
        self.loop.begin()
        self._task = asyncio.current_task()
        if self._is_cancelled:
            return
        async with self._resource as self._value:
            self._opened.set()
            await self._stopping.wait()


class _Call(Generic[T]):
    """One call: its task in the loop, and the thread that waits for it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._result: T
        self._error: BaseException | None = _closed()
        self._is_over = False
        self._waiting = threading.Lock()  # an Event or a Future would take twice the time of a call
        self._waiting.acquire()

    # ---- in the thread that calls ----

    def wait(self) -> None:
        """Until it is over. May be called again after an interruption."""
        if not self._is_over:
            self._waiting.acquire()

    def outcome(self) -> T:
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # it holds this frame, and this frame holds it

    # ---- in the loop ----

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self.end())

    def cancel(self) -> None:
        if self._task is None:
            self.end()
        else:
            self._task.cancel()

    def end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._waiting.release()

    async def _run(self) -> None:
        try:
            self._result = await self._work()
            self._error = None
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is for who called, and must not end the loop
            self._error = error


def refuse_within_loop() -> None:
    """Raises InvalidRequest where an event loop runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise InvalidRequest(
        "SyncEventStore is used where an event loop runs, which would stand still meanwhile",
        field="store",
        remedy="await the same method of EventStore; or call it in a thread: anyio.to_thread.run_sync",
    )


def _closed() -> Unavailable:
    return Unavailable("the store has been closed", reason="closed", remedy="open another one")
