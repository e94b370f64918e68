"""Memory of the server per event: our log, and a plain stream that holds the very same packed fields."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import redis.asyncio

from benchmarks.costs import Cost, Price
from benchmarks.log_appends import settings
from benchmarks.measure import check_count
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, order, to_json
from eventstore.expected import Expected
from eventstore.store import EventStore

TITLE = "memory of the server"
EXACT = "log, exact versions"
ANY = "log, any version: ids still known for repeats"
_EACH = 10
_PARTITIONS = 16
_TASKS = 64
_PAGE = 1_000


async def cost(server: BenchServer, streams: int) -> Cost:
    """Of `streams` streams of 10 events each; counted at the server, by all that it has in use beyond being empty."""
    exact, bare = await _log_and_copy(server, streams, exact=True)
    noted, _ = await _log_and_copy(server, streams, exact=False)
    data = await _grown_by(server, partial(_data_alone, server, streams * _EACH))
    each = 1 / (streams * _EACH)
    return Cost(
        f"{TITLE}, {streams:,} streams of {_EACH}",
        "bytes/event",
        [Price(EXACT, [exact * each]), Price(ANY, [noted * each])],
        Price("plain stream with the same fields", [bare * each]),
        [Price("plain stream with the data alone", [data * each])],
    )


async def _log_and_copy(server: BenchServer, streams: int, *, exact: bool) -> tuple[float, float]:
    """Bytes of a log, and of a plain stream per partition with the same fields."""
    chosen = settings(server, _PARTITIONS)
    log = await _used(server)
    async with EventStore.open(settings=chosen, types=[OrderPlaced]) as store:
        async with anyio.create_task_group() as tasks:
            for task in range(_TASKS):
                tasks.start_soon(_fill, store, range(task, streams, _TASKS), exact)
        keys = [store.log.keys.events(partition) for partition in range(_PARTITIONS)]
    check_count("the log", sum([await server.admin.xlen(key) for key in keys]), streams * _EACH)
    log = await _used(server) - log
    bare = await _used(server)
    copied = [await _copy(server, key, f"bare-{place}") for place, key in enumerate(keys)]
    check_count("the plain streams", sum(copied), streams * _EACH)
    bare = await _used(server) - bare
    await server.clean()
    return log, bare


async def _grown_by(server: BenchServer, work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    before = await _used(server)
    await work()
    grown = await _used(server) - before
    await server.clean()
    return grown


async def _used(server: BenchServer) -> float:
    return float((await server.admin.info("memory"))["used_memory"])


async def _fill(store: EventStore, streams: range, exact: bool) -> None:
    """By appends of one event, as an application would; the ids of such appends are what is noted."""
    for version in range(_EACH):
        for stream in streams:
            await store.append(f"order-{stream}", [order(version)], expected=version if exact else Expected.ANY)


async def _copy(server: BenchServer, source: str, target: str) -> int:
    copied, after = 0, "-"
    while page := await server.admin.xrange(source, min=after, count=_PAGE):
        async with server.admin.pipeline(transaction=False) as pipe:
            for _, fields in page:
                pipe.xadd(target, fields)
            await pipe.execute()
        copied += len(page)
        after = f"({page[-1][0].decode()}"
    return copied


async def _data_alone(server: BenchServer, events: int) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        for first in range(0, events, _PAGE):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + _PAGE, events)):
                    pipe.xadd("data", {"e": to_json(order(number))})
                await pipe.execute()
