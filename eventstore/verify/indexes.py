"""What says something about the log of a partition, against the log: index lists, snapshots, urgent index, duplicate
buckets.

Each may know more than the walk, which ended at the head of its start; beyond the head of the moment nothing can be.
"""

from array import array
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from eventstore.key_scan import keys_of
from eventstore.log import Log
from eventstore.verify.walk import ID_BYTES, Walk
from infrastructure.connect import Command, Reply
from infrastructure.patience import replies

STREAMS_AT_ONCE = 200
FIRST_PAGE, LIST_PAGE = 100, 10_000  # most streams are short, a few may be all of the log
SCAN_COUNT = 1_000
URGENT_PAGE = 1_000


async def check_urgent(log: Log, walk: Walk) -> None:
    key = log.keys.urgent(walk.partition)
    expected = iter(walk.urgent)
    awaited = next(expected, None)
    async for epoch, position, letter in _urgent_entries(log, key, walk.limit):
        while awaited is not None and awaited[1] < position:
            walk.say("urgent", 2, f"position {awaited[1]}", "this urgent event is not in the index of urgent events")
            awaited = next(expected, None)
        if awaited is not None and awaited[1] == position:
            if awaited != (epoch, position, letter):
                detail = f"the index of urgent events has it as {epoch}-{position} {letter.decode(errors='replace')}"
                walk.say("urgent", 2, f"position {position}", f"{detail}, the log as {awaited[0]}-{position}")
            awaited = next(expected, None)
        elif not walk.covers(position):
            walk.say("urgent", 2, f"position {position}", "the index of urgent events has it, and it is not urgent")
    while awaited is not None:
        walk.say("urgent", 2, f"position {awaited[1]}", "this urgent event is not in the index of urgent events")
        awaited = next(expected, None)


async def _urgent_entries(log: Log, key: str, limit: int) -> AsyncIterator[tuple[int, int, bytes]]:
    start = "-"
    while True:
        (page,) = await run(log, key, ("XRANGE", key, start, "+", "COUNT", URGENT_PAGE))
        for entry_id, fields in page:
            epoch, _, position = entry_id.partition(b"-")
            if int(position) <= limit:
                yield int(epoch), int(position), fields[1]
        if len(page) < URGENT_PAGE:
            return
        start = "(" + page[-1][0].decode()


async def check_duplicates(log: Log, walk: Walk) -> None:
    head_key = log.keys.head(walk.partition)
    for key in log.keys.duplicates(walk.partition):
        cursor = b"0"
        while True:
            (cursor, flat), now = await run(
                log, head_key, ("HSCAN", key, cursor, "COUNT", SCAN_COUNT), ("HGET", head_key, "pos")
            )
            for raw_id, place in zip(flat[::2], flat[1::2], strict=True):
                if raw_id:
                    _check_duplicate(walk, key, raw_id, place, int(now or 0))
            if cursor == b"0":
                break


def _check_duplicate(walk: Walk, key: str, raw_id: bytes, place: bytes, now: int) -> None:
    position = int(place) if place.isdigit() else 0
    if walk.limit < position <= now or walk.covers(position) or walk.holds(position, raw_id):
        return
    said, name = place.decode(errors="replace"), UUID(bytes=raw_id) if len(raw_id) == ID_BYTES else raw_id.hex()
    walk.say("duplicate", 1, key, f"event id {name} is noted for position {said}, which is not that event")


async def check_indexes(log: Log, walk: Walk) -> None:
    """The index lists of the streams that the log has, then those of streams that it does not have; and all snapshots,
    for which the keys are gone through once as well."""
    streams = list(walk.streams)
    for at in range(0, len(streams), STREAMS_AT_ONCE):
        await _compare(log, walk, streams[at : at + STREAMS_AT_ONCE])
    index, snapshot = log.keys.index(walk.partition, ""), log.keys.snapshot(walk.partition, "")
    keys = await keys_of(log, walk.partition, log.keys.any_pattern(walk.partition))
    strangers = sorted({key.removeprefix(index) for key in keys if key.startswith(index)} - walk.streams.keys())
    snapshots = sorted(key.removeprefix(snapshot) for key in keys if key.startswith(snapshot))
    for at in range(0, len(strangers), STREAMS_AT_ONCE):
        await _compare(log, walk, strangers[at : at + STREAMS_AT_ONCE])
    for at in range(0, len(snapshots), STREAMS_AT_ONCE):
        await _check_snapshots(log, walk, snapshots[at : at + STREAMS_AT_ONCE])


async def _check_snapshots(log: Log, walk: Walk, streams: Sequence[str]) -> None:
    """That the log has the event at which each was made. Whether its state is the fold of them only the fold knows."""
    if not streams:
        return
    head_key, keys = log.keys.head(walk.partition), log.keys
    asked = [("HMGET", keys.snapshot(walk.partition, name), "version", "epoch", "position") for name in streams]
    found = await replies(log.redis, head_key, *asked, ("HGET", head_key, "pos"), bearing={"WRONGTYPE"})
    now = found.pop()
    for stream, reply in zip(streams, found, strict=True):
        try:
            version, epoch, position = map(int, reply)
        except (TypeError, ValueError):
            walk.say("snapshot", 2, stream, "its snapshot is damaged, so it is put aside")
            continue
        if not walk.limit < position <= int(now or 0):
            walk.snapshot(stream, version, epoch, position)


async def _compare(log: Log, walk: Walk, streams: Sequence[str]) -> None:
    if not streams:
        return
    head_key = log.keys.head(walk.partition)
    lists = [("LRANGE", log.keys.index(walk.partition, stream), 0, FIRST_PAGE - 1) for stream in streams]
    found = await replies(log.redis, head_key, *lists, ("HGET", head_key, "pos"), bearing={"WRONGTYPE"})
    now = found.pop()
    for stream, reply in zip(streams, found, strict=True):
        if isinstance(reply, Exception):
            walk.say("index", 2, stream, f"its index cannot be read: {reply}")
        elif len(reply) < FIRST_PAGE:
            _compare_one(walk, stream, _numbers(reply), int(now or 0))
        else:
            _compare_one(walk, stream, *await _whole(log, walk, stream))


async def _whole(log: Log, walk: Walk, stream: str) -> "tuple[array[int] | None, int]":
    """A long list, and the head position after it was read."""
    head_key, key = log.keys.head(walk.partition), log.keys.index(walk.partition, stream)
    listed = array("Q")
    while True:
        page = ("LRANGE", key, len(listed), len(listed) + LIST_PAGE - 1)
        reply, now = await run(log, head_key, page, ("HGET", head_key, "pos"))
        more = _numbers(reply)
        if more is None:
            return None, 0
        listed += more
        if len(more) < LIST_PAGE:
            return listed, int(now or 0)


def _numbers(reply: Sequence[bytes]) -> "array[int] | None":
    try:
        return array("Q", map(int, reply))
    except (ValueError, OverflowError):
        return None


def _compare_one(walk: Walk, stream: str, listed: "array[int] | None", now: int) -> None:
    if listed is None:
        walk.say("index", 2, stream, "its index holds something that is no position")
        return
    base = listed.pop(0) if listed else 0
    while listed and walk.limit < listed[-1] <= now:
        listed.pop()
    if base:
        walk.say("index", 2, stream, f"its index says that {base:,} events are archived, and none ever was")
    elif listed or stream in walk.streams:
        walk.index(stream, listed)


async def run(log: Log, key: str, *commands: Command) -> list[Reply]:
    """The replies to all commands; the first refusal is raised."""
    return await replies(log.redis, key, *commands)
