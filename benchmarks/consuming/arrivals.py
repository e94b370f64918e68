"""Events that come at a steady rate, appended one by one in another process: how long each takes until it is handled.

The time begins before the call of `append` and ends in the handler. It is taken by a clock that all processes of the
machine share. The rate is kept whatever the answers take, so that what waits is not left out.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.consuming.groups import PARTITIONS, committed, worker
from benchmarks.consuming.tally import Tally, sampled
from benchmarks.log_appends import settings, settings_of
from benchmarks.measure import Case, Contestant, Sample, latency
from benchmarks.own_server import BenchServer, Level
from benchmarks.processes import Team, Work
from consumers import Park, consumer
from consumers.consumer import Consumer
from consumers.groups import describe_group
from eventstore.store import EventStore

TITLE = "from append to handled"
PARKED = "from append to handled, beside parked streams"
NONE_PARKED = "none parked"
STREAMS = 1_000
_TICK_SECONDS = 0.001
_AT_ONCE = 1_000
_GROUP = "arrivals"


class Sent(Struct, frozen=True):
    """`at_ns` by the monotonic clock; `fails` for one whose handling never succeeds."""

    number: int
    at_ns: int
    fails: bool = False


def at_rates(server: BenchServer, senders: Team, rates: Sequence[int], seconds: float) -> Case:
    runs = [Contestant(f"{rate:,}/s", partial(_run, server, senders, rate, seconds, 0)) for rate in rates]
    return Case(TITLE, runs)


def beside_parked(server: BenchServer, senders: Team, rate: int, seconds: float, parked: int) -> Case:
    with_parked = partial(_run, server, senders, rate, seconds, parked)
    return Case(
        PARKED,
        [
            Contestant(parked_name(parked), with_parked),
            Contestant(NONE_PARKED, partial(_run, server, senders, rate, seconds, 0), baseline=True),
        ],
    )


def parked_name(parked: int) -> str:
    return f"{parked:,} streams parked"


async def _run(server: BenchServer, senders: Team, rate: int, seconds: float, parked: int) -> Sample:
    events = round(rate * seconds)
    tally, took = Tally(events), [0.0] * events
    async with EventStore.open(settings=settings(server, PARTITIONS), types=[Sent]) as store:  # noqa: SIM117
        async with worker(store, _arrivals(tally, took)):
            await _park(store, parked)
            job = partial(_sender, server.url, store.log.settings.prefix, server.level, rate, events)
            async with senders.at_work(job, 1) as go:
                used = await server.cpu_seconds()
                await go()
                await tally.all_seen()
                await committed(server, store.log.keys, _GROUP)
                sample = await sampled(server, used, events, tally.stopped())
    tally.check(TITLE)
    await server.clean()
    return replace(sample, latency=latency(took))


def _arrivals(tally: Tally, took: list[float]) -> Consumer:
    @consumer(_GROUP, retry=Park())
    async def handle(event: Sent) -> None:
        if event.fails:
            raise ValueError("this one is parked")
        if event.number < 0:
            return
        if not tally.began:
            tally.begin()
        took[event.number] = 1e-9 * (time.perf_counter_ns() - event.at_ns)
        tally.seen[event.number] += 1

    return handle


async def _park(store: EventStore, streams: int) -> None:
    """Among events that succeed: where nothing does, the breaker opens."""
    if not streams:
        return

    async def some(task: int) -> None:
        for stream in range(task, streams, 16):
            await store.append(f"parked-{stream}", [Sent(-1, 0, fails=True)])
            for good in range(2):
                await store.append(f"fine-{stream}-{good}", [Sent(-1, 0)])

    async with anyio.create_task_group() as tasks:
        for task in range(16):
            tasks.start_soon(some, task)
    while True:
        shape = await describe_group(store, _GROUP)
        if shape.parked == streams and not shape.lag:
            return
        await anyio.sleep(0.1)


@asynccontextmanager
async def _sender(url: str, prefix: str, level: Level, rate: int, events: int, _number: int) -> AsyncIterator[Work]:
    async with EventStore.open(settings=settings_of(url, prefix, PARTITIONS, level), types=[Sent]) as store:
        yield partial(_send, store, rate, events)


async def _send(store: EventStore, rate: int, events: int) -> None:
    sent, limit = 0, anyio.CapacityLimiter(_AT_ONCE)
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        while sent < events:
            due = min(events, int((time.perf_counter() - began) * rate) + 1)
            for number in range(sent, due):
                tasks.start_soon(_append, store, limit, number, time.perf_counter_ns())
            sent = max(sent, due)
            await anyio.sleep(_TICK_SECONDS)


async def _append(store: EventStore, limit: anyio.CapacityLimiter, number: int, at_ns: int) -> None:
    async with limit:
        await store.append(f"order-{number % STREAMS}", [Sent(number, at_ns)])
