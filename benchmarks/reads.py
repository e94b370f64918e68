"""Reads of our log, beside XRANGE of a plain stream by redis-py. All of them decode every event into its Struct."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import redis.asyncio
from msgspec import Struct

from benchmarks.baselines import STREAM
from benchmarks.log_appends import settings
from benchmarks.measure import Case, Contestant, Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from eventstore.envelope import RecordedEvent
from eventstore.partitions import partition_of
from eventstore.store import EventStore

PARTITIONS = 16
_LONG, _LONG_SHARE = "history-1", 0.2
_OTHERS = 64
_BATCH = 100
_PAGE = 1_000

TITLES = ("read one stream", "read one partition", "read all partitions")

Read = Callable[[], AsyncIterator[RecordedEvent]]


class Filled(Struct, frozen=True):
    """A log and a plain stream with as many events. A fifth of the log is in one stream, among other streams."""

    server: BenchServer
    store: EventStore
    client: Any
    in_stream: int
    in_partition: int
    in_all: int


@asynccontextmanager
async def filled(server: BenchServer, events: int) -> AsyncIterator[Filled]:
    async with (
        EventStore.open(settings=settings(server, PARTITIONS), types=[OrderPlaced]) as store,
        redis.asyncio.Redis.from_url(server.url) as client,
    ):
        batches = max(1, events // _BATCH)
        of_long = max(1, round(batches * _LONG_SHARE))
        of_others = max(1, (batches - of_long) // _OTHERS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_fill, store, _LONG, of_long)
            for i in range(_OTHERS):
                tasks.start_soon(_fill, store, f"order-{i}", of_others)
        total = (of_long + _OTHERS * of_others) * _BATCH
        await _fill_plain(client, total)
        partition = partition_of(_LONG, PARTITIONS)
        in_partition = await server.admin.xlen(store.log.keys.events(partition))
        yield Filled(server, store, client, of_long * _BATCH, in_partition, total)
    await server.clean()


def cases(data: Filled) -> list[Case]:
    store, partition = data.store, partition_of(_LONG, PARTITIONS)
    everything: list[tuple[str, Read]] = [
        ("log, order of arrival", partial(store.read_all, order="partition")),
        ("log, total order", partial(store.read_all, order="total")),
    ]
    return [
        _case(data, TITLES[0], data.in_stream, [("log", partial(store.read, _LONG))]),
        _case(data, TITLES[1], data.in_partition, [("log", partial(store.read_partition, partition))]),
        _case(data, TITLES[2], data.in_all, everything),
    ]


def _case(data: Filled, title: str, events: int, reads: Sequence[tuple[str, Read]]) -> Case:
    ours = [Contestant(name, partial(_read, data.server, events, read)) for name, read in reads]
    theirs = partial(_xrange, data.server, data.client, events)
    return Case(title, [*ours, Contestant(f"redis-py, XRANGE in pages of {_PAGE}", theirs, baseline=True)])


async def _read(server: BenchServer, events: int, read: Read) -> Sample:
    found = 0

    async def work() -> None:
        nonlocal found
        async for event in read():
            found += isinstance(event.data, OrderPlaced)

    sample = await timed(server, events, work)
    check_count("read", found, events)
    return sample


async def _xrange(server: BenchServer, client: Any, events: int) -> Sample:
    """The first `events` entries of the plain stream."""
    found = 0

    async def work() -> None:
        nonlocal found
        after = "-"
        while found < events:
            page = await client.xrange(STREAM, min=after, count=min(_PAGE, events - found))
            found += sum(isinstance(from_json(fields[b"e"]), OrderPlaced) for _, fields in page)
            after = f"({page[-1][0].decode()}"

    sample = await timed(server, events, work)
    check_count("XRANGE", found, events)
    return sample


async def _fill(store: EventStore, stream: str, batches: int) -> None:
    for batch in range(batches):
        events = [order(number) for number in range(batch * _BATCH, (batch + 1) * _BATCH)]
        await store.append(stream, events, expected=batch * _BATCH)


async def _fill_plain(client: Any, events: int) -> None:
    for first in range(0, events, _BATCH):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(first, first + _BATCH):
                pipe.xadd(STREAM, {"e": to_json(order(number))})
            await pipe.execute()
