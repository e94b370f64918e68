"""The workers of a member: as many tasks as its group may handle streams at once, shared by its partitions.

A worker takes what is ready and handles it in its own task; an async handler that never waits costs no task of its own
and no turn of the event loop. One worker is woken when there is work. Should its handler wait, the loop comes to a
callback that wakes the next one, and so on: never more of them are awake than there are handlers that wait.
"""

import asyncio
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.breaker import Breaker
from consumers.deliveries import Delivery, Undecodable
from consumers.errors import CommitRefused
from consumers.handle import Handling, Made
from consumers.in_order import in_order
from consumers.lease import Renewals, now
from consumers.outcome import NOTHING, UNCALLED, Failed, Outcome
from consumers.owned import Owned
from consumers.pace import Pace
from consumers.slots import NEVER, Interrupted, Slot

if TYPE_CHECKING:
    from uuid import UUID

    from consumers.context import Context

SLOW_SECONDS = 0.1
"""A handler that has kept its stream in the main pass for so long lets the others go on without it, if any wait."""
CHANCE_SECONDS = 0.05
"""Between two looks no more than this counts: the machine, or the loop, had other things to do than to run handlers."""
LOOP_SECONDS = 0.002
"""After so long the event loop gets its turn, for reading and committing to go on beside handlers that never wait."""
TURN_SECONDS = 0.02
"""After so long with one partition a worker goes on with the next that may have work, or it would never get to it; at
once if another has something urgent."""

PASSED_OVER = 256
"""Of one partition, events that are looked at for one that had better probe."""

logger = structlog.get_logger(__name__)


class _Hands:
    """What one worker is doing."""

    __slots__ = ("began_at", "event", "made", "owned", "seconds", "seen", "slot")

    def __init__(self) -> None:
        self.slot = Slot()
        self.owned: Owned | None = None
        self.event: Delivery | None = None
        self.made: Made | None = None
        self.began_at = 0.0
        self.seen: Delivery | None = None
        self.seconds = 0.0
        """For how long the event that was seen at the last look has had a chance to be handled."""


class Workers:
    """Made for one member."""

    def __init__(self, handling: Handling, renewals: Renewals, pace: Pace | None = None) -> None:
        self.breaker = Breaker(handling.consumer.name, monotonic)
        self._pace = pace
        self._pacing = anyio.Lock()
        """One asks at a time: many who ask for nothing, and give their turns back, would all have the next one."""
        if pace is not None:
            handling.turn = pace.turn
        self._refused: dict[UUID, CommitRefused] = {}
        """Events that brought what cannot be carried out: they fail by that when their handler has succeeded again."""
        self._handling, self._renewals = handling, renewals
        self._ready: deque[Owned] = deque()
        self._is_ready: set[Owned] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._in_between = 0  # of them, how many leave the loop its turn
        self._hands: list[_Hands] = []
        self._watched_at = monotonic()
        self._hurried: deque[Owned] = deque()
        """Partitions with something urgent, each once. They come forward, every second turn at the most: so the others
        have theirs, if short ones."""
        self._has_hurried = False

    async def run(self) -> None:
        """For as long as it is not cancelled."""
        async with anyio.create_task_group() as tasks:
            for _ in range(self._handling.consumer.concurrency):
                tasks.start_soon(self._work)

    def ready(self, owned: Owned) -> None:
        """A partition may have work."""
        if owned not in self._is_ready:
            self._is_ready.add(owned)
            self._ready.append(owned)
        self._hurry(owned)
        self._wake_one()

    def _hurry(self, owned: Owned) -> None:
        if owned.holder.has_urgent and owned not in self._hurried:
            self._hurried.append(owned)

    def refuse(self, event: Delivery, error: CommitRefused) -> None:
        """What an event brought cannot be carried out."""
        self._refused[event.id] = error

    def interrupt(self, owned: Owned) -> None:
        """Ends what is being handled of a partition, without an outcome."""
        for hands in self._hands:
            if hands.owned is owned:
                hands.slot.interrupt()

    def longest_in_hands(self, owned: Owned) -> float:
        """For how many seconds the event of a partition that has been handled for longest has been."""
        at = monotonic()
        return max((at - hands.began_at for hands in self._hands if hands.owned is owned), default=0.0)

    @property
    def in_hands(self) -> tuple[int, int]:
        """How many events are being handled, and how many of them once more at once, of which no row tells."""
        busy = [hands for hands in self._hands if hands.owned is not None]
        return len(busy), sum(hands.event is not None and hands.slot.again is hands.event for hands in busy)

    def watch(self) -> None:
        """Ends attempts that are over their time, and lets the rest of a partition go on without a slow stream. A
        thread that goes on long after its time, and would keep its stream for ever, costs its partition the lease."""
        at = monotonic()
        since, self._watched_at = min(at - self._watched_at, CHANCE_SECONDS), at
        for hands in self._hands:
            owned, event = hands.owned, hands.event
            hands.seconds = hands.seconds + since if event is hands.seen else 0.0
            hands.seen = event
            if owned is None or event is None:
                continue
            if hands.slot.overdue(at) and at - hands.slot.late_since > self._renewals.lease_seconds:
                owned.lose("a handler has not ended long after its time")
            elif hands.seconds >= SLOW_SECONDS:
                owned.detach(event)

    @property
    def are_stuck(self) -> bool:
        """Whether none of them is left: each has a handler that neither ends nor heeds that it was cancelled."""
        longest, at = self._renewals.lease_seconds, monotonic()
        return bool(self._hands) and all(
            hands.owned is not None and 0 < hands.slot.late_since < at - longest for hands in self._hands
        )

    # ---- in each worker ----

    async def _work(self) -> None:
        hands = _Hands()
        self._hands.append(hands)
        loop_at = 0.0
        while True:
            owned = await self._next()
            began_at = now()
            while await self._handle_some(hands, owned, loop_at):
                if (at := now()) >= loop_at:
                    owned.reading.turn_over()
                    await self._leave_the_loop_its_turn()
                    loop_at = now() + LOOP_SECONDS  # from now: the loop may have taken long
                if self._is_over(owned, at - began_at):
                    self._hurry(owned)
                    break
            else:
                self._is_ready.discard(owned)
                with suppress(ValueError):
                    self._ready.remove(owned)

    def _is_over(self, owned: Owned, seconds: float) -> bool:
        """The turn of a partition that has lasted so long."""
        if len(self._ready) < 2:
            with suppress(ValueError):
                self._hurried.remove(owned)
            return False
        if self._hurried and (seconds >= LOOP_SECONDS or not owned.holder.has_urgent):
            return True
        return seconds >= TURN_SECONDS

    async def _handle_some(self, hands: _Hands, owned: Owned, until: float) -> bool:
        """Handles one event, or many until then. False if none may be."""
        event: Delivery | None = None
        if self._pace is None and not self.breaker.is_open:
            event = await self._handle_in_order(hands, owned, until)
        if event is None:
            event = await self._paced(owned) if self._pace else self._take(owned)
        if event is None:
            return False
        await self._handle(hands, owned, event)
        return True

    async def _handle_in_order(self, hands: _Hands, owned: Owned, until: float) -> Delivery | None:
        """Handles events with nothing around the call of the handler, for as long as that is all there is to do.
        Returns the event that needs more, if one does; then `hands.made` is what came of its first call, if that was
        made."""
        slot, breaker, refused = hands.slot, self.breaker, self._refused
        plans, every = self._handling.plans, self._handling.every
        hands.owned = owned
        for event in in_order(owned, until, self._hurried):
            plan = plans.get(event.type, every)
            if plan is None or not (plan.is_plain or plan.collects) or isinstance(event, Undecodable):
                return event
            hands.event, hands.began_at = event, monotonic()
            slot.deadline = deadline = hands.began_at + plan.timeout_seconds
            ctx: Context | None = None
            try:
                if plan.collects:
                    replaying, term = owned.holder.is_replay(event), owned.lease.token.term
                    ctx = self._handling.first_context(event, replaying, deadline, term)
                    given = {plan.collects: ctx}
                    returned = await plan.call(event if plan.takes_envelope else event.data, **given)
                else:
                    returned = await plan.call(event if plan.takes_envelope else event.data)
            except BaseException as raised:  # noqa: BLE001 - who handles the rest of it judges
                hands.made = Made(raised=raised, ctx=ctx)
                return event
            if returned is not None or slot.disturbed or breaker.failures or refused or (ctx and ctx.replaying):
                hands.made = Made(returned, ctx=ctx)
                return event
            if ctx is not None and (effects := ctx.collected()):
                owned.brings(event, effects)
            slot.deadline = NEVER
            breaker.succeeded_at = hands.began_at
        hands.owned = hands.event = None
        return None

    def _take(self, owned: Owned) -> Delivery | None:
        if not self.breaker.is_open:
            return owned.take()
        event = self._probe(owned) if self.breaker.may_take else None
        if event is not None:
            self.breaker.taken()
        return event

    def _probe(self, owned: Owned) -> Delivery | None:
        """An event to tell by whether the outage goes on."""
        passed_over: list[Delivery] = []
        while (event := owned.take()) is not None:
            if not self.breaker.is_choosy(event.id, is_failing=owned.holder.is_failing(event.stream)):
                break
            passed_over.append(event)
            if len(passed_over) == PASSED_OVER:
                event = None
                break
        for each in passed_over:
            owned.put_back(each)
        return event

    async def _paced(self, owned: Owned) -> Delivery | None:
        assert self._pace is not None  # noqa: S101 - whoever calls has asked
        async with self._pacing:
            turn = await self._pace.turn()
            event = self._take(owned)
            if event is None:
                self._pace.give_back(turn)
            return event

    async def _next(self) -> Owned:
        """A partition that may have work; partitions take turns."""
        while not self._ready:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                await future
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)
        self._has_hurried = not self._has_hurried and self._bring_forward()
        self._ready.rotate(-1)
        asyncio.get_running_loop().call_soon(self._wake_one)
        return self._ready[-1]

    def _bring_forward(self) -> bool:
        """The first of those with something urgent, if there is any."""
        while self._hurried:
            owned = self._hurried.popleft()
            if owned in self._is_ready and owned.holder.has_urgent:
                self._ready.remove(owned)
                self._ready.appendleft(owned)
                return True
        return False

    async def _leave_the_loop_its_turn(self) -> None:
        """Nobody is woken meanwhile: this worker waits for nothing. All of them would be awake soon, each with its time
        in every turn of the loop, and an answer from the server takes some turns."""
        self._in_between += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._in_between -= 1
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_one)

    def _wake_one(self) -> None:
        """The callback comes to its turn only when the worker that asked for it waits."""
        if self._in_between:
            return
        while self._ready and self._waiting:
            future = self._waiting.pop()
            if not future.done():
                future.set_result(None)
                return

    async def _handle(self, hands: _Hands, owned: Owned, event: Delivery) -> None:
        made, hands.made = hands.made, None
        if made is None:
            hands.owned, hands.event, hands.began_at = owned, event, monotonic()
        holder = owned.holder
        replaying = holder.is_replay(event)
        try:
            outcome = await self._handling.handle(
                hands.slot,
                event,
                holder.attempts(event),
                replaying,
                owned.lease.token.term,
                holder.job if replaying else "",
                owned.first_failed_us.get(event.stream, 0)
                if owned.first_failed_us and holder.is_failing(event.stream)
                else 0,
                made,
            )
        except BaseException as raised:
            self.breaker.given_up()
            owned.put_back(event)
            if not isinstance(raised, Interrupted):
                raise
        else:
            if outcome is NOTHING and not self._refused and not self.breaker.failures:
                self.breaker.succeeded_at = hands.began_at
                owned.succeeded(event)
            else:
                self._tell(owned, event, outcome)
        finally:
            hands.owned = hands.event = None

    def _tell(self, owned: Owned, event: Delivery, outcome: Outcome) -> None:
        if (error := self._refused.pop(event.id, None)) is not None and not isinstance(outcome, Failed):
            outcome = self._handling.refused(event, error, owned.holder.attempts(event))
        if outcome is UNCALLED:
            self.breaker.given_up()
            owned.succeeded(event)
        elif not isinstance(outcome, Failed):
            self.breaker.succeeded()
            owned.succeeded(event, outcome.out, outcome.effects)
        elif outcome.calls == 0:  # which tells neither of an outage nor of the end of one
            self.breaker.given_up()
            owned.failed(event, outcome)
        elif self.breaker.failed(event.stream, outcome.failure):
            owned.failed(event, outcome)
        else:
            owned.postpone(event)
