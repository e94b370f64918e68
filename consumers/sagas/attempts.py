"""One attempt at an action of a saga: always one outcome, which is a fact.

An async action is cancelled when it is over its time. A thread cannot be: it is waited for a while longer, and a
success counts then too, for it has happened. One that goes on even then has failed, and is left behind; if it succeeds
after all, `on_late` is told, for what it did may have to be taken back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import anyio
from msgspec import Struct

from consumers.context import To
from consumers.failure import cause_of, place_of, told
from consumers.handlers import Handler
from consumers.resources import arguments
from consumers.retry import Rules
from consumers.sagas.context import StepContext
from consumers.sagas.facts import Reason
from consumers.threads import Threads
from infrastructure.durations import format_duration

THREAD_SECONDS = 20.0
"""For how much longer than its time a thread is waited for."""
Late = Callable[[object, tuple[To, ...], float], None]


class Done(Struct, frozen=True):
    """The action has returned."""

    returned: object
    sent: tuple[To, ...]
    seconds: float


class Failed(Struct, frozen=True):
    reason: Reason
    seconds: float
    delay: float | None
    """Seconds until the next attempt; None: there is none."""


class Actions:
    """Calls actions, with the resources of this worker."""

    def __init__(self, opened: Mapping[Any, Any], chance: Callable[[], float] = random.random) -> None:
        self._opened, self._chance = opened, chance
        self._threads = Threads()

    async def attempt(
        self, action: Handler, rules: Rules, data: Struct, ctx: StepContext, on_late: Late
    ) -> Done | Failed:
        """Raises CancelledError alone."""
        begun = monotonic()
        ctx.deadline = begun + action.timeout_seconds
        wanted = {} if action.context is None else {action.context: ctx}
        call = partial(action.function, data, **wanted, **arguments(action, self._opened))
        try:
            if action.is_async:
                returned = await _in_time(call, action)
            else:
                returned = await self._in_thread(call, action, ctx, on_late, begun)
        except Exception as raised:  # noqa: BLE001 - it is the outcome
            return self.failed(action, rules, raised, ctx.attempt, monotonic() - begun)
        return Done(returned, ctx.sent, monotonic() - begun)

    def failed(self, action: Handler, rules: Rules, raised: Exception, attempt: int, seconds: float) -> Failed:
        """What an exception comes to."""
        error = cause_of(raised)
        delay = rules.policy_for(error).delay(attempt, self._chance())
        name, message, trace = told(error)
        return Failed(Reason(name, message, place_of(error, action.file), trace), seconds, delay)

    async def _in_thread(
        self, call: Callable[[], object], action: Handler, ctx: StepContext, on_late: Late, begun: float
    ) -> object:
        running = asyncio.ensure_future(self._threads.run(call))
        try:
            done, _ = await asyncio.wait([running], timeout=action.timeout_seconds + THREAD_SECONDS)
        except asyncio.CancelledError:
            running.cancel()
            raise
        if done:
            return running.result()

        def ended(late: "asyncio.Future[object]") -> None:
            if not late.cancelled() and late.exception() is None:
                on_late(late.result(), ctx.sent, monotonic() - begun)

        running.add_done_callback(ended)
        raise TimeoutError(_late(action))


async def _in_time(call: Callable[[], Awaitable[object]], action: Handler) -> object:
    with anyio.move_on_after(action.timeout_seconds) as scope:
        returned = await call()
    if scope.cancelled_caught:
        raise TimeoutError(_late(action))
    return returned


def _late(action: Handler) -> str:
    return f"{action.name} took longer than {format_duration(action.timeout_seconds)}"
