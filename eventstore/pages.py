"""One page of a partition or a stream, in one call: what all reading is made of.

A page is bounded by events and by bytes, and comes with what the log looked like in that moment: the head position, and
the epochs with which a reader compares its own history. A script sees to both. For a long page of a partition, turning
entries into Lua's values is most of what the script costs the server (1.2 of 2.0 us an event); where a reader knows
enough to bound it, it comes by a plain XRANGE behind the script's look (spans.py tells why that is the same).
"""

from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from eventstore.codec import Entry
from eventstore.cursor import Place
from eventstore.entries import Entries, Run, unpack_all
from eventstore.epochs import Chain, epoch_at
from eventstore.errors import EventsMissing
from eventstore.log import Log, refused
from eventstore.spans import NO_BOUND, Bound, Span, span_of
from infrastructure import lua
from infrastructure.connect import Command, Reply
from infrastructure.patience import patiently

EVENTS_PER_PAGE = 1_000
BYTES_PER_PAGE = 1 << 20

_read_partition = lua.load("eventstore", "read_partition")
_read_stream = lua.load("eventstore", "read_stream")


class Page(Struct, frozen=True):
    """Consecutive entries, in the direction asked for, and the partition's head position and epochs as of the call;
    None for the epochs if they are those that the caller knows."""

    head: int
    epochs: bytes | None
    entries: list[Entry]


class PartitionPage(Struct, frozen=True):
    """The same of a partition, its entries not unpacked yet. In a log that an older release began, which does not know
    its largest event, `bound` is NO_BOUND."""

    head: int
    epochs: bytes | None
    bound: Bound
    entries: Entries


class StreamPage(Struct, frozen=True):
    """Consecutive versions of a stream, the version it is at, and how many of its events are archived."""

    version: int
    archived: int
    page: Page


async def partition_page(
    log: Log,
    partition: int,
    first: int,
    last: int = 0,
    *,
    backwards: bool = False,
    events: int = EVENTS_PER_PAGE,
    size: int = BYTES_PER_PAGE,
    known: Chain | None = None,
    bound: Bound = NO_BOUND,
) -> PartitionPage:
    """Entries from position `first` (0: the end where that direction begins) to `last` (0: to the other end), at most
    `events` (0: only head and epochs are asked for) and `size` bytes, but one in any case. The epochs come only if they
    are not the `known` ones. With the `bound` of the look that showed these, a long page costs the server less. Raises
    EventsMissing where the log has a hole, Unavailable, LogDamaged."""
    if known:
        span = span_of(known, bound, first, last, backwards=backwards, events=events, size=size)
        if span and (page := await _plain_page(log, partition, known, span)):
            return page
    args = [first, last, events, size, int(backwards), *_hints(known, first, last)]
    head, _, epochs, largest, *replies = (await ask(log, _read_partition, _keys(log, partition), args))[0]
    by = -1 if backwards else 1
    position = min(first or head, head) if backwards else max(first, 1)
    end = max(last, 1) if backwards else min(last or head, head)
    runs = []
    for first_id, _, *values in replies:
        epoch, _, at = first_id.partition(b"-")
        if int(at) != position:
            raise _hole(partition, position, int(at) - by)
        runs.append(Run(int(epoch), position, by, values))
        position += by * len(values)
    if events and not runs and (end - position) * by >= 0:
        raise _hole(partition, position, end)
    return PartitionPage(head, epochs, _bound(head, largest), Entries(partition, runs))


async def _plain_page(log: Log, partition: int, known: Chain, span: Span) -> PartitionPage | None:
    """The span by XRANGE, behind a look at the head on the same connection. None if the history is not the known one,
    if anything of the span did not come, or if it was refused: a page by script then tells what there is."""
    keys = _keys(log, partition)
    look, found = await ask(log, _read_partition, keys, _look(_newest(known)), span.command(keys[1]))
    head, _, epochs, largest = look
    if epochs is not None or head < max(span.first, span.last) or isinstance(found, Exception):
        return None
    if len(found) != span.count:
        return None
    run = Run(span.epoch, span.first, span.by, [fields[1] for _, fields in found])
    return PartitionPage(head, None, _bound(head, largest), Entries(partition, [run]))


def _bound(head: int, largest: bytes | None) -> Bound:
    return NO_BOUND if largest is None else Bound(head, int(largest))


def _look(known: str | int) -> list[str | int]:
    """The script's arguments for head and epochs alone."""
    return [1, 0, 0, 0, 0, known, 0, 0]


async def head_place(log: Log, partition: int) -> Place:
    """The last place of a partition. Raises Unavailable, LogDamaged."""
    reply = (await ask(log, _read_partition, _keys(log, partition), _look("-")))[0]
    return int(reply[1]), reply[0]


def _keys(log: Log, partition: int) -> list[str]:
    return [log.keys.head(partition), log.keys.events(partition)]


def _hints(known: Chain | None, first: int, last: int) -> tuple[str | int, int, int]:
    """What spares the server the look at the epochs, if they are still the same."""
    if known is None:
        return _newest(known), 0, 0
    return _newest(known), epoch_at(known, first), epoch_at(known, last)


def _newest(known: Chain | None) -> str | int:
    """It names the chain."""
    if known is None:
        return ""
    return known[-1].epoch if known else 0


def _hole(partition: int, one: int, other: int) -> EventsMissing:
    return EventsMissing(f"partition {partition}", min(one, other), max(one, other))


async def stream_page(
    log: Log,
    stream: str,
    partition: int,
    first: int,
    last: int,
    *,
    backwards: bool,
    events: int,
    size: int,
    known: Chain | None = None,
) -> StreamPage:
    """Versions from `first` (0: the end where that direction begins) to `last` (0: to the other end). The epochs come
    only if they are not the `known` ones. Raises EventsMissing, Unavailable, LogDamaged."""
    keys = [*_keys(log, partition), log.keys.index(partition, stream)]
    reply = (await ask(log, _read_stream, keys, [first, last, events, size, int(backwards), _newest(known)]))[0]
    version, archived, head, epochs, *flat = reply
    start = min(first or version, version) if backwards else max(first, 1)
    entries = stream_entries(stream, partition, start, flat, by=-1 if backwards else 1)
    return StreamPage(version, archived, Page(head, epochs, entries))


def stream_entries(stream: str, partition: int, start: int, flat: Sequence[Reply], *, by: int) -> list[Entry]:
    """Ids and values, in turn, as the entries of consecutive versions. Raises EventsMissing where one is not there."""
    ids, values = flat[::2], flat[1::2]
    there = values[:-1] if values and values[-1] is None else values
    places = [entry_id.split(b"-") for entry_id in ids]
    epochs, positions = [int(epoch) for epoch, _ in places], [int(position) for _, position in places]
    entries: list[Entry] = []
    for expected, entry in zip(count(start, by), unpack_all(partition, epochs, positions, there), strict=False):
        if entry.version != expected or entry.stream != stream:
            raise EventsMissing(f"stream {stream}", expected, expected)
        entries.append(entry)
    if len(entries) < len(values):
        missing = start + by * len(entries)
        raise EventsMissing(f"stream {stream}", missing, missing)
    return entries


async def ask(
    log: Log,
    script: lua.Script,
    keys: Sequence[str],
    args: Sequence[str | bytes | int],
    *then: Command,
    longer_by: float = 0.0,
) -> list[Reply]:
    """The replies to a script that may be repeated without harm. While a slot moves or a failover is under way it is,
    for up to 5 s; any other refusal is raised."""

    async def attempt() -> list[Reply]:
        replies = await lua.call(log.redis, script, keys, args, *then, longer_by=longer_by)
        if isinstance(replies[0], Exception):
            raise refused(replies[0])
        return replies

    return await patiently(attempt)
