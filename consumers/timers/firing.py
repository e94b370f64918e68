"""The calls by which timers are fired: look which are due, and append them. Whoever makes them, and however often, an
event is appended once: whether it still waits is asked by the script that appends it.

Nothing of it waits for the log's durability, and nothing needs to: what was appended and what waits lie in one slot, so
a failover takes back both.
"""

from collections.abc import Sequence

from msgspec import Struct

from consumers.keys import timer_keys
from consumers.scripted import Argument, ask
from eventstore.log import Log
from infrastructure import lua
from infrastructure.connect import Reply

MOST_TIMERS, MOST_BYTES = 256, 1 << 20
_due = lua.load("consumers", "due")
_fire = lua.load("consumers", "fire")


class Due(Struct, frozen=True):
    """Timers that are due at `now_ms` of the server's clock, in their order: id and stream of each; and when the next
    one is, None if no more wait. `fired` were appended just before."""

    now_ms: int
    next_ms: int | None
    timers: tuple[tuple[bytes, str], ...]
    fired: int = 0


async def look(log: Log, partition: int, *, now_ms: int | None = None) -> Due:
    """What is due in a partition; `now_ms`, for tests, replaces the server's time. Raises Unavailable, LogDamaged."""
    keys = timer_keys(log.keys, partition)
    return _parsed(await ask(log, _due, [keys.due, keys.what], [MOST_TIMERS, MOST_BYTES, _text(now_ms)]))


async def fire(log: Log, partition: int, timers: Sequence[tuple[bytes, str]], *, now_ms: int | None = None) -> Due:
    """Appends these in order of their due times, as far as they wait and are due; what is due then. Raises Unavailable,
    LogDamaged."""
    keys, of_log = timer_keys(log.keys, partition), log.keys
    fixed = [of_log.head(partition), of_log.events(partition), of_log.urgent(partition), *of_log.duplicates(partition)]
    fixed += [keys.due, keys.what]
    streams = {stream: i for i, stream in enumerate(dict.fromkeys(stream for _, stream in timers), len(fixed) + 1)}
    args: list[Argument] = [log.duplicate_window_us, MOST_TIMERS, MOST_BYTES, _text(now_ms), len(timers)]
    for timer, stream in timers:
        args += (timer, streams[stream])
    indexes = [of_log.index(partition, stream) for stream in streams]
    return _parsed(await ask(log, _fire, [*fixed, *indexes], args))


def _text(now_ms: int | None) -> str:
    return "" if now_ms is None else str(now_ms)


def _parsed(reply: Reply) -> Due:
    now_ms, next_ms, told, *fired = reply
    timers = tuple((timer, stream.decode()) for timer, stream in zip(told[::2], told[1::2], strict=True))
    return Due(now_ms, next_ms if next_ms >= 0 else None, timers, *fired)
