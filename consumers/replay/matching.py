"""Whether what a replay asks for by type or correlation id is there at all: a name that is mistyped would pass over
everything, and say nothing."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from difflib import get_close_matches

from consumers.replay.request import PartMove, Request, StreamMove
from eventstore.codec import Entry
from eventstore.filters import Filter
from eventstore.log import Log
from eventstore.read import stream_pages
from eventstore.scan import Scan

LOOKED_AT = 100_000
"""So many events at most: half a second."""


async def unmet(log: Log, request: Request, partitions: Sequence[PartMove], streams: Sequence[StreamMove]) -> list[str]:
    """What of it no event has that the moves go over, each as a sentence; looks until all was met once. Raises
    EventsMissing, Unavailable, LogDamaged."""
    if not request.types and request.correlation_id is None:
        return []
    look = _Look(log, request)
    async with aclosing(_pages(log, partitions, streams)) as pages:
        async for page in pages:
            look.at(page)
            if look.is_over:
                break
    return look.told() if look.events else []


class _Look:
    def __init__(self, log: Log, request: Request) -> None:
        self._correlation_id = request.correlation_id
        self._wanted = {each: set(log.types.names_of(each)) for each in request.types}
        where = log.resolved(Filter(request.types, correlation_id=request.correlation_id))
        self._where = where or Filter()
        self._types: set[str] = set()
        self._matched = False
        self.events = 0

    def at(self, page: Sequence[Entry]) -> None:
        self.events += len(page)
        self._types.update(entry.type for entry in page)
        self._matched = self._matched or any(map(self._where.matches, page))

    @property
    def is_over(self) -> bool:
        return self.events >= LOOKED_AT or (self._matched and not self._missing)

    @property
    def _missing(self) -> list[str]:
        return [each for each, names in self._wanted.items() if not names & self._types]

    def told(self) -> list[str]:
        none = f"none of the {'first ' if self.events >= LOOKED_AT else ''}{self.events:,} events"
        if missing := self._missing:
            return [f"{none} is of type {each}{self._near(each)}" for each in missing]
        if self._matched:
            return []
        also = " and is of such a type" if self._wanted else ""
        return [f"{none} has correlation id {self._correlation_id}{also}"]

    def _near(self, name: str) -> str:
        ours = [each for each in self._types if not each.startswith("eventstore.")]
        near = get_close_matches(name, ours, n=1)
        return f": did you mean {near[0]}?" if near else f": there are {', '.join(sorted(ours)[:5])}" if ours else ""


async def _pages(
    log: Log, partitions: Sequence[PartMove], streams: Sequence[StreamMove]
) -> AsyncGenerator[Sequence[Entry], None]:
    for part in partitions:
        if part.events:
            last = part.from_ if part.until is None else min(part.until, part.from_)
            scan = Scan(log, part.partition, first=part.to + 1, last=last)
            try:
                while page := list(await scan.next()):
                    yield page
            finally:
                await scan.aclose()
    for each in streams:
        if each.events:
            async for entries in stream_pages(log, each.stream, each.to, limit=each.events):
                yield entries
