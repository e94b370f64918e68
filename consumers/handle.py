"""One event handled: attempts until one succeeds, or until the policy wants a pause or gives up; always one outcome.

    attempt fails -> the policy says at once -> next attempt here
                  -> it says when, or never  -> Failed: the row of the stream remembers it
    attempt is broken off from outside       -> no outcome and no attempt: Interrupted or CancelledError is raised

An attempt calls the handler in the worker's own task (a sync one in a thread), under the deadline of the worker's slot
(slots.py), and checks what it returned as an append would. Nothing leaves the process here.

What happens per event and not per failure is precomputed in a `Plan` for each type: a trivial handler costs 0.3 us
more than its bare call. Of most events that are plain the workers make the first call themselves (workers.py).
"""

import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from inspect import isawaitable
from time import monotonic
from typing import Any, NamedTuple, Protocol

import anyio.lowlevel
import structlog
from msgspec import Struct

from consumers.consumer import Consumer
from consumers.context import Context
from consumers.deliveries import Undecodable
from consumers.errors import LackedHere
from consumers.failure import Failure, cause_of, place_of, told
from consumers.handlers import Handler
from consumers.keys import effect_key
from consumers.middleware import Hook
from consumers.outcome import NOTHING, UNCALLED, Failed, Outcome, Succeeded
from consumers.resources import arguments
from consumers.returned import events_of, outgoing
from consumers.slots import NEVER, Interrupted, Slot
from consumers.threads import Threads
from eventstore.envelope import RecordedEvent
from eventstore.event_types import EventTypes
from eventstore.keys import Keys
from infrastructure.durations import format_duration
from infrastructure.settings import LogSettings

HOOK_SECONDS = 10.0
_HOOK_LATE = f"took longer than {format_duration(HOOK_SECONDS)}"
_logger = structlog.get_logger(__name__)


class Home(Protocol):
    """What is needed of the log that events come from and go to: a `Log` is one."""

    @property
    def types(self) -> EventTypes: ...
    @property
    def settings(self) -> LogSettings: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def partitions(self) -> int: ...


class Plan(Struct, frozen=True):
    """How the events of one type are handled. `call` has its resources already."""

    handler: Handler
    name: str
    call: Callable[..., Any]
    is_plain: bool
    """It is async, takes no Context, is called also for replays, and no middleware wants to know."""
    takes_envelope: bool
    collects: str | None
    """It is as plain but for the Context that it takes, by a parameter of this name."""
    timeout_seconds: float
    late: str
    is_muted: bool
    drops: bool


class Made(NamedTuple):
    """The first call of a plain handler, or of one that collects, under the deadline of the worker's slot: what it
    returned or raised, and the Context that it had."""

    returned: object = None
    raised: BaseException | None = None
    ctx: Context | None = None

    def result(self) -> object:
        """What it returned. Raises what it raised."""
        if self.raised is not None:
            raise self.raised
        return self.returned


class Handling:
    """The handlers of one consumer in one worker process, with their resources opened. `opened` is from
    `resources.opened`. Raises InvalidConsumer, and EventTypeError if the log knows its types otherwise."""

    def __init__(
        self,
        consumer: Consumer,
        home: Home,
        opened: Mapping[Any, Any] | None = None,
        member: str = "",
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        chance: Callable[[], float] = random.random,
        context: Callable[..., Context] = Context,
    ) -> None:
        self.consumer = consumer
        self._home, self._member, self._now_us, self._chance = home, member, now_us, chance
        self._hooks, self._context = consumer.hooks, context
        self._threads = Threads()
        self._prefixes = [effect_key(home.keys, consumer.name, p, "") for p in range(home.partitions)]
        self.turn: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint
        """Waited for before an attempt that follows at once: others get theirs, and a rate is kept."""
        self.plans: dict[str, Plan] = {}
        """By the names of the types."""
        self.every: Plan | None = None
        """Of a handler of all types."""
        for handler in consumer.handlers:
            plan = _plan(handler, arguments(handler, opened or {}), has_hooks=bool(self._hooks))
            self.every = plan if handler.takes_envelope else self.every
            self.plans |= {home.types.add(kind.struct).name: plan for kind in handler.types}

    @property
    def types(self) -> frozenset[str] | None:
        """The names of the types that it handles; None: all. Other events are finished unseen."""
        return None if self.every else frozenset(self.plans)

    async def handle(
        self,
        slot: Slot,
        event: RecordedEvent | Undecodable,
        attempts: int = 0,
        replaying: bool = False,
        term: int = 0,
        job: str = "",
        first_failed_us: int = 0,
        made: Made | None = None,
    ) -> Outcome:
        """Calls the handler, again at once where the policy says so. `slot` is the worker's own; `attempts` are the
        calls made for this event before, `first_failed_us` when the first of them failed, if known; `term` that of the
        lease; `job` the replay under way; `made` is the first call, if the worker has made it. Raises Interrupted or
        CancelledError if it was broken off: no attempt."""
        plan = self.plans.get(event.type, self.every)
        if plan is None or (replaying and plan.is_muted):
            return UNCALLED
        if isinstance(event, Undecodable):
            return self._failed("", event, event.error, 0, None, first_failed_us)
        calls = 0
        while True:
            calls += 1
            try:
                if not plan.is_plain:
                    first, made = made, None
                    return await self._attempt(slot, plan, event, attempts + calls, replaying, term, job, first)
                # Written out once more: another await, and a Context, would cost as much as all the rest.
                first, made = made, None
                if first is None:
                    slot.deadline = monotonic() + plan.timeout_seconds
                    returned = await plan.call(event if plan.takes_envelope else event.data)
                else:
                    returned = first.result()
                if returned is None and not slot.disturbed:
                    slot.deadline = NEVER
                    return NOTHING
                return self._succeeded(slot, plan, event, returned, None, replaying, job)
            except BaseException as raised:  # noqa: BLE001 - what is no failure of the attempt is raised by `settle`
                error = cause_of(slot.settle(raised, plan.late))
            delay = self.consumer.rules.policy_for(error).delay(attempts + calls, self._chance())
            if delay != 0:
                counted = 0 if isinstance(error, LackedHere) else calls
                return self._failed(plan.handler.file, event, error, counted, delay, first_failed_us)
            slot.again = event
            await self.turn()
            if slot.disturbed:
                raise slot.settle(Interrupted(), plan.late)

    def refused(self, event: RecordedEvent | Undecodable, error: BaseException, attempts: int) -> Failed:
        """The failure of an attempt that had succeeded, but what it brought could not be carried out."""
        delay = self.consumer.rules.policy_for(error).delay(attempts + 1, self._chance())
        return self._failed("", event, error, 1, delay, 0)

    async def attempt(
        self,
        slot: Slot,
        event: RecordedEvent,
        number: int = 1,
        replaying: bool = False,
        term: int = 0,
        job: str = "",
    ) -> Succeeded:
        """A single one, for tests of handlers: raises that by which it has failed."""
        plan = self.plans.get(event.type, self.every)
        if plan is None or (replaying and plan.is_muted):
            return NOTHING
        return await self._attempt(slot, plan, event, number, replaying, term, job)

    def first_context(self, event: RecordedEvent, replaying: bool, deadline: float, term: int) -> Context:
        """Of the first call for an event that has not failed."""
        prefix = self._prefixes[event.partition]
        return self._context(event, self.consumer.name, 1, replaying, deadline, term, prefix)

    async def _attempt(
        self,
        slot: Slot,
        plan: Plan,
        event: RecordedEvent,
        number: int,
        replaying: bool,
        term: int,
        job: str,
        made: Made | None = None,
    ) -> Succeeded:
        if made is not None:  # without hooks
            try:
                return self._succeeded(slot, plan, event, made.result(), made.ctx, replaying, job)
            except BaseException as raised:  # noqa: BLE001 - raised again, as what it means
                error = slot.settle(raised, plan.late)
                raise error from error.__cause__
        prefix = self._prefixes[event.partition]
        ctx = self._context(event, self.consumer.name, number, replaying, NEVER, term, prefix)
        await self._tell(slot, self._hooks.start, event, ctx)
        begun = monotonic()
        slot.deadline = ctx.deadline = begun + plan.timeout_seconds
        try:
            returned = await _called(slot, plan, event, ctx, self._threads)
            done = self._succeeded(slot, plan, event, returned, ctx, replaying, job)
        except BaseException as raised:  # noqa: BLE001 - raised again, as what it means
            error = slot.settle(raised, plan.late)
            await self._tell(slot, self._hooks.failure, event, ctx, error, monotonic() - begun)
            raise error from error.__cause__
        await self._tell(slot, self._hooks.success, event, ctx, monotonic() - begun)
        return done

    def _succeeded(
        self,
        slot: Slot,
        plan: Plan,
        event: RecordedEvent,
        returned: object,
        ctx: Context | None,
        replaying: bool,
        job: str,
    ) -> Succeeded:
        """Raises what the handler's return leads to, or TimeoutError if it was too late for it."""
        slot.end(plan.late)
        events = events_of(returned, event, plan.name)
        effects = () if ctx is None else ctx.collected()
        if replaying and plan.drops:
            return NOTHING
        home = self._home
        group, limits = self.consumer.name, home.settings
        out = outgoing(events, event, group, plan.name, home.types, limits, home.partitions, job) if events else ()
        return Succeeded(out, effects, events) if out or effects else NOTHING

    def _failed(
        self,
        file: str,
        event: RecordedEvent | Undecodable,
        error: BaseException,
        calls: int,
        delay: float | None,
        first_failed_us: int,
    ) -> Failed:
        now_us = self._now_us()
        name, message, trace = told(error)
        failure = Failure(
            type=name,
            message=message,
            traceback=trace,
            where=place_of(error, file) if file else "",
            event_type=event.type,
            event_id=event.id,
            correlation_id=event.metadata.correlation_id,
            version=event.version,
            position=event.position,
            first_failed_us=first_failed_us or now_us,
            failed_us=now_us,
            parked=delay is None,
            member=self._member,
        )
        return Failed(failure, calls, delay)

    async def _tell(self, slot: Slot, hooks: tuple[Hook, ...], *facts: object) -> None:
        for hook in hooks:
            slot.deadline = monotonic() + HOOK_SECONDS
            try:
                waited = hook(*facts)
                if isawaitable(waited):
                    await waited
                slot.end(_HOOK_LATE)
            except BaseException as raised:  # noqa: BLE001 - middleware watches; `settle` raises what ends the worker
                error = slot.settle(raised, _HOOK_LATE)
                name = getattr(hook, "__qualname__", repr(hook))
                _logger.warning("middleware_failed", group=self.consumer.name, middleware=name, error=repr(error))


def _plan(handler: Handler, resources: dict[str, Any], *, has_hooks: bool) -> Plan:
    is_bare = handler.is_async and not has_hooks and handler.on_replay != "skip"
    return Plan(
        handler,
        handler.name,
        partial(handler.function, **resources) if resources else handler.function,
        is_bare and handler.context is None,
        handler.takes_envelope,
        handler.context if is_bare else None,
        handler.timeout_seconds,
        f"{handler.name} took longer than {format_duration(handler.timeout_seconds)}",
        handler.on_replay == "skip",
        handler.on_replay == "drop",
    )


async def _called(slot: Slot, plan: Plan, event: RecordedEvent, ctx: Context, threads: Threads) -> object:
    """What the handler returns. A thread cannot be stopped: the attempt may be late, but only then it has ended."""
    wanted = {} if plan.handler.context is None else {plan.handler.context: ctx}
    call = partial(plan.call, event if plan.takes_envelope else event.data, **wanted)
    if plan.handler.is_async:
        waiting: Coroutine[Any, Any, object] = call()
        return await waiting
    slot.cancels = False
    try:
        return await threads.run(call)
    finally:
        slot.cancels = True
