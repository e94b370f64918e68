"""Threads for handlers that are ordinary functions.

Nobody can stop a thread. One whose handler never ends is left behind, and must not keep its process from ending: so
these are daemons, which the pools of asyncio and anyio are not. A thread is used again, and ends with the pool.
"""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Call(NamedTuple):
    function: Callable[[], Any]
    context: Context
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


_Inbox = SimpleQueue[_Call | None]


class Threads:
    """As many as calls run at once."""

    def __init__(self) -> None:
        self._idle: deque[_Inbox] = deque()
        weakref.finalize(self, _end, self._idle).atexit = False

    async def run(self, function: Callable[[], T]) -> T:
        """What the function returns. Cancelled, it leaves the thread behind, and drops what it comes to."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        inbox = self._idle.pop() if self._idle else _begin()
        inbox.put(_Call(function, _context(), future, loop))
        try:
            return await future
        finally:
            if future.done() and not future.cancelled():
                self._idle.append(inbox)
            else:
                inbox.put(None)  # it is for nobody any more: it ends when its function has


def _begin() -> _Inbox:
    inbox: _Inbox = SimpleQueue()
    threading.Thread(target=_work, args=(inbox,), name="handler", daemon=True).start()
    return inbox


def _end(idle: "deque[_Inbox]") -> None:
    for inbox in idle:
        inbox.put(None)


def _context() -> Context:
    """That of the caller, but for what says that an event loop runs here: in the thread none does."""
    context = copy_context()
    for variable in context:
        if "current_async_library" in variable.name:
            context.run(variable.set, None)
    return context


def _work(inbox: _Inbox) -> None:
    while (call := inbox.get()) is not None:
        try:
            told: Callable[[], None] = _told(call.future, call.context.run(call.function), None)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            told = _told(call.future, None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            call.loop.call_soon_threadsafe(told)
        del call, told


def _told(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> Callable[[], None]:
    def tell() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # which a future cannot raise
            future.set_exception(RuntimeError("the handler raised StopIteration").with_traceback(error.__traceback__))
        else:
            future.set_exception(error)

    return tell
