"""Nobody waits for ever while others have work: partitions, retries, and an outage's end."""

import time
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from msgspec import Struct

from consumers.consumer import consumer
from consumers.owned import Owned
from consumers.retry import Fixed, Park
from consumers.workers import Workers
from eventstore import EventStore, Metadata, NewEvent, Priority, RecordedEvent, Untyped
from eventstore.partitions import partition_of
from tests.support.handling import work
from tests.support.letters import until_listed
from tests.support.running import running
from tests.support.servers import Server, redis_server, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


class Placed(Struct, frozen=True):
    n: int


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed]) as one:
        yield one


def streams_of(store: EventStore, partition: int, number: int) -> list[str]:
    names = (f"order-{i}" for i in range(10_000))
    return [name for name in names if partition_of(name, store.log.partitions) == partition][:number]


async def test_a_partition_with_a_backlog_leaves_the_others_their_turns_also_with_one_worker(store: EventStore) -> None:
    (busy,), (other,) = streams_of(store, 0, 1), streams_of(store, 1, 1)
    seen: list[str] = []

    @consumer("alone", concurrency=1)
    async def handle(event: Placed) -> None:
        await work(0.002)
        seen.append(busy if event.n == 0 else other)

    await store.append(busy, [Placed(0)] * 1_000)
    async with running(store, handle):
        await until(lambda: len(seen) > 20)
        await store.append(other, [Placed(1)])
        before = len(seen)
        await until(lambda: other in seen)
    assert seen.index(other) - before < 200


async def test_a_retry_comes_in_time_also_under_a_backlog(store: EventStore) -> None:
    failing, *busy = streams_of(store, 0, 7)
    calls: list[int] = []

    @consumer("in-time", concurrency=2, retry=Fixed("50ms", attempts=3, immediate=1, jitter=0))
    async def handle(event: Placed) -> None:
        calls.append(event.n)
        if event.n == 1 and calls.count(1) == 1:
            raise ValueError("no")
        await work(0.01)

    await store.append(failing, [Placed(1)])
    for stream in busy:
        await store.append(stream, [Placed(0)] * 100)
    async with running(store, handle):
        await until(lambda: calls.count(1) == 2)
    assert len(calls) < 200, "it waited for the backlog"


async def test_an_outage_ends_also_if_an_event_that_does_not_decode_is_the_first_that_is_tried(server: Server) -> None:
    handled: list[str] = []
    is_out = True

    @consumer("outage", retry=Park(), concurrency=1)
    async def handle(event: RecordedEvent) -> None:
        if is_out:
            raise ConnectionError("the API is away")
        handled.append(event.stream)

    where: dict[str, Any] = {"prefix": "outage", "partitions": 1}
    async with open_store(server, types=[], **where) as older, open_store(server, types=[Placed], **where) as store:
        for i in range(20):
            await store.append(f"order-{i}", [Placed(i)])
        await older.append("strange-1", [NewEvent(data=Untyped("Placed", {"n": "seven"}))])
        await store.append("order-20", [Placed(20)])
        async with running(store, handle):
            await until_listed(store, 20, "outage")
            is_out = False
            await until(lambda: handled == ["order-20"])
            await until_listed(store, 21, "outage")


async def test_a_rate_is_kept_also_after_a_while_without_events(store: EventStore) -> None:
    called_at: list[float] = []

    @consumer("paced", rate="10/s")
    async def handle(event: Placed) -> None:
        called_at.append(time.monotonic())

    async with running(store, handle):
        await work(2.5)  # workers look for events now and then, and find none
        for i in range(16):
            await store.append(f"order-{i}", [Placed(i)])
        await until(lambda: len(called_at) == 16)
    pauses = [after - before for before, after in pairwise(called_at)]
    assert min(pauses) > 0.05
    assert called_at[-1] - called_at[0] > 1.4


async def test_a_partition_with_something_urgent_comes_before_the_others(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RecordedEvent] = []
    first: list[RecordedEvent] = []
    has_begun, is_known, may_go_on = anyio.Event(), anyio.Event(), anyio.Event()
    ready = Workers.ready

    def told(workers: Workers, owned: Owned) -> None:
        ready(workers, owned)
        if owned.holder.has_urgent:
            is_known.set()

    @consumer("hurried", concurrency=1)
    async def handle(event: RecordedEvent) -> None:
        if not first:
            first.append(event)
            has_begun.set()
            await may_go_on.wait()
        seen.append(event)

    def placed(priority: Priority) -> NewEvent:
        return NewEvent(data=Placed(1), metadata=Metadata(priority=priority))

    monkeypatch.setattr(Workers, "ready", told)
    partitions = range(store.log.partitions)
    for partition in partitions:
        for stream in streams_of(store, partition, 5):
            await store.append(stream, [placed(Priority.LOW)] * 4)
    async with running(store, handle):
        await has_begun.wait()
        another = next(partition for partition in partitions if partition != first[0].partition)
        await store.append(streams_of(store, another, 6)[5], [placed(Priority.CRITICAL)])
        await is_known.wait()
        may_go_on.set()
        await until(lambda: len(seen) == 20 * len(partitions) + 1)
    assert [event.metadata.priority for event in seen[:3]] == [Priority.LOW, Priority.CRITICAL, Priority.LOW]


async def test_what_is_urgent_in_a_partition_again_waits_for_no_turns_of_all_the_others(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RecordedEvent] = []
    in_hands: list[RecordedEvent] = []
    known: set[int] = set()
    may_go_on = anyio.Semaphore(0)
    ready = Workers.ready

    def told(workers: Workers, owned: Owned) -> None:
        ready(workers, owned)
        if owned.holder.has_urgent:
            known.add(owned.partition)

    @consumer("hurried-again", concurrency=1)
    async def handle(event: RecordedEvent) -> None:
        in_hands.append(event)
        if len(in_hands) == 1 or event.metadata.priority is Priority.CRITICAL:
            await may_go_on.acquire()
        seen.append(event)

    def placed(priority: Priority) -> NewEvent:
        return NewEvent(data=Placed(1), metadata=Metadata(priority=priority))

    async def hurry(partition: int, stream: int) -> None:
        known.clear()
        await store.append(streams_of(store, partition, stream + 1)[stream], [placed(Priority.CRITICAL)])
        await until(lambda: partition in known)

    monkeypatch.setattr(Workers, "ready", told)
    partitions = range(store.log.partitions)
    for partition in partitions:
        for stream in streams_of(store, partition, 5):
            await store.append(stream, [placed(Priority.LOW)] * 4)
    async with running(store, handle):
        await until(lambda: len(in_hands) == 1)
        one, other, *_ = [partition for partition in partitions if partition != in_hands[0].partition]
        await hurry(one, 5)
        await hurry(other, 5)
        may_go_on.release()
        await until(lambda: in_hands[-1].metadata.priority is Priority.CRITICAL)
        may_go_on.release()
        await until(
            lambda: {event.partition for event in seen if event.metadata.priority is Priority.CRITICAL} != set()
        )
        await until(lambda: in_hands[-1].metadata.priority is Priority.CRITICAL and in_hands[-1] is not seen[-1])
        await hurry(one if in_hands[-1].partition == other else other, 6)
        may_go_on.release()
        may_go_on.release()
        await until(lambda: len(seen) == 20 * len(partitions) + 3)
    low = [place for place, event in enumerate(seen) if event.metadata.priority is Priority.LOW]
    critical = [place for place, event in enumerate(seen) if event.metadata.priority is Priority.CRITICAL]
    assert critical[-1] < low[10], "it waited for the turns of the other partitions"
