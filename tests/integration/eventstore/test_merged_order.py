"""The total order, live: final, the same for all, and complete where clocks run apart (C06)."""

import random
from contextlib import aclosing
from itertools import pairwise

import anyio
import pytest
from msgspec.structs import replace

from eventstore import Cursor, EventStore, Receipt, RecordedEvent, Unavailable
from eventstore.durability import Durability
from eventstore.subscribe import Subscription, promise
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import Failover, fill, stream_in
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
PARTITIONS = 16
AHEAD_US = 5_000_000


server = debuggable_fixture()
store = own_store_fixture(partitions=PARTITIONS)


def key(event: RecordedEvent) -> tuple[int, int, int]:
    return event.recorded_at, event.partition, event.position


async def take(subscription: Subscription, n: int) -> list[RecordedEvent]:
    with anyio.fail_after(30):
        return [await anext(subscription) for _ in range(n)]


async def run_ahead(store: EventStore, partition: int) -> Receipt:
    """An event caused by one from the future: the partition runs on from there."""
    here = await store.append(stream_in(partition, PARTITIONS), [Noted(0)])
    future = replace(here, recorded_at=here.recorded_at + AHEAD_US)
    return await store.append(stream_in(partition, PARTITIONS), [Noted(0)], causes=[future])


@pytest.mark.parametrize("order", ["partition", "total"])
async def test_stopped_and_resumed_fifty_times_under_writers_nothing_is_skipped_or_doubled(
    server: Server, store: EventStore, order: str
) -> None:
    await run_ahead(store, 3)
    chance, cursor = random.Random(1), Cursor.start(PARTITIONS)
    found: list[RecordedEvent] = []
    per_writer, writers = 250, 8

    async def write(writer: int) -> None:
        async with open_store(server.settings, partitions=PARTITIONS) as own:
            own_chance = random.Random(writer)
            for i in range(per_writer):
                await own.append(f"order-{own_chance.randrange(200)}", [Noted(writer * per_writer + i)])

    async with anyio.create_task_group() as tasks:
        for writer in range(writers):
            tasks.start_soon(write, writer)
        for i in range(51):
            subscription = store.subscribe(order=order, cursor=Cursor.parse(str(cursor)))  # type: ignore[arg-type]
            async with aclosing(subscription):
                wanted = chance.randrange(2 * writers * per_writer // 50) if i < 50 else None
                with anyio.move_on_after(chance.random() * 0.2 if wanted is not None else 30):
                    while len(found) < 2 + writers * per_writer and wanted != 0:
                        found.append(await anext(subscription))
                        wanted = None if wanted is None else wanted - 1
                cursor = subscription.cursor

    heads = [position for _, position in (await store.heads()).places]
    assert sorted((e.partition, e.position) for e in found) == [(p, i + 1) for p in range(16) for i in range(heads[p])]
    if order == "total":
        assert [key(e) for e in found] == sorted(key(e) for e in found)
    elif not any(a.recorded_at > b.recorded_at for a, b in pairwise(found)):
        pytest.fail("no event was recorded lower than one delivered before it: the case was not met")


async def test_all_readers_see_one_order_live_and_afterwards(store: EventStore) -> None:
    """Under writers, with partitions that run ahead, and events whose causes lie in other partitions."""
    await run_ahead(store, 3)

    async def write(writer: int) -> None:
        chance = random.Random(writer)
        newest: Receipt | None = None
        for i in range(150):
            causes = [newest] if newest and chance.random() < 0.2 else []
            newest = await store.append(
                f"order-{chance.randrange(100)}", [Noted(i)] * chance.randint(1, 3), causes=causes
            )

    finished = anyio.Event()

    async def read(found: list[RecordedEvent]) -> None:
        async with aclosing(store.subscribe(order="total")) as subscription:
            async for event in subscription:
                found.append(event)
                if finished.is_set() and subscription.cursor == await store.heads():
                    return

    readers: list[list[RecordedEvent]] = [[], []]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for found in readers:
                tasks.start_soon(read, found)
            async with anyio.create_task_group() as writing:
                for writer in range(4):
                    writing.start_soon(write, writer)
            finished.set()
            await store.append("order-last", [Noted(-1)])
    assert readers[0] == readers[1] == [event async for event in store.read_all(order="total")]
    assert [key(e) for e in readers[0]] == sorted(key(e) for e in readers[0])


async def test_what_was_emitted_stays_final(store: EventStore) -> None:
    """An event in a partition that was silent comes after those that were emitted, however late its clock is."""
    await run_ahead(store, 3)
    async with aclosing(store.subscribe(order="total")) as subscription:
        before = await take(subscription, 2)
        late = await store.append(stream_in(5, PARTITIONS), [Noted(1)])
        assert late.recorded_at > before[-1].recorded_at
        assert [e.position for e in await take(subscription, 1)] == [late.position]


async def test_a_batch_is_asked_for_once_and_only_of_lagging_partitions(server: Server, store: EventStore) -> None:
    await fill(store, stream_in(0, PARTITIONS), 500)
    async with aclosing(store.subscribe(order="total")) as subscription:
        writes = server.calls_of("hset")
        await take(subscription, 500)
        assert server.calls_of("hset") - writes == PARTITIONS - 1


async def test_a_promise_binds_later_appends(store: EventStore) -> None:
    here = await fill(store, stream_in(2, PARTITIONS), 3)
    time = here.recorded_at + 2_000_000
    assert await promise(store.log, 2, time) == ((here.epoch, 3), time)
    assert await promise(store.log, 2, 5) == ((here.epoch, 3), time)  # what was promised stays promised
    after = await fill(store, stream_in(2, PARTITIONS), 1)
    assert after.recorded_at > time


async def test_a_promise_of_an_empty_partition_begins_before_its_first_event(store: EventStore) -> None:
    assert await promise(store.log, 2, 5) == ((0, 0), 5)


async def test_a_promise_to_another_server_process_fixes_its_epoch(server: Server, store: EventStore) -> None:
    before = await fill(store, stream_in(2, PARTITIONS), 1)
    Failover(server).restart()
    time = before.recorded_at + 10
    assert await promise(store.log, 2, time) == ((before.epoch, 1), time)
    head = store.log.keys.head(2)
    number = int(server.admin("HGET", head, "number"))
    assert number > before.epoch
    assert server.admin("HGET", head, "epochs") == f"{before.epoch}:1".encode()  # without an event: no trace
    after = await fill(store, stream_in(2, PARTITIONS), 1)
    assert (after.epoch, after.position) == (number, 2)


async def test_a_promise_that_is_not_durable_does_not_count(store: EventStore) -> None:
    """As when the last replica has gone since the store was opened."""
    alone = replace(store.log, durability=Durability("replicas:1", ("WAIT", 1, 200), needed=1, wait_seconds=0.2))
    with pytest.raises(Unavailable) as refused:
        await promise(alone, 0, 1)
    assert refused.value.reason == "no-replicas"
