"""Group commit: concurrent appends of a process are joined, each keeps its own verdict.

Per partition one script call is in flight; what arrives meanwhile gathers for the next. A call that fails as a whole
is repeated *unchanged* (append.lua recognises what it wrote) until its last waiter has gone. A waiter goes when it has
its verdict, when it is cancelled, or at its deadline: with OutcomeUnknown if any try may have run, else with the
reason why none did.
"""

import asyncio
from collections import OrderedDict

import anyio
import structlog
from redis.exceptions import ResponseError

from eventstore.append import Append, arguments
from eventstore.envelope import Receipt
from eventstore.errors import DurabilityNotReached, EventStoreError, LogDamaged, OutcomeUnknown, Overloaded, Unavailable
from eventstore.log import Log, refused
from eventstore.verdict import receipt_or_error
from infrastructure import lua
from infrastructure.connect import Reply
from infrastructure.tasks import Spawn

MAX_APPENDS = 256
MAX_EVENTS = 1_000
MAX_BYTES = 1 << 20
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.5
FINAL = {"authentication", "permission", "unsupported", "closed"}  # repeating cannot help

logger = structlog.get_logger(__name__)
_append = lua.load("eventstore", "append")


class GroupCommit:
    """The writers of a store, one a partition. `spawn` starts a task that the store owns."""

    def __init__(self, log: Log, spawn: Spawn) -> None:
        self._writers = [PartitionWriter(log, p, spawn) for p in range(log.partitions)]
        self._closed = False

    async def commit(self, append: Append, timeout_seconds: float) -> Receipt:
        if self._closed:
            raise Unavailable("the store has been closed", reason="closed")
        return await self._writers[append.partition].commit(append, timeout_seconds)

    def close(self) -> None:
        """Takes no more appends. Those under way end as they would: who waits for the tasks waits for them."""
        self._closed = True


class _Waiter:
    """One append on its way, and the caller who waits for it."""

    __slots__ = ("append", "call", "future", "timer", "writer")

    def __init__(self, append: Append, timeout_seconds: float, writer: "PartitionWriter") -> None:
        loop = asyncio.get_running_loop()
        self.append, self.writer = append, writer
        self.future: asyncio.Future[Receipt] = loop.create_future()
        self.call: _Call | None = None
        self.timer = loop.call_later(timeout_seconds, self._expire)

    @property
    def gone(self) -> bool:
        return self.future.done()

    def settle(self, outcome: Receipt | EventStoreError) -> None:
        if self.gone:
            return
        if isinstance(outcome, Receipt):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def fail(self, reason: EventStoreError) -> None:
        """Ends the wait without a verdict."""
        if self.gone:
            return
        if self.call is not None and self.call.may_have_run:
            self.settle(OutcomeUnknown(self.append.stream, self.append.ids, reason.detail))
        else:
            own = _own(reason)
            if isinstance(own, Unavailable):
                own.maybe_ran = False  # of this append: another's may have
            self.settle(own)

    def _expire(self) -> None:
        call = self.call or self.writer.call  # whose turn has not come waits for what ails the call in flight
        last = call.last_failure if call is not None else None
        self.fail(last or Unavailable("no answer in time", reason="timeout", remedy="eventstore doctor"))


def _own(error: EventStoreError) -> EventStoreError:
    """A copy for each who waits: several would add their tracebacks, and what they say more, to one error."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


class _Call:
    """One script call: the appends it joins, and what is known of its tries."""

    def __init__(self, waiters: list[_Waiter], log: Log, partition: int) -> None:
        self.waiters = waiters
        self.may_have_run = False
        self.last_failure: EventStoreError | None = None
        places: dict[str, int] = {}
        keys = log.keys
        fixed = [keys.head(partition), keys.events(partition), keys.urgent(partition), *keys.duplicates(partition)]
        self.args: list[str | int | bytes] = [log.duplicate_window_us, len(waiters)]
        for waiter in waiters:
            waiter.call = self
            place = places.setdefault(keys.index(partition, waiter.append.stream), len(fixed) + len(places) + 1)
            self.args += arguments(waiter.append, place)
        self.keys = [*fixed, *places]

    @property
    def wanted(self) -> bool:
        return any(not w.gone for w in self.waiters)

    def fail(self, reason: EventStoreError) -> None:
        for waiter in self.waiters:
            waiter.fail(reason)


class PartitionWriter:
    """Writes to one partition: one call in flight, the next one gathering."""

    def __init__(self, log: Log, partition: int, spawn: Spawn) -> None:
        self._log, self._partition, self._spawn = log, partition, spawn
        self._queue: OrderedDict[_Waiter, None] = OrderedDict()  # in order of arrival; whoever leaves is out at once
        self._events = self._bytes = 0
        self._running = False
        self.call: _Call | None = None
        """The one in flight."""

    async def commit(self, append: Append, timeout_seconds: float) -> Receipt:
        self._refuse_overload(append)
        if not self._running:
            self._spawn(self._drain)
            self._running = True
        waiter = _Waiter(append, timeout_seconds, self)
        self._queue[waiter] = None
        self._events += len(append.events)
        self._bytes += append.size
        try:
            return await waiter.future
        finally:
            waiter.timer.cancel()
            self._queue.pop(waiter, None)
            self._events -= len(append.events)
            self._bytes -= append.size

    def _refuse_overload(self, append: Append) -> None:
        limits = self._log.settings
        events, size = self._events + len(append.events), self._bytes + append.size
        if self._events and events > limits.max_waiting_events:
            raise Overloaded(self._partition, "events", self._events, limits.max_waiting_events)
        if self._bytes and size > limits.max_waiting_bytes:
            raise Overloaded(self._partition, "bytes", self._bytes, limits.max_waiting_bytes)

    async def _drain(self) -> None:
        try:
            while waiters := self._gather():
                self.call = _Call(waiters, self._log, self._partition)
                await self._until_answered(self.call)
        finally:
            closed = Unavailable("the store was closed before an answer came", reason="closed")
            for waiter in [*(self.call.waiters if self.call else ()), *self._queue]:
                waiter.fail(closed)
            self._running, self.call = False, None

    def _gather(self) -> list[_Waiter]:
        """The next call's appends, in order of arrival; a larger single one goes alone."""
        gathered: list[_Waiter] = []
        events = size = 0
        while self._queue and len(gathered) < MAX_APPENDS:
            waiter = next(iter(self._queue))
            events += len(waiter.append.events)
            size += waiter.append.size
            if gathered and (events > MAX_EVENTS or size > MAX_BYTES):
                break
            del self._queue[waiter]
            if waiter.gone:
                events, size = events - len(waiter.append.events), size - waiter.append.size
            else:
                gathered.append(waiter)
        return gathered

    async def _until_answered(self, call: _Call) -> None:
        pause = FIRST_PAUSE_SECONDS
        while call.wanted:
            try:
                self._settle(call, await self._try(call))
            except EventStoreError as error:
                call.last_failure = error
                if not isinstance(error, Unavailable) or error.reason in FINAL:
                    call.fail(error)
                    return
            except Exception as error:
                # A fault of ours must reach the waiters of this call, and not end the store for all others.
                logger.exception("append_failed", partition=self._partition)
                call.fail(EventStoreError(f"append failed: {error!r}", remedy="report this"))
                return
            else:
                return
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _try(self, call: _Call) -> list[Reply]:
        """Raises what the whole call failed with; `may_have_run` is then right."""
        durability = self._log.durability
        before, call.may_have_run = call.may_have_run, True
        try:
            replies = await lua.call(
                self._log.redis, _append, call.keys, call.args, *durability.commands, longer_by=durability.wait_seconds
            )
        except Unavailable as error:
            call.may_have_run = before or error.maybe_ran
            raise
        if isinstance(replies[0], ResponseError):
            refusal = refused(replies[0])
            # Other errors may have ended the script midway.
            came_first = isinstance(refusal, LogDamaged) or (isinstance(refusal, Unavailable) and not refusal.maybe_ran)
            call.may_have_run = before or not came_first
            raise refusal
        return replies

    def _settle(self, call: _Call, replies: list[Reply]) -> None:
        verdicts, waits = replies[0], replies[1:]
        durable = self._log.durability.reached(waits)
        for waiter, verdict in zip(call.waiters, verdicts, strict=True):
            outcome = receipt_or_error(waiter.append, verdict)
            if isinstance(outcome, Receipt) and not durable:
                waiter.settle(DurabilityNotReached(outcome, self._log.durability.level))
            else:
                waiter.settle(outcome)
