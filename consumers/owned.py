"""One partition whose lease this member has: reads on, hands out work, commits, and ends with the lease.

reading    what comes into memory, and when (reading.py)
committing one call at a time, repeated unchanged until its outcome is known or the lease is lost

ends by    what happens then
drain      nothing more is read or handed out, what is in hands may finish, the last commit, the lease is given back
loss       everything in memory is dropped; what is in hands is interrupted, and its outcome means nothing
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import structlog

from consumers.brought import Brought
from consumers.deliveries import Deliveries, Delivery
from consumers.errors import CommitRefused, EventStoreError, Stale, Unavailable
from consumers.failure import Failure
from consumers.held_back import HeldBack
from consumers.holder import Holder
from consumers.keys import GroupKeys
from consumers.lease import Lease, now
from consumers.lease_calls import release
from consumers.look import look
from consumers.losses import taken_by
from consumers.outcome import Failed
from consumers.pace import Pace
from consumers.reading import Reading
from consumers.state import Commit, Committed, Effect, Outgoing
from consumers.truth import IN_REDIS, Truth
from eventstore.log import Log

LINGER_SECONDS, PATIENT_SECONDS = 0.005, 0.02
"""Between two commits of a partition that is busy: what is finished meanwhile goes into the second. Longer where
nothing but the offset moves, for which nobody waits: a commit for each event or two took a third of the time of a
worker that keeps up with 1,000 a second."""
GIVEN_BACK = "it was given back"
LAST_COMMIT_SECONDS = 2.0
HALTED_SECONDS = 60.0
"""Between two complaints that no more streams of a partition may fail."""
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 1.0

logger = structlog.get_logger(__name__)
OnReady = Callable[["Owned"], None]


class Owned:
    """Made when a lease has been taken; `run` is its life. `on_ready` is told when there may be work, `on_head` when
    the main pass has come to the end of the log, `on_out` when returned events wait to be carried on, `on_refused` of
    an event that brought what cannot be carried out: it is handled once more, under another lease, and then fails;
    `on_parked` of one that was parked, by which failure, and after how many calls of its handler.
    `replay_pace` is kept by events that are replayed, and by no others."""

    def __init__(
        self,
        log: Log,
        keys: GroupKeys,
        holder: Holder,
        lease: Lease,
        deliveries: Deliveries,
        *,
        epochs: bytes,
        bell: str,
        on_ready: OnReady,
        on_head: OnReady,
        on_out: Callable[[int], None],
        on_refused: Callable[[Delivery, CommitRefused], None],
        on_parked: Callable[[Delivery, Failure, int], None],
        replay_pace: Pace | None = None,
        truth: Truth = IN_REDIS,
    ) -> None:
        self.keys, self.holder, self.lease = keys, holder, lease
        self.bell = bell
        self.in_hands = 0
        self.lost: str | None = None
        self.draining = False
        self.reading = Reading(
            log,
            keys,
            holder,
            deliveries,
            epochs,
            on_fed=self._fed,
            on_head=lambda: on_head(self),
            on_lost=self.lose,
        )
        self.first_failed_us = self.reading.first_failed_us
        self._log, self._truth = log, truth
        self._on_ready, self._on_out = on_ready, on_out
        self._on_refused, self._on_parked = on_refused, on_parked
        self._held_back = None if replay_pace is None else HeldBack(holder, replay_pace)
        self._take = holder.take if self._held_back is None else self._held_back.take
        self._finished = asyncio.Event()  # something may be committed
        self._awaited = asyncio.Event()  # somebody waits for the next commit
        self.is_told = False
        """Whether it is set: who finishes events asks that for each."""
        self._tell_again_at = 0.0
        self._idle = asyncio.Event()  # nothing is in hands, and nothing waits to be committed
        self._scope = anyio.CancelScope()

    @property
    def partition(self) -> int:
        return self.keys.partition

    @property
    def is_alive(self) -> bool:
        """Whether what is done here still counts."""
        if self.lost is None and (why := self.lease.lost):
            self.lose(why)
        return self.lost is None

    async def run(self) -> None:
        """Until it is drained or lost. Raises EventsMissing, LogDamaged, GroupNotFound: what no repetition mends."""
        self._finished.set()
        with self._scope:
            async with anyio.create_task_group() as tasks:
                for loop in (self.reading.read_on, self.reading.read_lanes, self.reading.pull_on, self._commit_on):
                    tasks.start_soon(self._guarded, loop)

    async def drain(self, grace_seconds: float, interrupt: Callable[["Owned"], None]) -> None:
        """Ends in good order: what is in hands has `grace_seconds`, then it is interrupted. Gives the lease back."""
        self.draining = self.reading.is_ending = True
        with anyio.move_on_after(grace_seconds):
            await self._emptied()
        interrupt(self)
        with anyio.move_on_after(LAST_COMMIT_SECONDS):
            await self._emptied()
        self._scope.cancel()
        if self.is_alive:
            self.lose(GIVEN_BACK)
            with suppress(EventStoreError), anyio.move_on_after(LAST_COMMIT_SECONDS):  # it ends by itself
                await release(self._log, self.keys, self.lease.token)

    async def _emptied(self) -> None:
        while self.is_alive:
            self._idle.clear()
            self._awaited.set()
            self._finished.set()
            await self._idle.wait()
            if not self.in_hands:
                return

    def lose(self, why: str) -> None:
        """What is known here is of the past."""
        if self.lost is None:
            self.lost = why
            self._scope.cancel()
            self._idle.set()
            self._on_ready(self)

    # ---- work ----

    def take(self) -> Delivery | None:
        """The next event to be handled; its outcome is told by one of the functions below, whatever happens. Called for
        every event, as `succeeded` is: they cost as little as they can."""
        lease = self.lease
        if self.draining or lease.paused or self.lost is not None or (now() >= lease.until and not self.is_alive):
            return None
        while (event := self._take(self._server_ms)) is None:
            if self._held_back or not self.unpack():
                self.reading.turn_over()
                if self.holder.has_passed_over:
                    self._note_passed_over()
                return None
        if self.holder.has_passed_over:
            self._note_passed_over()
        self.in_hands += 1
        return event

    def unpack(self) -> bool:
        """Brings the next of what was read into the window. False if there is nothing."""
        if not self.reading.unpack():
            return False
        self.tell()  # nobody may want what was unpacked
        return True

    def tell(self) -> None:
        """Something may be committed."""
        self.is_told = True
        self._finished.set()

    def _note_passed_over(self) -> None:
        self.holder.has_passed_over = False
        self.tell()

    @property
    def holds_replays_back(self) -> bool:
        """Whether replays have a pace of their own."""
        return self._held_back is not None

    @property
    def holds_back(self) -> bool:
        """Whether an event waits for the pace of a replay: to be looked at again in a moment."""
        return bool(self._held_back)

    def succeeded(self, event: Delivery, out: tuple[Outgoing, ...] = (), effects: tuple[Effect, ...] = ()) -> None:
        self.in_hands -= 1
        if self.lost is None:
            if self.first_failed_us:
                self.first_failed_us.pop(event.stream, None)
            self.holder.succeeded(event, out, effects)
            self.tell()
            if out or effects:
                self._awaited.set()

    def brings(self, event: Delivery, effects: tuple[Effect, ...]) -> None:
        """Before one of the events that are handled in order has succeeded: what it brings."""
        if self.lost is None:
            self.holder.bringing.add(Brought(event, (), effects))
            self._awaited.set()

    def _server_ms(self) -> int:
        return self.lease.server_ms

    def failed(self, event: Delivery, outcome: Failed) -> None:
        delay = outcome.delay_seconds
        due_ms = None if delay is None else self.lease.server_ms + round(delay * 1_000)
        self.first_failed_us[event.stream] = outcome.failure.first_failed_us
        self._noted(lambda: self._note_failure(event, outcome, due_ms))

    def _note_failure(self, event: Delivery, outcome: Failed, due_ms: int | None) -> None:
        if self.holder.failed(event, outcome.calls, due_ms, outcome.failure.pack()):
            if due_ms is None:
                self._on_parked(event, outcome.failure, self.holder.attempts(event))
            return
        if now() < self._tell_again_at:
            return
        self._tell_again_at = now() + HALTED_SECONDS
        logger.error(
            "partition_halts",
            group=self.keys.group,
            partition=self.partition,
            detached=len(self.holder.rows),
            stream=event.stream,
            error=outcome.failure.in_line,
            remedy="so many streams of it fail that no more may wait: it goes on when some are retried or discarded,"
            f" eventstore dlq list {self.keys.group}; nothing is lost",
        )

    def postpone(self, event: Delivery) -> None:
        self._noted(lambda: self.holder.postpone(event))

    def put_back(self, event: Delivery) -> None:
        self._noted(lambda: self.holder.put_back(event))

    def _noted(self, note: Callable[[], object]) -> None:
        self.in_hands -= 1
        if self.lost is None:
            note()
            self._awaited.set()
            self._fed()
            self.reading.turn_over()

    def _fed(self) -> None:
        self._finished.set()
        self._on_ready(self)

    def detach(self, event: Delivery) -> None:
        """Its handler is slow: the rest goes on without its stream, if that waits for it."""
        waits = self.holder.waits_for(event, full=not self.reading.has_room)
        if waits and self.is_alive and self.holder.detach(event):
            self._finished.set()

    def resume(self) -> None:
        """What was postponed may be tried again."""
        self.holder.resume()
        self._on_ready(self)

    # ---- the bell ----

    async def rung(self, entry_id: str) -> None:
        """The bell has been rung: somebody gives orders, has paused the group or taken the lease."""
        self.bell = entry_id
        seen = await look(self._log, self.keys)
        if seen.token != self.lease.token:
            self.lose(taken_by(seen.token))
            return
        self.lease.tell_paused(seen.paused, seen.now_ms)
        self.holder.learn(seen.orders)
        self._awaited.set()
        self._finished.set()
        self._on_ready(self)

    # ---- committing ----

    async def _commit_on(self) -> None:
        while True:
            await self._finished.wait()
            self._finished.clear()
            self.is_told = False
            self.reading.turn_over()
            self.holder.obey()
            while call := self.holder.prepare():
                reply = await self._committed(call)
                self.holder.committed(reply)
                self.lease.tell_paused(reply.paused, reply.now_ms)
                self.reading.largest = reply.largest or self.reading.largest
                if call.out:
                    self._on_out(self.partition)
                self.reading.turn_over()
                self._on_ready(self)
                if not self.draining:
                    await anyio.sleep(LINGER_SECONDS)
                    await self._until_awaited()
                self.holder.obey()
            if not self.in_hands:
                self._idle.set()

    async def _until_awaited(self) -> None:
        """While nobody waits for the next commit, but for a moment at the most."""
        self._awaited.clear()
        if not (self.draining or self.holder.brings_news):
            with anyio.move_on_after(PATIENT_SECONDS):
                await self._awaited.wait()

    async def _committed(self, call: Commit) -> Committed:
        """The answer to a call, which is repeated unchanged for as long as the lease lasts."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._truth.commit(self._log, self.keys, call)
            except CommitRefused as error:
                self._on_refused(self.holder.bringer_of(error.what, error.index), error)
                raise Stale(self.keys.group, self.partition, "a commit was refused") from error
            except Unavailable as error:
                logger.warning("commit_repeated", group=self.keys.group, partition=self.partition, why=str(error))
            await anyio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    async def _guarded(self, loop: Callable[[], Awaitable[None]]) -> None:
        """What the lease does not survive, and what may pass while it lasts."""
        pause = FIRST_PAUSE_SECONDS
        while self.is_alive:
            try:
                await loop()
            except Stale as error:
                self.lose(error.why)
            except Unavailable as error:
                logger.warning("read_repeated", group=self.keys.group, partition=self.partition, why=str(error))
                self.reading.look_again()
                self.reading.look_at_lanes()
                await anyio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
