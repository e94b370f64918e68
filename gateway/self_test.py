"""How fast this server takes and gives events: a short self-test under a prefix of its own."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
from msgspec import Struct
from msgspec.structs import replace

from eventstore.envelope import NewEvent, Untyped
from eventstore.partitions import hash_tags
from eventstore.store import EventStore
from infrastructure.connect import Redis
from infrastructure.server import serve
from infrastructure.settings import Settings

DATA = {"customer": "c-4711", "lines": [{"sku": "A-1", "count": 2, "price": 1999}], "note": "x" * 120}
BATCH = 100
TASKS = 50
STREAMS = 100
SCRATCH_PARTITIONS = 16


class Speed(Struct, frozen=True):
    """One measurement. `ratio` is to `XADD in pipelines` of the same run; `milliseconds` is of one call."""

    what: str
    events: int
    seconds: float
    events_per_second: float
    ratio: float
    milliseconds: float


async def measure(settings: Settings, events: int) -> AsyncIterator[Speed]:
    """Each measurement as it is made. What it wrote is removed at the end."""
    # Under the prefix of the log, whose keys are all that its Redis user may touch.
    scratch = f"{settings.eventstore.prefix}:bench-{uuid4().hex[:8]}"
    own = replace(settings, eventstore=replace(settings.eventstore, prefix=scratch, partitions=SCRATCH_PARTITIONS))
    async with serve(settings) as redis, _removed_at_the_end(redis, scratch):
        seconds = await _timed(lambda: _pipelines(redis, f"{scratch}:raw", events))
        base = events / seconds
        yield _speed("XADD in pipelines of 100 (redis-py)", events, seconds, base, events // BATCH)
        async with EventStore.open(settings=own) as store:
            level = store.log.durability.level
            seconds = await _timed(lambda: _appends(store, events, batch=BATCH, tasks=8))
            yield _speed(f"append, 8 tasks, batches of 100, {level}", events, seconds, base, events // BATCH // 8)
            few = max(events // 4, TASKS)
            seconds = await _timed(lambda: _appends(store, few, batch=1, tasks=TASKS))
            yield _speed(f"append, {TASKS} tasks, one event each, {level}", few, seconds, base, few // TASKS)
            alone = max(events // 40, 1)
            seconds = await _timed(lambda: _appends(store, alone, batch=1, tasks=1))
            yield _speed(f"append, 1 task, one event, {level}", alone, seconds, base, alone)
            total = sum(position for _, position in (await store.heads()).places)
            seconds = await _timed(lambda: _read(store))
            yield _speed("read all partitions", total, seconds, base, total // 1_000)


def _speed(what: str, events: int, seconds: float, base: float, calls: int) -> Speed:
    rate = events / seconds
    return Speed(what, events, seconds, rate, rate / base, seconds / max(calls, 1) * 1e3)


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _pipelines(redis: Redis, key: str, events: int) -> None:
    payload = b"x" * 250
    for start in range(0, events, BATCH):
        size = min(BATCH, events - start)
        await redis.run(key, *[("XADD", key, "*", "e", payload)] * size)


async def _appends(store: EventStore, events: int, *, batch: int, tasks: int) -> None:
    share = -(-events // tasks)

    async def writer(number: int) -> None:
        left, turn = min(share, max(events - number * share, 0)), 0
        while left > 0:
            size = min(batch, left)
            stream = f"bench-{(number + tasks * turn) % STREAMS}"
            await store.append(stream, [NewEvent(data=Untyped("Measured", DATA))] * size)
            left, turn = left - size, turn + 1

    async with anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(writer, number)


async def _read(store: EventStore) -> None:
    async for _ in store.read_all():
        continue


@asynccontextmanager
async def _removed_at_the_end(redis: Redis, prefix: str) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(10):
            await _remove(redis, prefix)


async def _remove(redis: Redis, prefix: str) -> None:
    """Every key under the prefix. SCAN walks one server; in a Cluster each partition's tag leads to a server, and a
    server that is walked several times has nothing left the second time."""
    tags = hash_tags(SCRATCH_PARTITIONS) if redis.is_cluster else ("",)
    for tag in tags:
        await _remove_where(redis, f"{{{tag}}}" if tag else prefix, prefix)


async def _remove_where(redis: Redis, place: str, prefix: str) -> None:
    cursor = "0"
    while True:
        position, keys = await redis.execute(place, "SCAN", cursor, "MATCH", f"{prefix}:*", "COUNT", 1_000)
        for key in keys:
            await redis.execute(key.decode(), "UNLINK", key)
        cursor = position.decode()
        if cursor == "0":
            return
