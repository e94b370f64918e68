"""Async iterators for code that is not async: what is ready comes over in one hop, the rest when it is asked for.

In the loop a pump drives the iterator, in one task of its own: an `__anext__` cannot be given up and taken up again.
It goes as far as the iterator goes without waiting, for 2 ms at most and no further than 512 items ahead of who takes
them: 40 us a hop are little for so many, the loop answers others meanwhile, and in that time no more than some 20 MiB
are made of large events. What was read behind them is bounded by the iterator itself.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, Generic, TypeVar

from eventstore.envelope import RecordedEvent
from eventstore.errors import Unavailable
from eventstore.loop_thread import LoopThread

T = TypeVar("T")
ITEMS_AT_ONCE = 512
SECONDS_AT_ONCE = 0.002


class Pump(Generic[T]):
    """In the loop: drives one iterator for one who takes."""

    def __init__(self, source: AsyncIterator[T], aclose: Callable[[], Any]) -> None:
        self._source, self._aclose = source, aclose
        self._ready: list[T] = []
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._is_over = False

    @property
    def is_empty(self) -> bool:
        """Whether all that came was taken."""
        return not self._ready and self._failure is None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be closed."""
        return self._is_over and self._task is None

    async def take(self) -> list[T]:
        """What is ready, and waits until something is; nothing at the end. What the iterator raises is raised once,
        behind the items that came before it; then it is asked again. A cancelled call loses nothing."""
        while not self._ready:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._is_over:
                return []
            if self._task is None:
                self._task = asyncio.create_task(self._drive())
            self._news.clear()
            await self._news.wait()
        taken, self._ready = self._ready, []
        self._room.set()
        return taken

    async def aclose(self) -> None:
        """Ends the iterator. What is ready is dropped."""
        self._is_over = True
        self._ready.clear()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._aclose()
        self._news.set()

    async def _drive(self) -> None:
        until = 0.0
        try:
            async for item in self._source:
                if not self._ready:
                    until = perf_counter() + SECONDS_AT_ONCE
                    self._news.set()
                self._ready.append(item)
                if len(self._ready) >= ITEMS_AT_ONCE or perf_counter() > until:
                    self._room.clear()
                    await self._room.wait()
            self._is_over = True
        except Exception as failure:  # noqa: BLE001 - for who takes
            self._failure = failure
        finally:
            self._task = None
            self._news.set()


class SyncReading:
    """The events of a finite read. An iterator for one thread at a time, fetched as it is used. It ends with its last
    event, with `close()`, and when nobody holds it any more."""

    def __init__(self, loop: LoopThread, events: AsyncGenerator[RecordedEvent, None]) -> None:
        self._loop, self._pump = loop, Pump(events, events.aclose)
        self._fetched: deque[RecordedEvent] = deque()
        self._turn = threading.Lock()

    def __iter__(self) -> "SyncReading":
        return self

    def __next__(self) -> RecordedEvent:
        if not self._fetched:
            if not self._turn.acquire(blocking=False):
                raise in_use()
            try:
                self._loop.call(self._fetch)
            finally:
                self._turn.release()
        if not self._fetched:
            raise StopIteration
        return self._fetched.popleft()

    def close(self) -> None:
        """Ends the call in flight, and the iteration."""
        self._fetched.clear()
        end(self._loop, self._pump)

    async def _fetch(self) -> None:
        """Puts them where they are found although the thread that waits is interrupted when they have come."""
        self._fetched.extend(await self._pump.take())

    def __del__(self) -> None:
        if not self._pump.is_over:
            self._loop.aside(self._pump.aclose)


def in_use() -> RuntimeError:
    """For the second thread: what it would be given might come before what the first one still has to use."""
    return RuntimeError("events are iterated by one thread at a time")


def end(loop: LoopThread, pump: Pump[Any]) -> None:
    with suppress(Unavailable):  # the store has been closed, or is another process's: nothing runs that could be ended
        loop.call(pump.aclose)
