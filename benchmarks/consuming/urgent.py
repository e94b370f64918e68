"""CRITICAL events that come while a backlog of LOW ones is handled: how long each class waits.

A LOW event waits from the start of the worker, for it was there before; a CRITICAL one from the call that appends it,
in another process. The run ends with the last CRITICAL event, or with the backlog: whichever ends first, no CRITICAL
event is measured without a backlog.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio

from benchmarks.consuming.arrivals import Sent
from benchmarks.consuming.groups import PARTITIONS, worker
from benchmarks.log_appends import settings, settings_of
from benchmarks.measure import CountWrong, Outcome, Result, Sample, latency
from benchmarks.own_server import BenchServer, Level
from benchmarks.processes import Team, Work
from consumers import consumer
from consumers.consumer import Consumer
from eventstore import Metadata, NewEvent, Priority, RecordedEvent
from eventstore.store import EventStore

CRITICAL, LOW = "CRITICAL", "LOW, from the start of the worker"
_STREAMS = 10_000
_EVENTS_A_CALL = 100
_EACH_SECONDS = 0.02
_MOST = 1_000
_LOOK_SECONDS = 0.005
_LAST_SECONDS = 60.0
_END = "end"


class Waits:
    """Of both classes, in seconds."""

    def __init__(self, backlog: int) -> None:
        self.began = time.perf_counter()
        self.low: list[float] = []
        self.critical: dict[int, float] = {}
        self.twice = 0
        self.seen = bytearray(backlog)

    @property
    def is_low_left(self) -> bool:
        return len(self.low) < len(self.seen)


def title(backlog: int) -> str:
    return f"urgent events beside a backlog of {backlog:,}"


async def result(server: BenchServer, senders: Team, backlog: int, rounds: int) -> Result:
    samples = [await _run(server, senders, backlog) for _ in range(rounds)]
    return Result(
        title(backlog),
        [
            Outcome(CRITICAL, False, [critical for critical, _ in samples]),
            Outcome(LOW, True, [low for _, low in samples]),
        ],
    )


async def _run(server: BenchServer, senders: Team, backlog: int) -> tuple[Sample, Sample]:
    async with EventStore.open(settings=settings(server, PARTITIONS), types=[Sent]) as store:
        await _fill(store, backlog)
        job = partial(_sender, server.url, store.log.settings.prefix, server.level)
        async with senders.at_work(job, 1) as go:
            used, cpu, waits = await server.cpu_seconds(), time.process_time(), Waits(backlog)
            async with worker(store, _both(waits)):
                while not waits.low:  # noqa: ASYNC110 - it has partitions, and handles
                    await anyio.sleep(_LOOK_SECONDS)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(go)
                    while waits.is_low_left and len(waits.critical) < _MOST:  # noqa: ASYNC110
                        await anyio.sleep(_LOOK_SECONDS)
                    seconds, cpu = time.perf_counter() - waits.began, time.process_time() - cpu
                    used = await server.cpu_seconds() - used
                    critical, low = dict(waits.critical), list(waits.low)
                    await store.append(_END, [Sent(-1, 0)])
                with anyio.fail_after(_LAST_SECONDS):
                    while len(waits.critical) < go.results[0]:  # noqa: ASYNC110 - the handler sets no event
                        await anyio.sleep(_LOOK_SECONDS)
    await server.clean()
    if waits.twice or not critical:
        raise CountWrong(f"{waits.twice} events were handled twice, {len(critical)} CRITICAL ones at all")
    return (
        Sample(len(critical), seconds, used, cpu, latency(list(critical.values()))),
        Sample(len(low), seconds, used, cpu, latency(low)),
    )


def _both(waits: Waits) -> Consumer:
    @consumer("urgent")
    async def handle(event: RecordedEvent) -> None:
        sent = event.data
        if sent.number < 0:
            return
        if event.metadata.priority is Priority.CRITICAL:
            waits.twice += sent.number in waits.critical
            waits.critical[sent.number] = 1e-9 * (time.perf_counter_ns() - sent.at_ns)
        else:
            waits.twice += waits.seen[sent.number]
            waits.seen[sent.number] = 1
            waits.low.append(time.perf_counter() - waits.began)

    return handle


async def _fill(store: EventStore, backlog: int) -> None:
    low = Metadata(priority=Priority.LOW)
    streams = min(_STREAMS, max(1, backlog // _EVENTS_A_CALL))

    async def some(task: int) -> None:
        for call in range(task, backlog // _EVENTS_A_CALL, 16):
            numbers = range(call * _EVENTS_A_CALL, (call + 1) * _EVENTS_A_CALL)
            events = [NewEvent(data=Sent(number, 0), metadata=low) for number in numbers]
            await store.append(f"low-{call % streams}", events)

    async with anyio.create_task_group() as tasks:
        for task in range(16):
            tasks.start_soon(some, task)


@asynccontextmanager
async def _sender(url: str, prefix: str, level: Level, _number: int) -> AsyncIterator[Work]:
    async with EventStore.open(settings=settings_of(url, prefix, PARTITIONS, level), types=[Sent]) as store:
        yield partial(_send, store)


async def _send(store: EventStore) -> int:
    """50 a second, each to a stream of its own, until somebody appends to `end`; how many."""
    critical = Metadata(priority=Priority.CRITICAL)
    for number in range(2 * _MOST):
        if await store.version(_END):
            return number
        event = NewEvent(data=Sent(number, time.perf_counter_ns()), metadata=critical)
        await store.append(f"critical-{number}", [event])
        await anyio.sleep(_EACH_SECONDS)
    return 2 * _MOST
