"""Finite reads: one stream, one partition, or all of them; up to the heads seen at the first step.

What is read is checked: versions and positions without a gap, and one history from the first page to the last.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Literal

import structlog

from eventstore import epochs, merge
from eventstore.arguments import at_least, must_be_flags, whole_number
from eventstore.codec import Entry
from eventstore.cursor import Cursor, Place, usable
from eventstore.entries import Entries
from eventstore.envelope import RecordedEvent
from eventstore.epochs import LostEvents, Observer
from eventstore.errors import EventsMissing, InvalidRequest
from eventstore.filters import Filter
from eventstore.log import Log
from eventstore.names import stream_name
from eventstore.pages import BYTES_PER_PAGE, PartitionPage, StreamPage, ask, head_place, partition_page, stream_page
from eventstore.partitions import partition_of
from eventstore.scan import Scan, end
from infrastructure import lua
from infrastructure.tasks import together

Order = Literal["partition", "total"]

STREAM_EVENTS_PER_PAGE = 256
BYTES_IN_ALL = 32 << 20  # pages held while all partitions are merged: one in use and one on its way of each
AHEAD = 4  # partitions read ahead of the one that is in use

logger = structlog.get_logger(__name__)
_position_at = lua.load("eventstore", "position_at")


async def read_stream(
    log: Log, stream: str, *, from_version: int | None = None, backwards: bool = False, limit: int | None = None
) -> AsyncIterator[RecordedEvent]:
    """The events of a stream in order of version, from `from_version` (None: the first, or backwards the last), at most
    `limit`, up to the version seen at the first step. Raises EventsMissing, InvalidEvent, InvalidRequest, Unavailable.
    """
    stream_name(stream)
    at_least(1, from_version=from_version)
    at_least(0, limit=limit)
    must_be_flags(backwards=backwards)
    async for page in stream_pages(log, stream, from_version, backwards, limit):
        for entry in page:
            yield log.recorded(entry)


async def stream_version(log: Log, stream: str) -> int:
    """The version of the stream's last event; 0 if there is none."""
    partition = partition_of(stream_name(stream), log.partitions)
    page = await stream_page(log, stream, partition, 0, 0, backwards=False, events=0, size=0)
    return page.version


async def stream_pages(
    log: Log,
    stream: str,
    from_version: int | None,
    backwards: bool = False,
    limit: int | None = None,
    begun: StreamPage | None = None,
) -> AsyncIterator[list[Entry]]:
    """`read_stream` by pages, with the data still as bytes. The first one may have come with another call: `begun`."""
    partition = partition_of(stream, log.partitions)
    first, last, left = from_version or (0 if backwards else 1), 0, limit
    highest = Observer()
    while left != 0:
        events = STREAM_EVENTS_PER_PAGE if left is None else min(left, STREAM_EVENTS_PER_PAGE)
        page = begun or await stream_page(
            log,
            stream,
            partition,
            first,
            last,
            backwards=backwards,
            events=events,
            size=BYTES_PER_PAGE,
            known=highest.chain,
        )
        entries, begun = page.page.entries, None
        _same_history(page, highest, stream, partition)
        first = min(first or page.version, page.version) if backwards else first
        last = last or (1 if backwards else page.version)
        _not_archived(stream, page, first, last, backwards)
        if not entries:
            return
        yield entries
        if not backwards or not highest.position:
            highest.move(page.page.epochs, max(entries[0].position, entries[-1].position))
        left = None if left is None else left - len(entries)
        first = entries[-1].version + (-1 if backwards else 1)
        if (first < last) if backwards else (first > last):
            return


def _same_history(page: StreamPage, highest: Observer, stream: str, partition: int) -> None:
    common = highest.common(page.page.epochs, page.page.head)
    if common < highest.position:
        where = f"partition {partition} (lost while {stream} was read)"
        raise EventsMissing(where, common + 1, highest.position)


def _not_archived(stream: str, page: StreamPage, first: int, last: int, backwards: bool) -> None:
    """What was seen at the start must come."""
    if not page.page.entries and ((last <= first) if backwards else (first <= last)) and first >= 1:
        raise EventsMissing(f"stream {stream}", min(first, last), max(first, last))


async def read_partition(
    log: Log,
    partition: int,
    *,
    from_position: int | None = None,
    backwards: bool = False,
    limit: int | None = None,
    where: Filter | None = None,
) -> AsyncIterator[RecordedEvent]:
    """The events of a partition in order of position, system streams too, from `from_position` (None: the first, or
    backwards the last), at most `limit` that match, up to the head seen at the first step. Raises EventsMissing,
    InvalidEvent, InvalidRequest, Unavailable."""
    if type(partition) is not int or not 0 <= partition < log.partitions:
        raise InvalidRequest(
            f"there is no partition {partition!r}", field="partition", remedy=f"0 to {log.partitions - 1}"
        )
    at_least(1, from_position=from_position)
    at_least(0, limit=limit)
    must_be_flags(backwards=backwards)
    where = log.resolved(where)
    first, last = await _bounds(log, partition, from_position, backwards, where)
    scan = Scan(
        log,
        partition,
        first=first,
        last=last,
        backwards=backwards,
        events=limit if where is None else None,
    )
    left = limit
    try:
        while left != 0 and (entries := await scan.next()):
            for event in _recorded(log, entries, where, system=True):
                yield event
                if left is not None:
                    left -= 1
                    if left == 0:
                        break
    finally:
        await scan.aclose()


def _recorded(
    log: Log, entries: Entries | list[Entry], where: Filter | None, *, system: bool
) -> Iterator[RecordedEvent]:
    """Those that are wanted; what is not is not decoded."""
    if where is None and isinstance(entries, Entries):
        return log.recorded_all(entries, system=system)
    return (
        log.recorded(entry)
        for entry in entries
        if (system or entry.stream[0] != "$") and (where is None or where.matches(entry))
    )


async def _bounds(
    log: Log, partition: int, from_position: int | None, backwards: bool, where: Filter | None
) -> tuple[int | None, int | None]:
    """Where a scan begins and ends, so that what lies outside of the filter's time range is not read."""
    lowest = None if where is None or where.since is None else (await _place_at(log, partition, where.since - 1))[1] + 1
    highest = None if where is None or where.until is None else (await _place_at(log, partition, where.until))[1]
    if backwards:
        first = from_position if highest is None else min(from_position or highest, highest)
        return first, lowest
    return (from_position if lowest is None else max(from_position or 1, lowest)), highest


async def read_all(
    log: Log,
    *,
    order: Order = "partition",
    backwards: bool = False,
    limit: int | None = None,
    where: Filter | None = None,
    cursor: Cursor | None = None,
    system: bool = False,
) -> AsyncIterator[RecordedEvent]:
    """The events of all partitions, up to the heads seen at the first step: partition after partition, or with
    `order="total"` merged by (recorded_at, partition, position).

    `cursor` begins after what a reader has had: after its places, or backwards at them and on to the first event
    (`cursor.before(event)` goes on after `event`). Where the log has lost events that the cursor lies behind, a warning
    is logged and the read begins at the last position that is surely common. System streams are left out unless
    `system`. Raises EventsMissing, InvalidEvent, InvalidRequest, Unavailable."""
    check_order(order)
    at_least(0, limit=limit)
    must_be_flags(backwards=backwards, system=system)
    where = log.resolved(where)
    scans = await _scans(log, backwards, limit if where is None and system else None, where, cursor)
    left = limit
    batches: AsyncIterator[Entries | list[Entry]]
    batches = _merged(scans, backwards) if order == "total" else _one_by_one(scans)
    try:
        if left == 0:
            return
        async for batch in batches:
            for event in _recorded(log, batch, where, system=system):
                yield event
                if left is not None:
                    left -= 1
                    if left == 0:
                        return
    finally:
        await end(scans)


async def _scans(
    log: Log, backwards: bool, events: int | None, where: Filter | None, cursor: Cursor | None
) -> list[Scan]:
    """One for each partition, bounded by its head, the cursor and the filter's times."""
    looks = await together([partial(partition_page, log, p, 1, events=0) for p in range(log.partitions)])
    highest = [look.head for look in looks]
    lowest = [1] * log.partitions
    if cursor is not None:
        places = _resumed(log, cursor, looks)
        if backwards:
            highest = list(map(min, highest, places))
        else:
            lowest = [position + 1 for position in places]
    if where is not None and where.until is not None:
        highest = list(map(min, highest, [position for _, position in (await position_at(log, where.until)).places]))
    if where is not None and where.since is not None:
        before = (await position_at(log, where.since - 1)).places
        lowest = [max(low, position + 1) for low, (_, position) in zip(lowest, before, strict=True)]
    size = max(min(BYTES_PER_PAGE, BYTES_IN_ALL // (2 * log.partitions)), 1)
    ends = zip(highest, lowest, strict=True) if backwards else zip(lowest, highest, strict=True)
    return [
        Scan(log, p, first=first, last=last, backwards=backwards, events=events, page_bytes=size, look=look)
        for p, (look, (first, last)) in enumerate(zip(looks, ends, strict=True))
    ]


async def _one_by_one(scans: Sequence[Scan]) -> AsyncIterator[Entries]:
    for i, scan in enumerate(scans):
        for following in scans[i : i + 1 + AHEAD]:
            following.prefetch()
        while entries := await scan.next():
            yield entries


async def _merged(scans: Sequence[Scan], backwards: bool) -> AsyncIterator[list[Entry]]:
    key = merge.descending if backwards else merge.ascending
    lanes = {scan: merge.Lane(key) for scan in scans}
    while True:
        empty = [scan for scan, lane in lanes.items() if not lane.entries]
        for scan, entries in zip(empty, await together([scan.next for scan in empty]), strict=True):
            lanes[scan].show(entries)
            if scan.done:
                lanes[scan].known = merge.EVERYTHING
        batch = merge.take(lanes.values(), key)
        if not batch:
            return
        yield batch
        lanes = {scan: lane for scan, lane in lanes.items() if lane.entries or not scan.done}


def _resumed(log: Log, cursor: Cursor, looks: Sequence[PartitionPage]) -> list[int]:
    """The positions of a cursor; where the log has lost some of it, the common one."""
    positions = []
    for p, (place, look) in enumerate(zip(usable(cursor, log.partitions).places, looks, strict=True)):
        common = epochs.common_position_of(place, epochs.parse(look.epochs or b""), look.head)
        if common < place[1]:
            warn_of_loss(LostEvents(None, p, place[0], common + 1, place[1]))
        positions.append(common)
    return positions


def warn_of_loss(lost: LostEvents) -> None:
    logger.warning("events_lost", **{name: getattr(lost, name) for name in LostEvents.__struct_fields__})


async def heads(log: Log) -> Cursor:
    """The last place of each partition."""
    return Cursor(tuple(await together([partial(head_place, log, p) for p in range(log.partitions)])))


async def position_at(log: Log, time_us: int) -> Cursor:
    """The last place of each partition that was recorded at or before a time, in microseconds since 1970."""
    whole_number("microseconds since 1970, such as the recorded_at of an event", time_us=time_us)
    return Cursor(tuple(await together([partial(_place_at, log, p, time_us) for p in range(log.partitions)])))


async def _place_at(log: Log, partition: int, time_us: int) -> Place:
    keys = [log.keys.head(partition), log.keys.events(partition)]
    reply = (await ask(log, _position_at, keys, [time_us]))[0]
    if len(reply) == 1:
        raise EventsMissing(f"partition {partition}", reply[0], reply[0])
    return int(reply[0]), reply[1]


def check_order(order: str) -> None:
    if order not in ("partition", "total"):
        raise InvalidRequest(f"there is no order {order!r}", field="order", remedy='"partition" or "total"')
