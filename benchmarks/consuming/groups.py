"""A group of our log with a backlog, and workers that handle it in this process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from benchmarks.consuming.tally import Span, Tally
from benchmarks.log_appends import settings
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, order
from consumers import consumer, run
from consumers.consumer import Consumer
from consumers.runnable import Runnable
from eventstore.keys import Keys
from eventstore.store import EventStore
from infrastructure.tasks import plain_errors

PARTITIONS = 16
EVENTS_A_CALL = 10
EVENTS_A_STREAM = 100
TASKS = 64
_LOOK_SECONDS = 0.002


@asynccontextmanager
async def backlog(server: BenchServer, events: int) -> AsyncIterator[EventStore]:
    """A log that holds so many orders, numbered from 0, in streams of 100. Afterwards the server is empty again."""
    async with EventStore.open(settings=settings(server, PARTITIONS), types=[OrderPlaced]) as store:
        await fill(store, events)
        yield store
    await server.clean()


async def fill(store: EventStore, events: int) -> None:
    """By calls of 10, of 64 streams at once, so that events of different streams lie side by side."""
    streams = range(0, events, EVENTS_A_STREAM)

    async def one(task: int) -> None:
        for first in streams[task::TASKS]:
            for number in range(first, min(first + EVENTS_A_STREAM, events), EVENTS_A_CALL):
                last = min(number + EVENTS_A_CALL, first + EVENTS_A_STREAM, events)
                await store.append(f"order-{first}", [order(n) for n in range(number, last)])

    async with anyio.create_task_group() as tasks:
        for task in range(TASKS):
            tasks.start_soon(one, task)


def trivial(tally: Tally, group: str = "trivial") -> Consumer:
    """Does nothing but to count."""
    seen = tally.seen

    @consumer(group)
    async def handle(event: OrderPlaced) -> None:
        if not tally.began:
            tally.begin()
        seen[event.number] += 1

    return handle


@asynccontextmanager
async def worker(store: EventStore, *consumers: Runnable) -> AsyncIterator[None]:
    """Runs in the block."""
    stop = anyio.Event()

    async def work() -> None:
        await run(store, consumers, stop=stop)

    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            yield
            stop.set()


async def handled(server: BenchServer, store: EventStore, consumer: Consumer, tally: Tally, failing: int = 0) -> Span:
    """All of a backlog by one worker, its last commit included; `failing` events never succeed."""
    async with worker(store, consumer):
        await tally.all_seen(failing)
        await committed(server, store.log.keys, consumer.name)
        return tally.stopped()


async def committed(server: BenchServer, keys: Keys, group: str) -> None:
    """Until the group's offset is at the head of each partition, as Redis counts it."""
    while any(await lags(server, keys, group)):  # noqa: ASYNC110
        await anyio.sleep(_LOOK_SECONDS)


async def lags(server: BenchServer, keys: Keys, group: str) -> Sequence[int]:
    """Asked by a plain client."""
    async with server.admin.pipeline(transaction=False) as pipe:
        for partition in range(PARTITIONS):
            pipe.xinfo_groups(keys.events(partition))
        found = await pipe.execute()
    return [each["lag"] for groups in found for each in groups if each["name"] == group.encode()]
