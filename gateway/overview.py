"""What the log holds, seen from above: its streams, and its partitions."""

from functools import partial
from heapq import nsmallest
from typing import Any

from msgspec import Struct

from eventstore import epochs
from eventstore.arguments import not_empty
from eventstore.key_scan import keys_of
from eventstore.log import FORMAT, Log
from eventstore.names import category_of
from eventstore.store import EventStore
from eventstore.stored_numbers import stored_number
from eventstore.wire import rfc3339
from infrastructure.connect import Reply
from infrastructure.patience import replies
from infrastructure.tasks import together


class StreamShape(Struct, frozen=True):
    """One stream. `last_recorded_at` is the time of its last event."""

    stream: str
    version: int
    partition: int
    last_recorded_at: str


class PartitionShape(Struct, frozen=True):
    """One partition. `bytes` is the memory of its events and of the index of urgent ones; None if not to be known."""

    partition: int
    position: int
    epoch: int
    epochs: int
    last_recorded_at: str | None
    bytes: int | None


class LogShape(Struct, frozen=True):
    """The log. `server_bytes` is what the servers use for everything they hold."""

    format: int
    prefix: str
    partitions: int
    durability: str
    duplicate_window_seconds: float
    events: int
    bytes: int | None
    server_bytes: int | None
    heads: list[PartitionShape]


async def streams(store: EventStore, *, category: str | None = None, limit: int | None = None) -> list[StreamShape]:
    """The streams in order of name, the first `limit` of them. Looks at every key of the log."""
    not_empty(category=category)
    names = [name for name in await _names(store.log) if category is None or category_of(name) == category]
    chosen = sorted(names) if limit is None else nsmallest(limit, names)
    found: dict[str, StreamShape] = {}

    async def look(name: str) -> None:
        async for event in store.read(name, backwards=True, limit=1):
            found[name] = StreamShape(name, event.version, event.partition, rfc3339(event.recorded_at))

    await together([partial(look, name) for name in chosen])
    return [found[name] for name in chosen if name in found]


async def _names(log: Log) -> set[str]:
    """The names of all streams but the system's own."""
    # One walk shows the keys of a whole server. In a Cluster no call says how many partitions a server has.
    found: set[str] = set()
    for partition in range(log.partitions if log.redis.is_cluster else 1):
        pattern = log.keys.index_pattern(partition)
        found |= await keys_of(log, partition, pattern if log.redis.is_cluster else _of_any_partition(pattern))
    return {name for name in map(log.keys.stream_of, found) if not name.startswith("$")}


def _of_any_partition(pattern: str) -> str:
    before, _, rest = pattern.partition("{")
    return f"{before}{{log.*}}{rest.partition('}')[2]}"


async def describe_log(store: EventStore) -> LogShape:
    """Format, partitions, heads, epochs and memory."""
    log = store.log
    heads = [await _head(log, partition) for partition in range(log.partitions)]
    sizes = [head.bytes for head in heads]
    info = await log.redis.run_on_masters(("INFO", "memory"))
    return LogShape(
        format=int(FORMAT),
        prefix=log.settings.prefix,
        partitions=log.partitions,
        durability=log.durability.level,
        duplicate_window_seconds=log.duplicate_window_us / 1e6,
        events=sum(head.position for head in heads),
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        server_bytes=_sum_of([_used(replies[0]) for replies in info.values()]),
        heads=heads,
    )


async def _head(log: Log, partition: int) -> PartitionShape:
    keys = log.keys
    values, events, urgent = await replies(
        log.redis,
        keys.head(partition),
        ("HMGET", keys.head(partition), "pos", "last", "epochs"),
        ("MEMORY", "USAGE", keys.events(partition), "SAMPLES", 50),
        ("MEMORY", "USAGE", keys.urgent(partition), "SAMPLES", 50),
        bearing={"NOPERM", "ERR"},
    )
    chain = epochs.parse(values[2] or b"")
    position, last = (stored_number(keys.head(partition), *pair) for pair in zip(("pos", "last"), values, strict=False))
    return PartitionShape(
        partition=partition,
        position=position,
        epoch=epochs.epoch_at(chain, position),
        epochs=len(chain),
        last_recorded_at=rfc3339(last) if last else None,
        bytes=_sum_of([_number(events), _number(urgent)]),
    )


def _number(reply: Reply) -> int | None:
    return reply if isinstance(reply, int) else None


def _used(reply: Any) -> int | None:
    if not isinstance(reply, bytes):
        return None
    values = dict(line.split(b":", 1) for line in reply.split(b"\r\n") if b":" in line)
    return int(values.get(b"used_memory", 0)) or None


def _sum_of(sizes: list[int | None]) -> int | None:
    """The sum, if all are known."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


__all__ = ["LogShape", "PartitionShape", "StreamShape", "describe_log", "streams"]
