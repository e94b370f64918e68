"""Events that come at a steady rate: how long after the call of `append` the row is there.

They are appended one by one in another process, at a rate that does not wait for answers. Of every fiftieth the receipt
is waited for there, by `ReadModel.wait`, as who shows the row to a user does. Its looks, the first at once, then after
2, 4, 8 ... ms, are part of the time.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from msgspec.structs import replace

from benchmarks.consuming.groups import PARTITIONS, committed, worker
from benchmarks.consuming.tally import Tally, sampled
from benchmarks.log_appends import settings, settings_of
from benchmarks.measure import Sample, latency
from benchmarks.own_server import BenchServer, Level
from benchmarks.payload import OrderPlaced, order
from benchmarks.processes import Team, Work
from benchmarks.projecting.ours import GROUP, into_tables
from benchmarks.projecting.places import Empty
from benchmarks.projecting.work import check, expected
from eventstore.store import EventStore
from projections.model import ReadModel

RATE = 5_000
EACH = 50
_TICK_SECONDS, _AT_ONCE, _READ_SECONDS = 0.001, 1_000, "60s"


def _stream(number: int) -> str:
    """Each has a stream of its own, so that no two appends wait for each other, and every event is a row."""
    return f"order-{number}"


def title(rate: int) -> str:
    return f"from append to row, {rate:,} appends a second"


async def run(server: BenchServer, empty: Empty, senders: Team, rate: int, seconds: float) -> Sample:
    """Its events are appends; the latency is that of those whose receipt was waited for."""
    events = round(rate * seconds)
    tally = Tally(events)
    async with EventStore.open(settings=settings(server, PARTITIONS), types=[OrderPlaced]) as store, empty() as place:
        async with worker(store, into_tables(place.url, tally)):
            await committed(server, store.log.keys, GROUP)
            job = partial(_sender, server.url, store.log.settings.prefix, server.level, place.url, rate, events)
            async with senders.at_work(job, 1) as go:
                used = await server.cpu_seconds() + await place.meter.cpu_seconds()
                await go()
                await tally.all_seen()
                await committed(server, store.log.keys, GROUP)
                sample = await sampled(server, used, events, tally.stopped())
                sample = replace(
                    sample,
                    server_cpu_seconds=sample.server_cpu_seconds + await place.meter.cpu_seconds(),
                    latency=latency(go.results[0]),
                )
        check(title(rate), place.rows(), expected(events, _stream))
    await server.clean()
    return sample


@asynccontextmanager
async def _sender(
    url: str, prefix: str, level: Level, sink: str, rate: int, events: int, _number: int
) -> AsyncIterator[Work]:
    chosen = settings_of(url, prefix, PARTITIONS, level)
    async with (
        EventStore.open(settings=chosen, types=[OrderPlaced]) as store,
        ReadModel.open(store, into_tables(sink, Tally(0))) as model,
    ):
        yield partial(_send, store, model, rate, events)


async def _send(store: EventStore, model: ReadModel, rate: int, events: int) -> list[float]:
    """How long each of those that were waited for took, in seconds."""
    took: list[float] = []
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def one(number: int, at: float) -> None:
        async with limit:
            receipt = await store.append(_stream(number), [order(number)])
        if number % EACH == 0:
            await model.wait(receipt, timeout=_READ_SECONDS)
            took.append(time.perf_counter() - at)

    sent, began = 0, time.perf_counter()
    async with anyio.create_task_group() as tasks:
        while sent < events:
            due = min(events, int((time.perf_counter() - began) * rate) + 1)
            for number in range(sent, due):
                tasks.start_soon(one, number, time.perf_counter())
            sent = max(sent, due)
            await anyio.sleep(_TICK_SECONDS)
    return took
