"""History, then live: every event once, without gap or duplicate.

    behind  -> read pages of the partitions that have more than was read (all of them at first)
    drained -> order="total" and events held back: ask the lagging partitions for a promise
    drained -> wait for news, at most 5 s, then look at what was woken

Each step changes the subscription only after its last await, so a step that is cancelled or fails is taken again.
Before a page is used, the partition's history is compared with the one read so far (epochs.py): what was lost is
reported, and the reader goes back. A server that is away is waited for, 50 ms to 2 s between two tries; so is one that
cannot take the report as durably as asked.

A subscription asks only when what it held has been taken, so a slow one costs what it holds, whatever is appended
meanwhile: at most 8,192 events and 16 MiB of them as stored, twice that as objects. `order="total"` holds an event of
every partition in any case, and up to 32,768 events where there are more than 64 partitions. Holding more would not
be faster: 16 partitions of 280-byte events are read at 4.2 us an event, with four times as much held at 4.1.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
import structlog

from eventstore import merge, read
from eventstore.arguments import may_be, must_be_flags
from eventstore.codec import Entry
from eventstore.cursor import Cursor, Place, usable
from eventstore.envelope import RecordedEvent
from eventstore.epochs import LostEvents, Observer
from eventstore.errors import DurabilityNotReached, EventStoreError, OutcomeUnknown, Overloaded, Unavailable
from eventstore.filters import Filter
from eventstore.log import Log
from eventstore.no_writers import promises_refused
from eventstore.pages import PartitionPage, ask, partition_page
from eventstore.spans import NO_BOUND
from eventstore.wakeup import Reader, Wakeup
from infrastructure import lua
from infrastructure.tasks import together

EVENTS_PER_PARTITION, EVENTS_IN_ALL = 1_024, 8_192
EVENTS_TO_MERGE, EVENTS_IN_MERGE = 128, 32_768  # of a partition at least: merging 256 times 32 takes twice the time
BYTES_PER_PARTITION, BYTES_IN_ALL = 8 << 20, 16 << 20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
AWAY = (Unavailable, OutcomeUnknown, DurabilityNotReached, Overloaded)  # the last three: of a report that is written

logger = structlog.get_logger(__name__)
OnLost = Callable[[LostEvents], Awaitable[object]]
_promise = lua.load("eventstore", "promise")


def subscribe(
    log: Log,
    *,
    order: read.Order = "partition",
    cursor: Cursor | None = None,
    where: Filter | None = None,
    observer: str | None = None,
    system: bool = False,
    on_lost: OnLost | None = None,
    wakeup: Wakeup | None = None,
) -> "Subscription":
    """All events after `cursor` (None: from the first, or from `where.since`), and those to come.

    `order="partition"` delivers as events are found, each partition in its order; `"total"` by (recorded_at, partition,
    position), final and the same for all readers; what follows after a failover that has lost events is in order as far
    as the clocks of the servers agree. `on_lost` is awaited before the subscription goes back behind events
    that it has delivered and a failover has lost; `observer` is its name in the report. Without it a warning is logged.
    A cursor whose epoch the log does not know is such a loss too, and its partition is read from the first event.
    Subscriptions that are given one `wakeup` share its connections.
    """
    read.check_order(order)
    must_be_flags(system=system)
    may_be(str, "a name for the reports, such as that of your program", observer=observer)
    start = Cursor.start(log.partitions) if cursor is None else usable(cursor, log.partitions)
    waiting = (wakeup or Wakeup(log)).reader()
    return Subscription(log, order, start, where, observer, system, on_lost, waiting, since=cursor is None)


class _Source:
    """One partition: how far it was read, what is known of it, what is held."""

    __slots__ = ("bound", "head", "lane", "look", "observer", "partition", "promised_head", "promised_time")

    def __init__(self, partition: int, place: Place) -> None:
        self.partition = partition
        self.observer = Observer(place)
        self.bound = NO_BOUND  # with the observer's chain from one look
        self.look = True
        self.head = 0
        self.forget()

    @property
    def behind(self) -> bool:
        return self.look or self.observer.position < self.head

    def keep_promise(self) -> None:
        """A promise counts once all that was there when it was given has been read. All of it, and not as many
        positions of another history: before a failover, or after one that is not noticed yet."""
        epoch, head = self.promised_head
        if self.observer.position >= head and self.observer.knows(epoch, head):
            self.lane.promise(self.promised_time)

    def take_promise(self, head: Place, time: int) -> None:
        """If it is of a history that was not read, another look tells what has been lost."""
        self.promised_head, self.promised_time = head, time
        self.head = max(self.head, head[1])
        self.look = self.observer.position >= head[1] and not self.observer.knows(*head)
        self.keep_promise()

    def forget(self) -> None:
        """Nothing is held, nothing was promised."""
        self.lane = merge.Lane()
        self.promised_head, self.promised_time = (0, 0), -1


class Subscription:
    """An async iterator for one task at a time. An `__anext__` that is cancelled or fails loses and doubles nothing:
    call it again. While the server is away it waits, and logs so. An event whose data does not decode raises
    InvalidEvent each time. Close it with `aclose()`."""

    def __init__(
        self,
        log: Log,
        order: read.Order,
        cursor: Cursor,
        where: Filter | None,
        observer: str | None,
        system: bool,
        on_lost: OnLost | None,
        waiting: Reader,
        *,
        since: bool,
    ) -> None:
        self._log, self._total, self._where, self._system = log, order == "total", log.resolved(where), system
        self._observer, self._on_lost = observer, on_lost
        self._since = where.since if since and where is not None else None
        self._places = list(cursor.places)
        self._sources = [_Source(p, place) for p, place in enumerate(self._places)]
        self._ready: deque[Entry] = deque()  # its first entry is wanted
        self._waiting = waiting
        self._pause, self._failures = FIRST_PAUSE_SECONDS, 0
        self._stepping = self._closed = False
        self._first, self._at_once = 0, _partitions_at_once(log, order)
        self._events, self._bytes = _page_bounds(self._at_once)

    @property
    def cursor(self) -> Cursor:
        """Resumes after all that was delivered; events that the filter leaves out count as delivered."""
        return Cursor(tuple(self._places))

    @property
    def caught_up(self) -> bool:
        """Whether all that the log held at the last look has been delivered. False before the first look."""
        return not self._ready and not any(s.behind or s.lane.entries for s in self._sources)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> RecordedEvent:
        if not self._ready:
            await self._fill()
        event = self._log.recorded(self._ready[0])
        self._pass(self._ready.popleft())
        self._pass_over_unwanted()
        return event

    async def aclose(self) -> None:
        """Ends the calls in flight; iteration ends. `cursor` stays right."""
        self._closed = True
        await self._waiting.aclose()

    async def _fill(self) -> None:
        """Until an event is ready."""
        if self._stepping:
            raise RuntimeError("a subscription is iterated by one task at a time")
        self._stepping = True
        try:
            while not self._ready:
                if self._closed:
                    raise StopAsyncIteration
                try:
                    await self._step()
                except AWAY as error:
                    if isinstance(error, Unavailable) and error.is_final:
                        raise
                    self._tell_away(error)
                    await self._back_off()
                else:
                    self._tell_back()
        finally:
            self._stepping = False

    def _tell_away(self, error: EventStoreError) -> None:
        """Once, and not of a connection that is there again at the next try."""
        self._failures += 1
        if self._failures == 2:
            logger.warning("server_away", detail=error.detail, doing="waiting for it", remedy=error.remedy)

    def _tell_back(self) -> None:
        if self._failures >= 2:
            logger.warning("server_back", doing="going on where it stopped")
        self._failures = 0

    async def _back_off(self) -> None:
        for source in self._sources:
            source.look = True
        await anyio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    async def _step(self) -> None:
        if self._since is not None:
            await self._begin_at(self._since)
        self._release()
        if self._ready:
            return
        turns = (*self._sources[self._first :], *self._sources[: self._first])
        behind = [s for s in turns if s.behind and not s.lane.entries][: self._at_once]
        if behind:
            await self._read(behind)
            self._first = (behind[-1].partition + 1) % self._log.partitions
        elif any(s.lane.entries for s in self._sources):
            await self._ask()
        else:
            await self._wait()

    async def _begin_at(self, time_us: int) -> None:
        start = await read.position_at(self._log, time_us - 1)
        self._since, self._places = None, list(start.places)
        self._sources = [_Source(p, place) for p, place in enumerate(self._places)]

    # ---- reading ----

    async def _read(self, sources: Sequence[_Source]) -> None:
        pages = await together([partial(self._page, s) for s in sources])
        for source, page in zip(sources, pages, strict=True):
            await self._accept(source, page)

    async def _page(self, source: _Source) -> PartitionPage:
        following = source.observer.position + 1
        return await partition_page(
            self._log,
            source.partition,
            following,
            events=self._events,
            size=self._bytes,
            known=source.observer.chain,
            bound=source.bound,
        )

    async def _accept(self, source: _Source, page: PartitionPage) -> None:
        observer, entries = source.observer, list(page.entries)
        common = observer.common(page.epochs, page.head)
        if common < observer.position:
            await self._step_back(source, page, common)
            return
        source.look, source.head, source.bound = False, page.head, page.bound
        observer.move(page.epochs, entries[-1].position if entries else observer.position)
        source.lane.show(entries)
        source.keep_promise()

    async def _step_back(self, source: _Source, page: PartitionPage, common: int) -> None:
        """Pages are read when nothing of their partition is held: what was read was delivered. Reports before it goes
        back: a crash in between reports twice, under one id."""
        p = source.partition
        epoch, position = self._places[p]
        await self._report(LostEvents(self._observer, p, epoch, common + 1, position))
        source.forget()
        source.observer.move(page.epochs, common)
        source.bound = page.bound
        self._places[p] = source.observer.place

    async def _report(self, lost: LostEvents) -> None:
        if self._on_lost is None:
            read.warn_of_loss(lost)
        else:
            await self._on_lost(lost)

    # ---- order ----

    def _release(self) -> None:
        """Makes ready what may be delivered."""
        lanes = [s.lane for s in self._sources]
        if self._total:
            self._ready.extend(merge.take(lanes))
        else:
            for lane in lanes:
                self._ready.extend(lane.take(merge.EVERYTHING))
        self._pass_over_unwanted()
        if self._ready:
            self._pause = FIRST_PAUSE_SECONDS

    def _pass_over_unwanted(self) -> None:
        while self._ready and not self._wanted(self._ready[0]):
            self._pass(self._ready.popleft())

    def _wanted(self, entry: Entry) -> bool:
        return (self._system or entry.stream[0] != "$") and (self._where is None or self._where.matches(entry))

    def _pass(self, entry: Entry) -> None:
        self._places[entry.partition] = entry.epoch, entry.position

    async def _ask(self) -> None:
        """A promise up to the newest event held, from every partition that has nothing to show up to there."""
        newest = merge.newest(s.lane for s in self._sources)
        time = newest[0]
        lagging = [s for s in self._sources if not s.behind and s.lane.known < newest]
        try:
            answers = await together([partial(promise, self._log, s.partition, time) for s in lagging])
        except Unavailable as error:
            raise (promises_refused() if error.reason == "permission" else error) from error.__cause__
        for source, answer in zip(lagging, answers, strict=True):
            source.take_promise(*answer)

    async def _wait(self) -> None:
        for partition in await self._waiting.wait([s.observer.place for s in self._sources]):
            self._sources[partition].look = True
        self._pause = FIRST_PAUSE_SECONDS


def _partitions_at_once(log: Log, order: read.Order) -> int:
    """How many pages may be held: a page has one event in any case, however large it is. The merged order needs the
    next event of every partition."""
    if order == "total":
        return log.partitions
    return max(min(log.partitions, BYTES_IN_ALL // log.settings.max_event_bytes), 1)


def _page_bounds(pages: int) -> tuple[int, int]:
    """Events and bytes of one of so many pages."""
    events = max(EVENTS_IN_ALL // pages, min(EVENTS_TO_MERGE, EVENTS_IN_MERGE // pages), 1)
    return min(EVENTS_PER_PARTITION, events), min(BYTES_PER_PARTITION, BYTES_IN_ALL // pages)


async def promise(log: Log, partition: int, time_us: int) -> tuple[Place, int]:
    """(head, time): nothing after place `head` will be recorded at or before `time`, which is `time_us` or later.
    Raises Unavailable, also if the promise is not as durable as the log's appends: ask again."""
    level = log.durability
    reply, *waits = await ask(
        log, _promise, [log.keys.head(partition)], [time_us], *level.commands, longer_by=level.wait_seconds
    )
    if not level.reached(waits):
        raise Unavailable(f"a promise has not reached {level.level} in time", reason="no-replicas", maybe_ran=True)
    epoch, position, time = reply
    return (int(epoch), position), time
