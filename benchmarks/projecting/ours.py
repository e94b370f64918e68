"""A projection by one worker in this process, built from a backlog."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from benchmarks.consuming.groups import PARTITIONS, backlog, committed, worker
from benchmarks.consuming.tally import Tally, sampled
from benchmarks.measure import Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced
from benchmarks.projecting.places import Empty
from benchmarks.projecting.work import DAILY, LATEST, Rows, check, daily, day_of, expected, latest
from consumers.keys import effect_key
from eventstore.store import EventStore
from projections import Projection, projection, redis, sql
from projections import Rows as Collected
from projections.generations import Generation

OURS = "projection, 1 worker, 16 partitions"
NAME = "orders"
GROUP = Generation(NAME, 1, 1).group


def into_tables(url: str, tally: Tally) -> Projection:
    """`tally` tells when the first event comes and when the last has been seen."""
    seen = tally.seen

    @projection(NAME, sink=sql(latest, daily, url=url))
    def orders(event: OrderPlaced, rows: Collected) -> None:
        if not tally.began:
            tally.begin()
        rows.put(latest, stream=rows.event.stream, number=event.number, cents=event.total_cents)
        rows.add(daily, {"day": day_of(event)}, orders=1, cents=event.total_cents)
        seen[event.number] = 1

    return orders


def into_redis(tally: Tally) -> Projection:
    seen = tally.seen

    @projection(NAME, sink=redis())
    def orders(event: OrderPlaced, rows: Collected) -> None:
        if not tally.began:
            tally.begin()
        effects, day = rows.effects, day_of(event)
        effects.hset(LATEST, rows.event.stream, event.number)
        effects.hincrby(DAILY, f"{day}:orders", 1)
        effects.hincrby(DAILY, f"{day}:cents", event.total_cents)
        seen[event.number] = 1

    return orders


async def rebuild_tables(server: BenchServer, empty: Empty, events: int) -> Sample:
    tally = Tally(events)
    async with backlog(server, events) as store, empty() as place:

        async def used() -> float:
            return await server.cpu_seconds() + await place.meter.cpu_seconds()

        sample = await _built(server, store, into_tables(place.url, tally), tally, used)
        check(OURS, place.rows(), expected(events))
    return sample


async def rebuild_redis(server: BenchServer, events: int) -> Sample:
    tally = Tally(events)
    async with backlog(server, events) as store:
        sample = await _built(server, store, into_redis(tally), tally, server.cpu_seconds)
        check(OURS, await _in_redis(server, store), expected(events))
    return sample


class _Used:
    def __init__(self, cpu_seconds: Callable[[], Awaitable[float]]) -> None:
        self._cpu_seconds = cpu_seconds

    async def cpu_seconds(self) -> float:
        return await self._cpu_seconds()


async def _built(
    server: BenchServer, store: EventStore, orders: Projection, tally: Tally, used: Callable[[], Awaitable[float]]
) -> Sample:
    before = await used()
    async with worker(store, orders):
        await tally.all_seen()
        await committed(server, store.log.keys, GROUP)
        span = tally.stopped()
        return await sampled(_Used(used), before, len(tally.seen), span)


async def _in_redis(server: BenchServer, store: EventStore) -> Rows:
    """By a plain client, of all partitions."""
    last: dict[str, int] = {}
    days: Counter[str] = Counter()
    for partition in range(PARTITIONS):
        keys = [effect_key(store.log.keys, GROUP, partition, name) for name in (LATEST, DAILY)]
        last |= _numbers(await server.admin.hgetall(keys[0]))
        days.update(_numbers(await server.admin.hgetall(keys[1])))
    return of_hashes(last, days)


def of_hashes(last: Mapping[str, int], days: Mapping[str, int]) -> Rows:
    numbers = {int(field.partition(":")[0]) for field in days}
    return Rows(last, {day: (days[f"{day}:orders"], days[f"{day}:cents"]) for day in numbers})


def _numbers(found: Mapping[Any, Any]) -> dict[str, int]:
    return {field.decode(): int(value) for field, value in found.items()}
