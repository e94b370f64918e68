"""The calls by which timers are made, taken back and listed. All may be repeated without harm, and are, for as long as
an append may take: the id of the event tells a repeat.

The saga package schedules and takes back by `schedule_event` and `unschedule`; api.py is for everybody else.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import anyio
from msgspec import Struct

from consumers.errors import Unavailable
from consumers.keys import timer_keys
from consumers.scripted import Argument, ask, write
from eventstore.append import Append, StreamAppend, encode
from eventstore.envelope import NewEvent
from eventstore.errors import IdConflict, OutcomeUnknown
from eventstore.log import Log
from eventstore.names import stream_name
from eventstore.partitions import partition_of
from infrastructure import lua
from infrastructure.connect import Reply

PAUSE_SECONDS = 0.05
_LASTING = {"permission", "authentication", "unsupported", "closed"}
"""Reasons that no repetition mends."""
T = TypeVar("T")
_schedule = lua.load("consumers", "schedule")
_unschedule = lua.load("consumers", "unschedule")
_scheduled = lua.load("consumers", "scheduled")
_prepare = lua.load("consumers", "prepare_timers")


class Kept(Struct, frozen=True):
    """What became of an event that was to wait. `due_ms` is None if the log has it; it is the first one's if the event
    waits already."""

    is_new: bool
    due_ms: int | None


async def schedule_event(log: Log, stream: str, event: NewEvent, due_us: int, cause_recorded_at: int = 0) -> bool:
    """Has an event appended to `stream` at `due_us` (microseconds by the server's clock, rounded up to a millisecond;
    what is past is due at once), recorded above its cause. True if it waits now by this call, False if it had been
    scheduled or appended under its id before: for ever if it still waits, else as far as the duplicate window tells.
    Raises InvalidEvent, InvalidRequest, TooLarge, IdConflict; Unavailable (not written), OutcomeUnknown."""
    encoded = encoded_event(log, stream_name(stream), event)
    return (await keep(log, encoded, str(max(-(-due_us // 1_000), 0)), cause_recorded_at)).is_new


async def unschedule(log: Log, stream: str, id: UUID) -> bool:  # noqa: A002 - the word of every envelope
    """Takes an event back that waits for its time. True: it will not be appended; False: it has been, or never waited
    for this stream. Raises Unavailable."""
    partition = partition_of(stream, log.partitions)
    keys = timer_keys(log.keys, partition)
    used = [*log.keys.duplicates(partition), keys.due, keys.what]

    async def attempt(before: bool) -> bool:
        answer, *_ = await write(log, _unschedule, used, [str(id), id.bytes, stream])
        return answer == b"cancelled" or (before and answer == b"none")  # by us, and the answer was lost

    return await _surely(log, attempt)


def encoded_event(log: Log, stream: str, event: NewEvent) -> Append:
    """One event, checked in full and encoded as an append of it would be. Raises what an append does for it."""
    return encode([StreamAppend(stream, [event])], {}, (), None, log.types, log.settings, log.partitions)


async def keep(log: Log, event: Append, when: str, cause_recorded_at: int = 0) -> Kept:
    """`when` is in ms since 1970, or behind a `+` from now. Raises IdConflict, Unavailable, OutcomeUnknown."""
    partition, (part,) = event.partition, event.parts
    keys = timer_keys(log.keys, partition)
    used = [log.keys.head(partition), log.keys.events(partition), *log.keys.duplicates(partition)]
    used += [keys.due, keys.what, keys.bell]
    (event_id,), letter = part.ids, part.letters or "N"

    async def attempt(before: bool) -> Kept:
        reply = await write(log, _schedule, used, [str(event_id), when, cause_recorded_at, letter, part.events[0]])
        match reply:
            case [b"conflict", why, stream, version, position]:
                told = f"{why.decode()}, as another event" + ("" if version else f" of {stream.decode()}")
                raise IdConflict(event_id, stream.decode(), version, partition, position, told)
            case [b"fired"]:
                return Kept(before, None)
            case [answer, due_ms]:
                return Kept(answer == b"made" or before, due_ms)
        raise AssertionError(reply)

    try:
        return await _surely(log, attempt)
    except Unavailable as error:
        if not error.maybe_ran:
            raise
        raise OutcomeUnknown(part.stream, part.ids, error.detail) from error


async def prepare(log: Log, partition: int) -> None:
    """Makes the keys of a partition's timers where there are none. Raises Unavailable."""
    keys = timer_keys(log.keys, partition)
    await ask(log, _prepare, [keys.due, keys.what, keys.bell], [])


class Listed(Struct, frozen=True):
    """A timer as it is listed."""

    due_ms: int
    id: str
    stream: str
    type: str


class Whole(Struct, frozen=True):
    """A timer with all that is kept of it; None if that is gone."""

    due_ms: int
    id: str
    value: bytes | None


async def listed(log: Log, partition: int, after: Listed | None, most: int) -> Sequence[Listed]:
    """The next `most` timers of a partition behind one of them, in order of their due times. Raises Unavailable,
    LogDamaged."""
    return [
        Listed(due_ms, timer.decode("utf-8", "replace"), stream.decode(), kind.decode())
        for due_ms, timer, stream, kind in await _page(log, partition, after, most, whole=0)
    ]


async def listed_whole(log: Log, partition: int, after: Whole | None, most: int) -> Sequence[Whole]:
    """The same with all that is kept of each."""
    return [
        Whole(due_ms, timer.decode("utf-8", "replace"), value if is_there else None)
        for due_ms, timer, is_there, value in await _page(log, partition, after, most, whole=1)
    ]


async def _page(log: Log, partition: int, after: Listed | Whole | None, most: int, *, whole: int) -> Reply:
    keys = timer_keys(log.keys, partition)
    begin: list[Argument] = ["-inf", ""] if after is None else [after.due_ms, after.id]
    flat = await ask(log, _scheduled, [keys.due, keys.what], [*begin, most, whole])
    return zip(*[iter(flat)] * 4, strict=True)


async def _surely(log: Log, attempt: Callable[[bool], Awaitable[T]]) -> T:
    """What `attempt` returns; it is made again while the server refuses or cannot be reached. It is told whether one
    before may have taken effect, and the Unavailable that comes out in the end tells, too."""
    over_at = anyio.current_time() + log.settings.append_timeout_seconds
    before = False
    while True:
        try:
            return await attempt(before)
        except Unavailable as error:
            error.maybe_ran = before = before or error.maybe_ran
            if error.reason in _LASTING or anyio.current_time() + PAUSE_SECONDS > over_at:
                raise
        await anyio.sleep(PAUSE_SECONDS)
