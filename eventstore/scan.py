"""A finite walk through one partition, page by page, the next one on its way while this one is used."""

import asyncio
from collections.abc import Iterable

import anyio

from eventstore.entries import Entries
from eventstore.epochs import Observer
from eventstore.errors import EventsMissing
from eventstore.log import Log
from eventstore.pages import BYTES_PER_PAGE, EVENTS_PER_PAGE, PartitionPage, partition_page
from eventstore.spans import NO_BOUND


class Scan:
    """Positions `first` to `last`, both inclusive (None: the end where the direction begins, and the other one; which
    that is, is decided by the first page). Raises EventsMissing for a hole, and for events that were read or promised
    and have been lost since."""

    def __init__(
        self,
        log: Log,
        partition: int,
        *,
        first: int | None = None,
        last: int | None = None,
        backwards: bool = False,
        events: int | None = None,
        page_events: int = EVENTS_PER_PAGE,
        page_bytes: int = BYTES_PER_PAGE,
        look: PartitionPage | None = None,
    ) -> None:
        """`events` is how many are wanted at most. `look` is a page without events, from which the bounds were taken:
        with it also the first page need not come by script."""
        self._log, self.partition = log, partition
        self._next, self._last, self._backwards = first or 0, last, backwards
        self._left, self._page_events, self._page_bytes = events, page_events, page_bytes
        self._observer: Observer | None = None
        self._bound = NO_BOUND  # with the observer's chain from one look
        self._look = look
        self._task: asyncio.Task[PartitionPage] | None = None
        start = first if backwards or first is not None else 1
        self.done = events == 0 or (start is not None and self._outside(start))

    def prefetch(self) -> None:
        """Asks for the next page, if there may be one."""
        if self._task is None and not self.done:
            self._task = asyncio.create_task(self._fetch())

    async def next(self) -> Entries:
        """The next page's entries; empty at the end. The one after it has been asked for when this returns: whoever
        uses a page lets no task run meanwhile, and the server would wait until it is used up."""
        if self.done:
            return Entries(self.partition, [])
        self.prefetch()
        assert self._task is not None  # noqa: S101 - just made
        page = await self._task
        self._task = None
        self._compare(page)
        self._advance(page.entries)
        self.prefetch()
        if self._task is not None:
            await asyncio.sleep(0)
        return page.entries

    async def aclose(self) -> None:
        """Ends the call in flight. To be called whenever the walk may not have come to its end."""
        await end([self])

    def stop(self) -> "asyncio.Task[PartitionPage] | None":
        """The call in flight, which has been told to end. For `end`."""
        task, self._task, self.done = self._task, None, True
        if task is not None:
            task.cancel()
        return task

    async def _fetch(self) -> PartitionPage:
        if self._look is not None:
            self._begin(self._look)
            self._look = None
        events = self._page_events if self._left is None else min(self._page_events, self._left)
        return await partition_page(
            self._log,
            self.partition,
            self._next,
            self._last or 0,
            backwards=self._backwards,
            events=events,
            size=self._page_bytes,
            known=self._observer.chain if self._observer else None,
            bound=self._bound,
        )

    def _begin(self, page: PartitionPage) -> Observer:
        top = min(self._next or page.head, page.head) if self._backwards else self._next - 1
        self._observer = Observer()
        self._observer.move(page.epochs, max(min(top, page.head), 0))
        self._bound = page.bound
        if self._last is None:
            self._last = 1 if self._backwards else page.head
        return self._observer

    def _compare(self, page: PartitionPage) -> None:
        """The history must not change under a reader: it would mix two."""
        observer = self._observer or self._begin(page)
        must_be_there = observer.position
        common = observer.common(page.epochs, page.head)
        if not self._backwards and self._last is not None and self._last > page.head:
            common, must_be_there = min(common, page.head), self._last
        if common < must_be_there:
            raise EventsMissing(f"partition {self.partition} (lost while it was read)", common + 1, must_be_there)
        going_on = bool(page.entries) and not self._backwards
        observer.move(page.epochs, page.entries.last_position if going_on else must_be_there)
        if page.epochs is not None:
            self._bound = page.bound  # in an unchanged history the older one holds, and is lower

    def _advance(self, entries: Entries) -> None:
        if not entries:
            self.done = True
            return
        self._next = entries.last_position + (-1 if self._backwards else 1)
        if self._left is not None:
            self._left -= len(entries)
        self.done = self._left == 0 or self._outside(self._next)

    def _outside(self, position: int) -> bool:
        if self._backwards:
            return position < (self._last or 1)
        return self._last is not None and position > self._last


async def end(scans: Iterable[Scan]) -> None:
    """Ends the calls in flight of all, also where a scope is cancelled again and again: that would end each wait, and
    leave the calls behind it."""
    tasks = [task for scan in scans if (task := scan.stop()) is not None]
    if tasks:
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
