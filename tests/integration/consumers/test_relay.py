"""Events that handlers return reach their streams exactly once: through run(store, [...]), on a real server."""

from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest
from msgspec import Struct

from consumers.consumer import consumer
from consumers.context import To
from consumers.run import run
from eventstore import EventStore, Metadata, NewEvent, Priority, RecordedEvent
from tests.support.running import lag, running
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import forget_ids, open_store

pytestmark = pytest.mark.anyio


class Placed(Struct, frozen=True):
    n: int


class Paid(Struct, frozen=True):
    n: int


class Shipped(Struct, frozen=True):
    n: int


TYPES = [Placed, Paid, Shipped]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=TYPES) as one:
        yield one


async def events(store: EventStore, kind: type[Struct]) -> list[RecordedEvent]:
    return [event async for event in store.read_all() if isinstance(event.data, kind)]


async def until_there_are(store: EventStore, kind: type[Struct], number: int) -> list[RecordedEvent]:
    async for _ in tries():
        if len(found := await events(store, kind)) >= number:
            return found
    raise AssertionError


async def until_nothing_waits(store: EventStore) -> None:
    async for _ in tries():
        if await waiting(store) == 0:
            return


async def waiting(store: EventStore) -> int:
    keys = [store.log.keys.outgoing(p) for p in range(store.log.partitions)]
    return sum([int(await store.log.redis.execute(key, "XLEN", key)) for key in keys])


def counts(found: list[RecordedEvent]) -> Counter[int]:
    return Counter(event.data.n for event in found)


@consumer("pay")
async def pay(event: Placed) -> Paid:
    return Paid(event.n)


async def test_a_bare_event_goes_to_the_stream_of_its_cause(store: EventStore) -> None:
    for n in range(20):
        await store.append(f"order-{n}", [Placed(n)])
    async with running(store, pay):
        paid = await until_there_are(store, Paid, 20)
        await until_nothing_waits(store)
    assert {event.stream: (event.version, event.data.n) for event in paid} == {f"order-{n}": (2, n) for n in range(20)}
