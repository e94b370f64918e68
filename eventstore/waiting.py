"""Appends that wait to be written: each with its caller, its deadline and its own verdict; joined into one call."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from eventstore.append import Append, arguments, looks_up
from eventstore.errors import EventStoreError, OutcomeUnknown, Overloaded, Unavailable
from eventstore.log import Log
from eventstore.verdict import Receipts
from infrastructure.errors import own_copy

if TYPE_CHECKING:
    import asyncio

    from infrastructure.pools import Sending

MAX_APPENDS = 256
MAX_EVENTS = 1_000
MAX_BYTES = 1 << 20


class Waiter:
    """One append on its way, and the caller who waits for it. `deadline` is by the clock of the event loop."""

    __slots__ = ("append", "call", "deadline", "future")

    def __init__(self, append: Append, deadline: float, future: "asyncio.Future[Receipts]") -> None:
        self.append, self.deadline, self.future = append, deadline, future
        self.call: Call | None = None

    @property
    def gone(self) -> bool:
        return self.future.done()

    def settle(self, outcome: Receipts | EventStoreError) -> None:
        if self.future.done():
            return
        if isinstance(outcome, EventStoreError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)

    def fail(self, reason: EventStoreError) -> None:
        """Ends the wait without a verdict."""
        if self.gone:
            return
        if self.call is not None and self.call.may_have_run:
            self.settle(OutcomeUnknown(self.append.stream, self.append.ids, reason.detail))
        else:
            if self.call is not None:
                self.call.withdraw()  # or it would be written for the sake of others
            self.settle(own_copy(reason))


class Call:
    """One call of append.lua: the appends that it joins, and what is known of its tries."""

    __slots__ = ("_ran", "args", "keys", "last_failure", "sending", "waiters", "withdrawn")

    def __init__(self, waiters: list[Waiter], log: Log, partition: int) -> None:
        self.waiters = waiters
        self._ran = False
        self.sending: Sending | None = None
        """The try that is under way."""
        self.withdrawn = False
        """Whether one of the waiters was told that nothing was written: it is not sent again as it is."""
        self.last_failure: EventStoreError | None = None
        keys, parts = log.keys, [part for w in waiters for part in w.append.parts]
        self.keys = [
            *(keys.head(partition), keys.events(partition), keys.urgent(partition), *keys.duplicates(partition)),
            *[keys.index(partition, part.stream) for part in parts],
        ]
        ids = int(any(looks_up(w.append) for w in waiters))
        self.args: list[str | int | bytes] = [log.duplicate_window_us, len(parts), ids]
        for waiter in waiters:
            waiter.call = self
            self.args += arguments(waiter.append)

    @property
    def wanted(self) -> bool:
        return any(not w.gone for w in self.waiters)

    @property
    def may_have_run(self) -> bool:
        """Whether anything of any try may have reached a server that may have run it."""
        return self._ran or (self.sending is not None and self.sending.in_doubt)

    def withdraw(self) -> None:
        """For a call that has surely not run."""
        self.withdrawn = True
        if self.sending is not None:
            self.sending.withdrawn = True

    def try_ended(self, *, may_have_run: bool) -> None:
        self._ran = self._ran or may_have_run
        self.sending = None

    def fail(self, reason: EventStoreError) -> None:
        self.last_failure = reason
        for waiter in self.waiters:
            waiter.fail(reason)


class Queue:
    """What waits to be written to one partition, bounded, and the call that is under way."""

    def __init__(self, log: Log, partition: int) -> None:
        self.call: Call | None = None
        self._log, self._partition = log, partition
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()  # in order of arrival; whoever leaves is out at once
        self._events = self._bytes = 0

    def add(self, waiter: Waiter) -> None:
        """Raises Overloaded."""
        append = waiter.append
        events, size = self._events + append.events, self._bytes + append.size
        limits = self._log.settings
        if self._events and events > limits.max_waiting_events:
            raise Overloaded(self._partition, "events", self._events, limits.max_waiting_events)
        if self._bytes and size > limits.max_waiting_bytes:
            raise Overloaded(self._partition, "bytes", self._bytes, limits.max_waiting_bytes)
        self._waiting[waiter] = None
        self._events, self._bytes = events, size

    def remove(self, waiter: Waiter) -> None:
        """Whoever was added leaves, with a verdict or without."""
        self._waiting.pop(waiter, None)
        self._events -= waiter.append.events
        self._bytes -= waiter.append.size

    def next_call(self) -> Call | None:
        """The call to make: the one under way, as long as somebody waits for it; else of those that wait, in order of
        arrival; a larger single append goes alone. None if nobody waits."""
        if self.call is None or not self.call.wanted:
            waiters = self._gather()
            self.call = Call(waiters, self._log, self._partition) if waiters else None
        elif self.call.withdrawn:
            failure = self.call.last_failure
            self.call = Call([w for w in self.call.waiters if not w.gone], self._log, self._partition)
            self.call.last_failure = failure
        return self.call

    def expire(self, now: float) -> float | None:
        """Ends the waits whose time is over; the next deadline."""
        left: list[float] = []
        for waiter in self._all():
            if waiter.deadline > now:
                left.append(waiter.deadline)
            elif not waiter.gone:
                call = waiter.call or self.call  # whose turn has not come waits for what ails the call under way
                waiter.fail((call.last_failure if call else None) or _no_answer())
        return min(left, default=None)

    def fail(self, reason: EventStoreError) -> None:
        for waiter in self._all():
            waiter.fail(reason)

    def _all(self) -> list[Waiter]:
        return [*(self.call.waiters if self.call else ()), *self._waiting]

    def _gather(self) -> list[Waiter]:
        gathered: list[Waiter] = []
        events = size = 0
        while self._waiting and len(gathered) < MAX_APPENDS:
            waiter = next(iter(self._waiting))
            events += waiter.append.events
            size += waiter.append.size
            if gathered and (events > MAX_EVENTS or size > MAX_BYTES):
                break
            del self._waiting[waiter]
            if waiter.gone:
                events, size = events - waiter.append.events, size - waiter.append.size
            else:
                gathered.append(waiter)
        return gathered


def _no_answer() -> Unavailable:
    return Unavailable("no answer in time", reason="timeout", remedy="eventstore doctor")
