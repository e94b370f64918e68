"""Reads and subscriptions that are cancelled, at every await: nothing is lost, doubled or mixed up, nothing stays."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, cast

import pytest

from eventstore import EventStore, Filter, RecordedEvent
from eventstore.subscribe import Subscription
from tests.support.accounts import ACCOUNT, Account, Deposited, Withdrawn
from tests.support.cancelling import WAYS, Cut, Way, every_await
from tests.support.connections import calls_under_way, connections_are_well
from tests.support.fixtures import debuggable_fixture
from tests.support.logs import Failover, blocked_clients, fill, numbers, stream_in
from tests.support.servers import Server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
ORDERS = pytest.mark.parametrize("order", ["partition", "total"])
PARTITIONS = 3
READS: dict[str, Callable[[EventStore], Any]] = {
    "stream": lambda store: store.read(stream_in(0, PARTITIONS)),
    "stream backwards": lambda store: store.read(stream_in(0, PARTITIONS), backwards=True),
    "partition": lambda store: store.read_partition(0, where=Filter(since=1)),
    "all": lambda store: store.read_all(),
    "all in total order": lambda store: store.read_all(order="total", where=Filter(since=1)),
}


server = debuggable_fixture()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    types = (Noted, Deposited, Withdrawn)
    async with open_store(server.settings, partitions=PARTITIONS, types=types) as store:
        yield store


async def deliver(subscription: Subscription, n: int, way: Way) -> list[RecordedEvent]:
    """The next n events; each is asked for again and again, cut at its first suspension, its second, ..."""
    found: list[RecordedEvent] = []
    for _ in range(n):
        at = 1
        while (outcome := await Cut(at, way)(partial(anext, subscription))).cancelled:
            at += 1
        found.append(cast("RecordedEvent", outcome.result()))
    return found


@EVERY_WAY
@ORDERS
async def test_a_subscription_goes_on_after_each_cut(server: Server, store: EventStore, order: str, way: Way) -> None:
    for p in range(PARTITIONS):
        await fill(store, stream_in(p, PARTITIONS), 3, first=10 * p)
    async with aclosing(store.subscribe(order=order)) as subscription:  # type: ignore[arg-type]
        found = await deliver(subscription, 3 * PARTITIONS, way)
        for i in range(2 * PARTITIONS):  # and those that come while it waits, or has been cut as it waited
            await fill(store, stream_in(i % PARTITIONS, PARTITIONS), 1, first=100 + i)
            found += await deliver(subscription, 1, way)
        assert sorted(numbers(found)) == [0, 1, 2, 10, 11, 12, 20, 21, 22, *range(100, 100 + 2 * PARTITIONS)]
        for p in range(PARTITIONS):
            assert [e.position for e in found if e.partition == p] == [1, 2, 3, 4, 5]
        if order == "total":
            assert [e.recorded_at for e in found] == sorted(e.recorded_at for e in found)
        assert subscription.cursor == await store.heads()
        assert blocked_clients(server) <= 1
        await connections_are_well(store, [server])
    await until(lambda: blocked_clients(server) == 0)
    await connections_are_well(store, [server])


@EVERY_WAY
async def test_cut_as_it_reports_lost_events_it_reports_them_once_and_goes_back(server: Server, way: Way) -> None:
    async with open_store(server.settings, partitions=1) as store:
        await fill(store, "order-1", 2)
        failover = Failover(server)
        failover.replicated()
        await fill(store, "order-1", 2, first=3)
        async with aclosing(store.subscribe(observer="me")) as subscription:
            assert numbers(await deliver(subscription, 4, way)) == [1, 2, 3, 4]
            failover.happen()
            await fill(store, "order-1", 1, first=5)
            assert numbers(await deliver(subscription, 1, way)) == [5]
        lost = [entry.data.what async for entry in store.read("$audit")]
        assert len(lost) == 1
        await connections_are_well(store, [server])


@EVERY_WAY
@pytest.mark.parametrize("kind", READS)
async def test_a_read_that_is_cut_leaves_nothing_to_the_next(
    server: Server, store: EventStore, kind: str, way: Way
) -> None:
    for p in range(PARTITIONS):
        await fill(store, stream_in(p, PARTITIONS), 300)
    whole = [event async for event in READS[kind](store)]
    assert len(whole) >= 300
    async for cut in every_await(way):
        reading: AsyncGenerator[RecordedEvent, None] = READS[kind](store)

        async def collect(reading: AsyncGenerator[RecordedEvent, None] = reading) -> list[RecordedEvent]:
            return [event async for event in reading]

        outcome = await cut(collect)
        if not outcome.cancelled:  # nor was it if a scope was cancelled at the last await, which had ended by then
            assert outcome.result() == whole
        await reading.aclose()
        assert not calls_under_way(store)
        await connections_are_well(store, [server])
        assert [event async for event in READS[kind](store)] == whole


@EVERY_WAY
async def test_questions_that_are_cut_leave_nothing_to_the_next(server: Server, store: EventStore, way: Way) -> None:
    await store.append("account-1", [Deposited(n) for n in range(300)])
    questions: list[tuple[Callable[[], Any], Any]] = [
        (store.heads, await store.heads()),
        (partial(store.position_at, 1 << 52), await store.heads()),
        (partial(store.version, "account-1"), 300),
        (partial(store.snapshot, "account-1", ACCOUNT), 300),
    ]
    for ask, answer in questions:
        async for cut in every_await(way):
            await cut(ask)
            assert not calls_under_way(store)
            await connections_are_well(store, [server])
            assert await ask() == answer
    async for cut in every_await(way):
        await cut(partial(store.load, "account-1", ACCOUNT))
        assert (await store.load("account-1", ACCOUNT)).state == Account(sum(range(300)), 300)
        await connections_are_well(store, [server])
