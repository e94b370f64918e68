"""The calls of a relay: read what waits, have it taken, remove what was taken. Each is sent once."""

from collections.abc import Iterator, Sequence

from consumers.outbox import Call, Page, Reading, Waiting
from consumers.scripted import Argument, ask, entry_id, place, write
from consumers.state import Outgoing
from eventstore.cursor import Place
from eventstore.durability import SYNCED
from eventstore.errors import LogDamaged
from eventstore.log import Log
from infrastructure import lua

PAGE_EVENTS, PAGE_BYTES = 256, 1 << 20
_FIELDS = 6
_outgoing = lua.load("consumers", "outgoing")
_take = lua.load("consumers", "take")
_forget = lua.load("consumers", "forget_outgoing")


async def read_outgoing(log: Log, partition: int, reading: Reading) -> Page:
    """A page of what waits in `partition`, when all of it is as durable as the log promises. Raises Unavailable,
    LogDamaged."""
    keys = [log.keys.outgoing(partition), log.keys.incoming(partition)]
    must_write = log.durability.wait not in (None, SYNCED)
    args: list[Argument] = [entry_id(reading.after), PAGE_EVENTS, PAGE_BYTES, int(must_write)]
    args += [entry_id(mark) for mark in reading.marks]
    process, more, there, words = await write(log, _outgoing, keys, args)
    return Page(process, list(_entries(log, partition, words)), bool(more), [bool(each) for each in there])


async def take(log: Log, source: int, target: int, call: Call) -> Place:
    """Has events of `source` taken by `target` if they follow what it has taken from there last, and tells which that
    is now, when it is as durable as the log promises. The same call again changes nothing. Raises Unavailable, whose
    `maybe_ran` does not matter; LogDamaged."""
    fixed = [log.keys.head(target), log.keys.events(target), log.keys.urgent(target), log.keys.incoming(target)]
    streams = dict.fromkeys(each.event.stream for each in call.entries)
    places = {stream: i for i, stream in enumerate(streams, len(fixed) + 1)}
    args: list[Argument] = [source, entry_id(call.expect), len(call.entries)]
    for each in call.entries:
        event = each.event
        args += (entry_id(each.id), places[event.stream], event.cause_recorded_at, event.letter, event.packed)
    indexes = [log.keys.index(target, stream) for stream in streams]
    return place(await write(log, _take, [*fixed, *indexes], args))


async def forget_outgoing(log: Log, partition: int, process: bytes, ids: Sequence[Place]) -> bytes:
    """Removes what was taken, if `process` still serves the partition, and tells which one does. Raises Unavailable."""
    answer = await ask(log, _forget, [log.keys.outgoing(partition)], [process, *(entry_id(each) for each in ids)])
    return bytes(answer)


def _entries(log: Log, partition: int, words: Sequence[bytes]) -> Iterator[Waiting]:
    for entry, target, stream, packed, cause, letter in zip(*[iter(words)] * _FIELDS, strict=True):
        try:
            event = Outgoing(int(target), stream.decode(), packed, int(cause), letter.decode())
        except ValueError as error:
            raise _damaged(log, partition, entry) from error
        if event.partition >= log.partitions:
            raise _damaged(log, partition, entry)
        yield Waiting(place(entry), event)


def _damaged(log: Log, partition: int, entry: bytes) -> LogDamaged:
    return LogDamaged(
        f"{log.keys.outgoing(partition)} has an entry {entry.decode()} that is no returned event",
        remedy="look what else writes to this key; keep a copy of the entry and remove it, or restore a backup",
    )
