"""Sagas in figures."""

from collections import Counter
from collections.abc import Container, Iterable
from functools import partial
from typing import Any

from msgspec import Struct

from consumers.group_shape import look_at
from consumers.keys import effect_key
from consumers.sagas.find import counts_of, parked_of, saga_types
from consumers.sagas.groups import react_group, route_group
from consumers.sagas.instances import stream_of
from consumers.sagas.route import UNROUTED
from consumers.sagas.shape import SagaStats, TypeCounts
from consumers.sagas.state import STATUSES, Status
from eventstore.log import Log
from eventstore.store import EventStore
from infrastructure.connect import Reply
from infrastructure.patience import replies
from infrastructure.tasks import together

_UNDER_WAY: tuple[Status, ...] = ("running", "compensating")


async def saga_stats(store: EventStore, saga: str | None = None) -> SagaStats:
    """Of a type, or of all. The counts are exact as of the last fact that the workers have handled: `behind` tells how
    many events that is ago. Raises GroupNotFound if no worker has run sagas of that type, Unavailable, LogDamaged."""
    kinds = await saga_types(store.log, saga)
    sums = {kind: await _sum_of(store.log, kind) for kind in kinds}
    by_type = {kind: await _told(store.log, kind, found) for kind, found in sums.items()}
    return SagaStats(**_figures(_sum(sums.values())), by_type=by_type)


class _Sum(Struct):
    """`oldest_*` are ages in seconds."""

    counts: Counter[Status]
    oldest_running: float | None = None
    oldest_stuck: float | None = None


async def _sum_of(log: Log, saga: str) -> _Sum:
    return _sum(await together([partial(_part, log, saga, partition) for partition in range(log.partitions)]))


def _sum(parts: Iterable[_Sum]) -> _Sum:
    total = _Sum(Counter())
    for part in parts:
        total.counts.update(part.counts)
        total.oldest_running = _most(total.oldest_running, part.oldest_running)
        total.oldest_stuck = _most(total.oldest_stuck, part.oldest_stuck)
    return total


async def _part(log: Log, saga: str, partition: int) -> _Sum:
    """One partition. Those whose stream is parked are among the stuck, whatever the index says of them."""
    found = _Sum(Counter(dict(zip(STATUSES, await counts_of(log, saga, partition, STATUSES), strict=True))))
    parked = await parked_of(log, saga, partition)
    for each in parked:
        if each.indexed is not None:
            found.counts[each.indexed] -= 1
        found.counts["stuck"] += 1
    keys = [effect_key(log.keys, react_group(saga), partition, status) for status in (*_UNDER_WAY, "stuck")]
    first = [("ZRANGE", key, 0, len(parked), "WITHSCORES") for key in keys]
    (seconds, microseconds), *pages = await replies(log.redis, keys[0], ("TIME",), *first)
    now_ms = int(seconds) * 1_000 + int(microseconds) // 1_000
    aside = {each.stream for each in parked}
    *running, stuck = [_oldest(saga, flat, aside) for flat in pages]
    found.oldest_running = _age(now_ms, running)
    found.oldest_stuck = _age(now_ms, [stuck, *(each.place[0] for each in parked)])
    return found


def _oldest(saga: str, flat: Reply, aside: Container[str]) -> float | None:
    """When the first began that is not set aside."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    times = (float(score) for member, score in pairs if stream_of(saga, member.decode()) not in aside)
    return next(times, None)


def _age(now_ms: int, times: Iterable[float | None]) -> float | None:
    known = [each for each in times if each is not None]
    return max(now_ms - min(known), 0) / 1_000 if known else None


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


async def _told(log: Log, saga: str, found: _Sum) -> TypeCounts:
    group = await look_at(log, react_group(saga))
    return TypeCounts(
        **_figures(found),
        unrouted=await _unrouted(log, saga),
        workers=len(group.members),
        behind=group.lag,
        behind_seconds=group.behind_seconds,
    )


async def _unrouted(log: Log, saga: str) -> dict[str, int]:
    """Events that were for no saga, by type, the most of them first."""
    pages = await together([partial(_unrouted_in, log, saga, partition) for partition in range(log.partitions)])
    total: Counter[str] = Counter()
    for page in pages:
        total.update(page)
    return dict(total.most_common())


async def _unrouted_in(log: Log, saga: str, partition: int) -> dict[str, int]:
    key = effect_key(log.keys, route_group(saga), partition, UNROUTED)
    (flat,) = await replies(log.redis, key, ("HGETALL", key))
    return {name.decode(): int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}


def _figures(found: _Sum) -> dict[str, Any]:
    ended = found.counts["completed"] + found.counts["compensated"]
    return {
        **{status: max(found.counts[status], 0) for status in STATUSES},
        "completion_rate": found.counts["completed"] / ended if ended else None,
        "oldest_running_seconds": found.oldest_running,
        "oldest_stuck_seconds": found.oldest_stuck,
    }
