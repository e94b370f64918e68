"""Group commit: concurrent appends of a process are joined, each keeps its own verdict.

Per partition one script call is in flight; what arrives meanwhile gathers for the next. The calls of several partitions
of one server go in one exchange: a lane. A call that fails as a whole is repeated *unchanged* (append.lua recognises
what it wrote) until its last waiter has gone; while it has surely not run, without those who have gone because of that.
A waiter goes when it has its verdict, when it is cancelled, or at its deadline: with OutcomeUnknown if any try may have
run, else with the reason why none did.
"""

import asyncio
from collections.abc import Sequence

import anyio
import structlog
from redis.exceptions import ResponseError

from eventstore.append import Append
from eventstore.errors import DurabilityNotReached, EventStoreError, LogDamaged, Unavailable
from eventstore.log import Log, refused
from eventstore.verdict import Receipts, outcomes
from eventstore.waiting import Call, Queue, Waiter
from infrastructure import lua
from infrastructure.connect import Reply
from infrastructure.pools import Sending, Withdrawn
from infrastructure.tasks import Spawn

# The server works for one lane while the client works for another. With 1, 2 and 4 lanes, fsync and 2 cores: 19, 27 and
# 25 thousand events a second of 50 tasks, 78, 83 and 116 thousand of batches.
LANES = 4
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.5

logger = structlog.get_logger(__name__)
_append = lua.load("eventstore", "append")


class GroupCommit:
    """The writers of a store. `spawn` starts a task that the store owns."""

    def __init__(self, log: Log, spawn: Spawn) -> None:
        # In a Cluster each partition for itself: which ones share a node is not for ever.
        number = log.partitions if log.redis.is_cluster else min(LANES, log.partitions)
        self._lanes = [Lane(log, range(i, log.partitions, number), spawn) for i in range(number)]
        self._closed = False

    async def commit(self, append: Append, timeout_seconds: float) -> Receipts:
        """A receipt for each stream that is written to. Raises what the verdict is, Overloaded, Unavailable,
        OutcomeUnknown, DurabilityNotReached."""
        if self._closed:
            raise Unavailable("the store has been closed", reason="closed")
        return await self._lanes[append.partition % len(self._lanes)].commit(append, timeout_seconds)

    def close(self) -> None:
        """Takes no more appends. Those under way end as they would: who waits for the tasks waits for them."""
        self._closed = True
        for lane in self._lanes:
            lane.close()


class Lane:
    """Writes to some partitions of one server: one exchange in flight, the next one gathering."""

    def __init__(self, log: Log, partitions: Sequence[int], spawn: Spawn) -> None:
        self._log, self._spawn = log, spawn
        self._queues = {p: Queue(log, p) for p in partitions}
        self._running = self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        """At the first deadline that is known. One for all: one for each append would cost it 2 us."""

    async def commit(self, append: Append, timeout_seconds: float) -> Receipts:
        loop = asyncio.get_running_loop()
        waiter = Waiter(append, loop.time() + timeout_seconds, loop.create_future())
        queue = self._queues[append.partition]
        queue.add(waiter)
        try:
            if not self._running:
                self._spawn(self._drain)
                self._running = True
            if self._timer is None or waiter.deadline < self._timer.when():
                self._expire_at(waiter.deadline, loop)
            return await waiter.future
        finally:
            queue.remove(waiter)

    def close(self) -> None:
        """No more appends will come. Without it the timer would keep the log in memory until the last deadline."""
        self._closing = True
        if not self._running:
            self._stop_timer()

    # ---- deadlines ----

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _expire_at(self, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self._stop_timer()
        self._timer = loop.call_at(deadline, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, now = None, loop.time()
        left = [deadline for queue in self._queues.values() if (deadline := queue.expire(now)) is not None]
        if left:
            self._expire_at(min(left), loop)

    # ---- calls ----

    async def _drain(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            while calls := [call for queue in self._queues.values() if (call := queue.next_call())]:
                if await self._exchange(calls):
                    pause = FIRST_PAUSE_SECONDS
                else:
                    await anyio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            closed = Unavailable("the store was closed before an answer came", reason="closed")
            for queue in self._queues.values():
                queue.fail(closed)
                queue.call = None
            self._running = False
            if self._closing:
                self._stop_timer()

    async def _exchange(self, calls: Sequence[Call]) -> bool:
        """Makes calls of several partitions at once; whether none of them has to be repeated."""
        try:
            await self._try(calls)
        except Exception as error:
            # A fault of ours must reach the waiters of these calls, and not end the store for all others.
            logger.exception("append_failed", partitions=list(self._queues))
            for call in calls:
                call.fail(EventStoreError(f"append failed: {error!r}", remedy="report this"))
        return not any(call.wanted for call in calls)

    async def _try(self, calls: Sequence[Call]) -> None:
        durability, sending = self._log.durability, Sending()
        for call in calls:
            call.sending = sending
        try:
            replies = await lua.call_all(
                self._log.redis,
                _append,
                [(call.keys, call.args) for call in calls],
                *durability.commands,
                longer_by=durability.wait_seconds,
                sending=sending,
            )
        except Withdrawn:
            for call in calls:
                call.try_ended(may_have_run=False)
            return
        except EventStoreError as error:
            ran = not isinstance(error, Unavailable) or error.maybe_ran
            for call in calls:
                call.try_ended(may_have_run=ran)
                _failed(call, error)
            return
        reached = durability.reached(replies[len(calls) :])
        for call, reply in zip(calls, replies, strict=False):
            if isinstance(reply, ResponseError):
                refusal = refused(reply)
                call.try_ended(may_have_run=not _came_first(refusal))
                _failed(call, refusal)
            else:
                self._settle(call, reply, reached)

    def _settle(self, call: Call, reply: Sequence[Reply], reached: bool) -> None:
        for waiter, outcome in zip(call.waiters, outcomes([w.append for w in call.waiters], reply), strict=True):
            if not reached and not isinstance(outcome, EventStoreError):
                waiter.settle(DurabilityNotReached(outcome, self._log.durability.level))
            else:
                waiter.settle(outcome)


def _failed(call: Call, error: EventStoreError) -> None:
    """Repeating mends most failures, not all."""
    call.last_failure = error
    if not isinstance(error, Unavailable) or error.is_final:
        call.fail(error)


def _came_first(refusal: EventStoreError) -> bool:
    """Whether the server refused before the script wrote anything. Other errors may have ended it midway."""
    return isinstance(refusal, LogDamaged) or (isinstance(refusal, Unavailable) and not refusal.maybe_ran)
