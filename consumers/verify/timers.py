"""Events that wait for their time: each is kept once, in full, under its own id, in the partition of its stream."""

import struct
from uuid import UUID

from consumers.keys import TimerKeys, timer_keys
from consumers.scripted import ask
from consumers.timers.calls import Whole, listed_whole
from eventstore.codec import unpack
from eventstore.errors import LogDamaged
from eventstore.log import Log
from eventstore.partitions import partition_of
from eventstore.verify import Findings
from infrastructure import lua
from infrastructure.patience import replies

PAGE = 250
_HEADER = struct.Struct(">BQc")
_LETTERS = {b".", b"N", b"H", b"C"}
_BEGINNING = struct.pack(">BQ", 1, 1) + (1).to_bytes(6, "big")
"""What fire.lua puts before a packed event: format, time and version."""
_strays = lua.load("consumers", "stray_timers")


async def check_timers(log: Log, partition: int, findings: Findings) -> None:
    """Of each page what waits and what is kept are read at one moment, so timers may fire meanwhile. Raises
    Unavailable."""
    keys = timer_keys(log.keys, partition)
    (there,) = await replies(log.redis, keys.due, ("EXISTS", keys.due, keys.what))
    if not there:  # who may verify a log without timers needs no right to look at them
        return
    try:
        await _check_waiting(log, partition, keys, findings)
        await _check_strays(log, partition, keys, findings)
    except LogDamaged as error:
        findings.add("timers", 1, partition, keys.due, f"the timers cannot be read: {error.detail}; restore a backup")


async def _check_waiting(log: Log, partition: int, keys: TimerKeys, findings: Findings) -> None:
    last: Whole | None = None
    while page := await listed_whole(log, partition, last, PAGE):
        for each in page:
            if wrong := _wrong_with(log, partition, each):
                remedy = f"no timer behind it fires: HGET {keys.what} {each.id} for a copy, ZREM {keys.due} {each.id}"
                findings.add(
                    "timer", 1, partition, f"timer {each.id}", f"{wrong}; {remedy}, HDEL {keys.what} {each.id}"
                )
        last = page[-1]
        if len(page) < PAGE:
            return


async def _check_strays(log: Log, partition: int, keys: TimerKeys, findings: Findings) -> None:
    cursor = b"0"
    while True:
        cursor, strays = await ask(log, _strays, [keys.due, keys.what], [cursor, PAGE])
        for timer in strays:
            name = timer.decode("utf-8", "replace")
            detail = f"it is kept, and nothing waits for it: ZADD {keys.due} MS {name} for when it is due, or HDEL it"
            findings.add("stray", 1, partition, f"timer {name}", f"{detail} from {keys.what}")
        if cursor == b"0":
            return


def _wrong_with(log: Log, partition: int, timer: Whole) -> str | None:
    if timer.value is None:
        return "it waits, and the event is gone"
    try:
        version, _, letter = _HEADER.unpack_from(timer.value)
        event = unpack(partition, b"1-1", _BEGINNING + timer.value[_HEADER.size :])
        if version != 1 or letter not in _LETTERS:
            return f"it begins with {timer.value[: _HEADER.size]!r}, which no release writes"
        if event.id != UUID(timer.id):
            return f"it waits as another event, {event.id}"
    except (struct.error, ValueError, LogDamaged) as error:
        return f"it is no event: {error}"
    home = partition_of(event.stream, log.partitions)
    return None if home == partition else f"its stream {event.stream} lies in partition {home}"
