"""Reads of our log, of plain streams by redis-py, and of the peers. All decode each event into its Struct."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec
import redis.asyncio
from msgspec import Struct

from benchmarks.contender import Contender, Meter
from benchmarks.drive import write
from benchmarks.load import Load
from benchmarks.log_appends import settings
from benchmarks.measure import Case, Contestant, Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from benchmarks.peers.plain import STREAM
from eventstore.envelope import RecordedEvent
from eventstore.partitions import partition_of
from eventstore.store import EventStore

PARTITIONS = 16
_LONG, _LONG_SHARE = "history-1", 0.2
_OTHERS = 64
_BATCH = 100
_PAGE = 1_000
_ENVELOPES = "envelopes"

TITLES = ("read one stream", "read one partition", "read all partitions")
ALL = TITLES[2]
IN_ORDER_OF_ARRIVAL = "log, order of arrival"
DATA = f"redis-py, XRANGE {_PAGE} + decode of data"
ENVELOPE = f"redis-py, XRANGE {_PAGE} + decode of a JSON envelope"

Read = Callable[[], AsyncIterator[RecordedEvent]]
Counted = Callable[[], Awaitable[int]]


class JsonEnvelope(Struct, frozen=True):
    """What one would write by hand into a single field: the facts of our envelope, and the data, all in one JSON."""

    id: str
    stream: str
    version: int
    recorded_at: int
    type: str
    schema_version: int
    correlation_id: str
    data: OrderPlaced


_envelope = msgspec.json.Decoder(JsonEnvelope).decode


class Filled(Struct, frozen=True):
    """A log, a plain stream of data and one of envelopes with as many events. A fifth of the log is in one stream,
    among other streams."""

    server: BenchServer
    store: EventStore
    client: Any
    in_stream: int
    in_partition: int
    in_all: int
    peers: list[tuple[str, Meter, Counted]]


@asynccontextmanager
async def filled(server: BenchServer, events: int, contenders: Sequence[Contender]) -> AsyncIterator[Filled]:
    """Of the contenders those that can read take part, each on a place of its own with as many events."""
    async with (
        EventStore.open(settings=settings(server, PARTITIONS), types=[OrderPlaced]) as store,
        redis.asyncio.Redis.from_url(server.url) as client,
        AsyncExitStack() as stack,
    ):
        batches = max(1, events // _BATCH)
        of_long = max(1, round(batches * _LONG_SHARE))
        of_others = max(1, (batches - of_long) // _OTHERS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_fill, store, _LONG, of_long)
            for i in range(_OTHERS):
                tasks.start_soon(_fill, store, f"order-{i}", of_others)
        total = (of_long + _OTHERS * of_others) * _BATCH
        await _fill_plain(client, STREAM, total, lambda number: to_json(order(number)))
        await _fill_plain(client, _ENVELOPES, total, as_envelope)
        partition = partition_of(_LONG, PARTITIONS)
        in_partition = await server.admin.xlen(store.log.keys.events(partition))
        peers = [await _filled_peer(stack, contender, total) for contender in contenders if contender.reads]
        yield Filled(server, store, client, of_long * _BATCH, in_partition, total, peers)
    await server.clean()


def cases(data: Filled) -> list[Case]:
    store, partition = data.store, partition_of(_LONG, PARTITIONS)
    everything: list[tuple[str, Read]] = [
        (IN_ORDER_OF_ARRIVAL, partial(store.read_all, order="partition")),
        ("log, total order", partial(store.read_all, order="total")),
    ]
    others = [
        Contestant(name, partial(_peer, name, meter, data.in_all, read), True) for name, meter, read in data.peers
    ]
    return [
        _case(data, TITLES[0], data.in_stream, [("log", partial(store.read, _LONG))], []),
        _case(data, TITLES[1], data.in_partition, [("log", partial(store.read_partition, partition))], []),
        _case(data, TITLES[2], data.in_all, everything, others),
    ]


def _case(
    data: Filled, title: str, events: int, reads: Sequence[tuple[str, Read]], others: Sequence[Contestant]
) -> Case:
    ours = [Contestant(name, partial(_read, data.server, events, read)) for name, read in reads]
    plain = [
        Contestant(DATA, partial(_xrange, data, STREAM, b"e", from_json, events), baseline=True),
        Contestant(ENVELOPE, partial(_xrange, data, _ENVELOPES, b"e", _envelope, events), baseline=True),
    ]
    return Case(title, [*ours, *plain, *others])


async def _read(server: BenchServer, events: int, read: Read) -> Sample:
    found = 0

    async def work() -> None:
        nonlocal found
        async for event in read():
            found += isinstance(event.data, OrderPlaced)

    sample = await timed(server, events, work)
    check_count("read", found, events)
    return sample


async def _xrange(data: Filled, stream: str, field: bytes, decode: Callable[[bytes], Struct], events: int) -> Sample:
    """The first `events` entries of a plain stream."""
    found = 0

    async def work() -> None:
        nonlocal found
        after = "-"
        while found < events:
            page = await data.client.xrange(stream, min=after, count=min(_PAGE, events - found))
            found += sum(isinstance(decode(fields[field]), Struct) for _, fields in page)
            after = f"({page[-1][0].decode()}"

    sample = await timed(data.server, events, work)
    check_count("XRANGE", found, events)
    return sample


async def _peer(name: str, meter: Meter, events: int, read: Counted) -> Sample:
    found = 0

    async def work() -> None:
        nonlocal found
        found = await read()

    sample = await timed(meter, events, work)
    check_count(name, found, events)
    return sample


async def _fill(store: EventStore, stream: str, batches: int) -> None:
    for batch in range(batches):
        events = [order(number) for number in range(batch * _BATCH, (batch + 1) * _BATCH)]
        await store.append(stream, events, expected=batch * _BATCH)


async def _fill_plain(client: Any, stream: str, events: int, entry: Callable[[int], bytes]) -> None:
    for first in range(0, events, _BATCH):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(first, first + _BATCH):
                pipe.xadd(stream, {"e": entry(number)})
            await pipe.execute()


def as_envelope(number: int) -> bytes:
    event_id = f"0193a1b2-c3d4-7e5f-8a6b-{number:012x}"
    facts = (event_id, f"order-{number % _OTHERS}", number + 1, 1_795_604_542_245_577 + number, "OrderPlaced", 1)
    return to_json(JsonEnvelope(*facts, event_id, order(number)))


async def _filled_peer(stack: AsyncExitStack, contender: Contender, events: int) -> tuple[str, Meter, Counted]:
    """It stays open as long as the stack."""
    ready = await stack.enter_async_context(contender.empty())
    load = Load(tasks=1, batch=_BATCH, calls=events // _BATCH)
    async with ready.open(load) as append:
        await write(append, load, contender.threads, "order")
    if ready.read is None:
        raise TypeError(f"{contender.name} is to be read, and cannot")
    return contender.name, ready.meter, ready.read
