"""A subscription for code that is not async."""

import threading
from collections import deque
from contextlib import suppress
from functools import partial

import anyio

from eventstore.arguments import must_be_wait
from eventstore.cursor import Cursor
from eventstore.envelope import RecordedEvent
from eventstore.errors import Unavailable
from eventstore.loop_thread import LoopThread
from eventstore.subscribe import Subscription
from eventstore.sync_iteration import Pump, end, in_use


class SyncSubscription:
    """An iterator for one thread at a time, which waits for events to come. Any thread may `close()` it, which ends the
    wait and the iteration; closing the store does too, and so it ends when nobody holds it any more. A call that is
    interrupted or whose time is over loses and doubles nothing: call again. An event whose data does not decode raises
    InvalidEvent each time."""

    def __init__(self, loop: LoopThread, subscription: Subscription) -> None:
        self._loop, self._subscription = loop, subscription
        self._pump = Pump(subscription, subscription.aclose)
        self._fetched: deque[RecordedEvent] = deque()
        self._places = list(subscription.cursor.places)
        self._behind = subscription.cursor
        """Where all that was fetched is delivered."""
        self._taken = self._delivered = 0
        self._turn = threading.Lock()
        self._is_closed = False

    @property
    def cursor(self) -> Cursor:
        """Resumes after all that was delivered. What the filter leaves out counts as delivered, as soon as nothing is
        fetched that was not asked for yet."""
        seen = None if self._is_closed else self._look()
        return seen[0] if seen else Cursor(tuple(self._places))

    @property
    def caught_up(self) -> bool:
        """Whether all that the log held at the last look has been delivered. False before the first look."""
        seen = None if self._is_closed else self._look()
        return seen is not None and seen[1]

    def __iter__(self) -> "SyncSubscription":
        return self

    def __next__(self) -> RecordedEvent:
        event = self._next(None)
        if event is None:
            raise StopIteration
        return event

    def next(self, timeout_seconds: float | None = None) -> RecordedEvent | None:
        """The next event; None if none came in time (0: what is there already). Raises Unavailable with the reason
        `closed` once the subscription or the store is closed."""
        must_be_wait(timeout_seconds)
        event = self._next(timeout_seconds)
        if event is None and self._is_closed:
            raise Unavailable("the subscription has been closed", reason="closed")
        return event

    def close(self) -> None:
        """Ends the wait in flight, and the iteration. `cursor` stays right."""
        was_closed, self._is_closed = self._is_closed, True
        if not was_closed and (seen := self._look()):
            self._places = list(seen[0].places)
        end(self._loop, self._pump)

    def __enter__(self) -> "SyncSubscription":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._pump.is_over:
            self._loop.aside(self._pump.aclose)

    def _next(self, seconds: float | None) -> RecordedEvent | None:
        """None if the time is over, or all is."""
        if not self._turn.acquire(blocking=False):
            raise in_use()
        try:
            if not self._fetched and not self._is_closed:
                self._loop.call(partial(self._fetch, seconds))
            return self._deliver() if self._fetched and not self._is_closed else None
        finally:
            self._turn.release()

    def _deliver(self) -> RecordedEvent:
        event = self._fetched.popleft()
        if self._fetched:
            self._places[event.partition] = event.epoch, event.position
        else:
            self._places = list(self._behind.places)
        self._delivered += 1
        return event

    async def _fetch(self, seconds: float | None) -> None:
        """Puts them where they are found although the thread that waits is interrupted when they have come."""
        with anyio.move_on_after(seconds):
            events = await self._pump.take()
            self._taken += len(events)
            self._behind = self._subscription.cursor  # nothing runs in between: it is behind these events
            self._fetched.extend(events)
            self._is_closed |= not events

    def _look(self) -> tuple[Cursor, bool] | None:
        """Cursor of the subscription, and whether it is caught up; None if it has come further than what was delivered
        here, and when the store has been closed."""
        with suppress(Unavailable):
            seen = None if self._fetched else self._loop.call(self._peek)
            if seen is not None and seen[0] == self._delivered:
                return seen[1:]
        return None

    async def _peek(self) -> tuple[int, Cursor, bool] | None:
        if not self._pump.is_empty:
            return None
        return self._taken, self._subscription.cursor, self._subscription.caught_up
