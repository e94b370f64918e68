"""Cancels work at its n-th suspension, for n = 1, 2, 3, ...: at every await, of the work and of all tasks it starts.

    async for cut in every_await("cancel"):
        outcome = await cut(lambda: store.append(...))
        ...                     # outcome.cancelled; whatever it was cut at, this must hold

The loop ends behind the first n at which the work was over before it could be cut. A suspension is counted wherever a
task gives way to the event loop, also in those that the work has started and waits for (the writer of a group commit).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from functools import partial
from itertools import count
from typing import Any, Generic, Literal, TypeVar

import anyio

T = TypeVar("T")
Way = Literal["cancel", "late", "scope", "timeout"]
WAYS: tuple[Way, ...] = ("cancel", "late", "scope", "timeout")
"""Task.cancel(); the same when what the work waits for has just come; anyio's CancelScope; asyncio's timeout."""
SECONDS = 20.0


class Outcome(Generic[T]):
    """What became of it. `error` is what it raised, if that was no cancellation."""

    def __init__(self) -> None:
        self.was_cut = self.cancelled = False
        self.value: T | None = None
        self.error: Exception | None = None
        self.beside: list[Any] = []
        """Of what ran beside it: results, and errors as values."""

    def result(self) -> T:
        """Of work that was not cancelled. Raises what it raised."""
        assert not self.cancelled
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Cut:
    """One try: the work is cancelled at suspension `n`; with `armed=False` at the n-th after `arm()`."""

    def __init__(self, n: int, way: Way, *, armed: bool = True) -> None:
        self.n, self.way = n, way
        self.was_cut = False
        self._armed = armed
        self._suspensions = 0
        self._victim: asyncio.Task[Any]
        self._strike: Callable[[], object]

    async def __call__(
        self, work: Callable[[], Awaitable[T]], *, beside: "list[Callable[[], Coroutine[Any, Any, Any]]] | None" = None
    ) -> Outcome[T]:
        """Runs the work to its end, and what shall run beside it, unharmed. Fails if anything of it hangs."""
        outcome = Outcome[T]()
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(self._counting)
        try:
            self._victim = asyncio.create_task(self._run(work, outcome))
            others = [asyncio.create_task(other()) for other in beside or ()]
            _, hanging = await asyncio.wait([self._victim, *others], timeout=SECONDS)
            assert not hanging, f"cut at suspension {self.n} by {self.way}, these hang: {hanging}"
        finally:
            loop.set_task_factory(before)
        outcome.beside = await asyncio.gather(*others, return_exceptions=True)
        outcome.was_cut = self.was_cut
        self._settle(outcome)
        return outcome

    def arm(self) -> None:
        """From here on suspensions count."""
        self._armed = True

    def _settle(self, outcome: Outcome[Any]) -> None:
        if self._victim.cancelled():
            outcome.cancelled = True
        elif failure := self._victim.exception():
            if not isinstance(failure, Exception):
                raise failure
            outcome.error = failure

    async def _run(self, work: Callable[[], Awaitable[T]], outcome: Outcome[T]) -> None:
        match self.way:
            case "cancel" | "late":
                self._strike = self._victim.cancel
                outcome.value = await work()
            case "scope":
                with anyio.CancelScope() as scope:
                    self._strike = scope.cancel
                    outcome.value = await work()
                outcome.cancelled = scope.cancelled_caught
            case "timeout":
                try:
                    async with asyncio.timeout(None) as limit:
                        self._strike = partial(self._expire, limit)
                        outcome.value = await work()
                except TimeoutError:
                    outcome.cancelled = limit.expired()
                    if not outcome.cancelled:
                        raise

    def _expire(self, limit: asyncio.Timeout) -> None:
        if limit.when() is None and not self._victim.done():
            limit.reschedule(asyncio.get_running_loop().time())

    # ---- counting ----

    def _counting(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
    ) -> "asyncio.Task[T]":
        task = asyncio.Task(self._counted(coro), loop=loop, **options)
        task.add_done_callback(lambda _: coro.close())  # one that is cancelled before its first step never came to it
        return task

    async def _counted(self, coro: Any) -> Any:
        return await _Suspending(coro, self._suspended)

    def _suspended(self, waited: Any) -> None:
        self._suspensions += self._armed
        if self._suspensions != self.n or self._victim.done():
            return
        self.was_cut = True
        if self.way == "late" and waited is not None:
            waited.add_done_callback(lambda _: self._strike())  # before the task that waits hears of it
        else:
            self._strike()


class _Suspending:
    """Awaits a coroutine, and tells of each time that it gives way."""

    def __init__(self, coro: Any, tell: Callable[[Any], None]) -> None:
        self._coro, self._tell = coro, tell

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._coro.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as end:
                return end.value
            self._tell(waited)
            try:
                sent = yield waited
            except BaseException as error:  # noqa: BLE001 - for the coroutine
                step = partial(self._coro.throw, error)
            else:
                step = partial(self._coro.send, sent)


async def every_await(way: Way, *, armed: bool = True) -> AsyncIterator[Cut]:
    """Cuts at suspension 1, 2, 3, ... until one came too late."""
    for n in count(1):
        cut = Cut(n, way, armed=armed)
        yield cut
        if not cut.was_cut:
            assert n > 1, "the work never waits"
            return
