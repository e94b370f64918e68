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
AHEAD_MS = 100
"""So far ahead is told what will be due: it can be fired without another look."""
_due = lua.load("consumers", "due")
_fire = lua.load("consumers", "fire")


class Told(Struct, frozen=True):
    """A timer that is due, or will be in a moment."""

    id: bytes
    stream: str
    due_ms: int


class Due(Struct, frozen=True):
    """What waits at `now_ms` of the server's clock, as far as it is told of, in order of the due times; and when the
    next one is due, not before, of which nothing is told, None if no more wait. `fired` were appended just before."""

    now_ms: int
    later_ms: int | None
    told: tuple[Told, ...]
    fired: int = 0

    @property
    def next_ms(self) -> int | None:
        """When the next one is due; None if none waits."""
        return self.told[0].due_ms if self.told else self.later_ms

    def until(self, server_ms: float) -> tuple[Told, ...]:
        """Those that are due at that time of the server's clock."""
        return tuple(each for each in self.told if each.due_ms <= server_ms)


async def look(log: Log, partition: int, *, now_ms: int | None = None) -> Due:
    """What waits in a partition; `now_ms`, for tests, replaces the server's time. Raises Unavailable, LogDamaged."""
    keys = timer_keys(log.keys, partition)
    return _parsed(await ask(log, _due, [keys.due, keys.what], [MOST_TIMERS, MOST_BYTES, AHEAD_MS, _text(now_ms)]))


async def fire(log: Log, partition: int, timers: Sequence[Told], *, now_ms: int | None = None) -> Due:
    """Appends these in order of their due times, as far as they wait and are due; what waits then. Raises Unavailable,
    LogDamaged."""
    keys, of_log = timer_keys(log.keys, partition), log.keys
    fixed = [of_log.head(partition), of_log.events(partition), of_log.urgent(partition), *of_log.duplicates(partition)]
    fixed += [keys.due, keys.what]
    streams = {stream: i for i, stream in enumerate(dict.fromkeys(each.stream for each in timers), len(fixed) + 1)}
    args: list[Argument] = [log.duplicate_window_us, MOST_TIMERS, MOST_BYTES, AHEAD_MS, _text(now_ms), len(timers)]
    for each in timers:
        args += (each.id, streams[each.stream])
    indexes = [of_log.index(partition, stream) for stream in streams]
    return _parsed(await ask(log, _fire, [*fixed, *indexes], args))


def _text(now_ms: int | None) -> str:
    return "" if now_ms is None else str(now_ms)


def _parsed(reply: Reply) -> Due:
    now_ms, later_ms, flat, *fired = reply
    told = tuple(Told(timer, stream.decode(), due) for timer, stream, due in zip(*[iter(flat)] * 3, strict=True))
    return Due(now_ms, later_ms if later_ms >= 0 else None, told, *fired)
