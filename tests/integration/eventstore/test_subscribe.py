"""From history to live: nothing twice, nothing left out, whatever interrupts."""

import random
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest

from eventstore import Cursor, EventStore, Filter, InvalidEvent, InvalidRequest, RecordedEvent, Unavailable, Untyped
from eventstore.subscribe import Subscription, subscribe
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import (
    blocked_clients,
    connections_made,
    debuggable_server,
    fill,
    numbers,
    restart_process,
    stream_in,
)
from tests.support.servers import Server, redis_cluster, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
ORDERS = pytest.mark.parametrize("order", ["partition", "total"])


server = debuggable_fixture()
store = own_store_fixture()


async def take(subscription: Subscription, n: int, seconds: float = 20) -> list[RecordedEvent]:
    with anyio.fail_after(seconds):
        return [await anext(subscription) for _ in range(n)]


async def nothing_comes(subscription: Subscription, seconds: float = 0.05) -> bool:
    with anyio.move_on_after(seconds):
        await anext(subscription)
        return False
    return True


@ORDERS
async def test_history_goes_on_into_live(store: EventStore, order: str) -> None:
    for p in range(4):
        await fill(store, stream_in(p, 4), 1500, first=10_000 * p)
    async with aclosing(store.subscribe(order=order)) as subscription:  # type: ignore[arg-type]
        assert not subscription.caught_up
        history = await take(subscription, 6000)
        assert subscription.caught_up
        assert sorted(numbers(history)) == [10_000 * p + i for p in range(4) for i in range(1500)]
        for i in range(20):
            await store.append(f"order-{i}", [Noted(-i)])
            (event,) = await take(subscription, 1)
            assert event.data.n == -i
        assert subscription.cursor == await store.heads()


async def test_waiting_costs_one_blocked_call_however_often_it_is_interrupted(
    server: Server, store: EventStore
) -> None:
    async with aclosing(store.subscribe()) as subscription:
        assert await nothing_comes(subscription)
        connections = connections_made(server)
        for _ in range(20):
            assert await nothing_comes(subscription, 0.01)
        assert connections_made(server) == connections
        assert blocked_clients(server) == 1
        await fill(store, "order-1", 1)
        assert numbers(await take(subscription, 1)) == [1]


@ORDERS
async def test_cancelled_at_any_moment_it_goes_on_without_loss_or_duplicate(store: EventStore, order: str) -> None:
    chance = random.Random(3)
    found: list[RecordedEvent] = []

    async def write() -> None:
        for i in range(600):
            await store.append(f"order-{i % 40}", [Noted(i)])

    async with aclosing(store.subscribe(order=order)) as subscription, anyio.create_task_group() as tasks:  # type: ignore[arg-type]
        tasks.start_soon(write)
        with anyio.fail_after(30):
            while len(found) < 600:
                with anyio.move_on_after(chance.random() * 0.004):
                    found.append(await anext(subscription))
        assert sorted(numbers(found)) == list(range(600))
        assert subscription.cursor == await store.heads()


async def test_a_filter_passes_over_events_and_the_cursor_with_them(store: EventStore) -> None:
    await fill(store, stream_in(0, 4, "invoice"), 1)
    await fill(store, stream_in(0, 4, "order"), 3000)
    where = Filter(categories=("invoice",))
    async with aclosing(store.subscribe(where=where)) as subscription:
        assert numbers(await take(subscription, 1)) == [1]
        assert await nothing_comes(subscription, 0.5)
        assert subscription.cursor == await store.heads()
        assert subscription.caught_up


async def test_system_streams_are_left_out_unless_asked_for(store: EventStore) -> None:
    await store.append_to("$audit", [Noted(-1)])
    await fill(store, "order-1", 1)
    async with aclosing(store.subscribe()) as plain, aclosing(store.subscribe(system=True)) as whole:
        assert numbers(await take(plain, 1)) == [1]
        assert sorted(numbers(await take(whole, 2))) == [-1, 1]


async def test_it_begins_at_the_filter_s_time(server: Server, store: EventStore) -> None:
    await fill(store, stream_in(0, 4), 20_000)
    late = await store.append("order-1", [Noted(-1)])
    calls = server.calls_of("xrange")
    async with aclosing(store.subscribe(where=Filter(since=late.recorded_at))) as subscription:
        assert numbers(await take(subscription, 1)) == [-1]
    assert server.calls_of("xrange") - calls < 100


async def test_an_event_that_does_not_decode_is_neither_passed_over_nor_lost(server: Server, store: EventStore) -> None:
    async with open_store(server.settings, types=()) as stranger:
        await stranger.append("order-1", [Untyped("Noted", {"n": 1})])
        await stranger.append("order-1", [Untyped("Noted", {"n": "not a number"})])
    async with aclosing(store.subscribe()) as subscription:
        assert numbers(await take(subscription, 1)) == [1]
        before = subscription.cursor
        for _ in range(2):
            with pytest.raises(InvalidEvent):
                await anext(subscription)
        assert subscription.cursor == before


async def test_large_events_are_held_within_the_bound(store: EventStore) -> None:
    stream = stream_in(0, 4)
    for i in range(40):
        await store.append(stream, [Noted(i, "x" * 1_000_000)])
    async with aclosing(store.subscribe()) as subscription:
        for i in range(40):
            assert (await anext(subscription)).data.n == i
            held = sum(len(entry.data) for entry in subscription._ready)
            assert held <= 8 << 20


async def test_closing_ends_the_iteration_and_the_wait(server: Server, store: EventStore) -> None:
    subscription = store.subscribe()
    found: list[RecordedEvent] = []

    async def follow() -> None:
        found.extend([event async for event in subscription])

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await until(lambda: blocked_clients(server) == 1)
            await subscription.aclose()
        await until(lambda: blocked_clients(server) == 0)
    assert found == []


async def test_closing_the_store_ends_its_subscriptions(server: Server) -> None:
    found: list[RecordedEvent] = []

    async def follow(subscription: Subscription) -> None:
        found.extend([event async for event in subscription])

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, open_store(server) as store:
            tasks.start_soon(follow, store.subscribe())
            await until(lambda: blocked_clients(server) == 1)
        await until(lambda: blocked_clients(server) == 0)
    assert found == []


async def test_two_tasks_on_one_subscription_are_refused(store: EventStore) -> None:
    async with aclosing(store.subscribe()) as subscription, anyio.create_task_group() as tasks:
        tasks.start_soon(nothing_comes, subscription, 0.5)
        await anyio.lowlevel.checkpoint()
        with pytest.raises(RuntimeError, match="one task"):
            await anext(subscription)


async def test_wrong_arguments_are_refused(store: EventStore) -> None:
    with pytest.raises(InvalidRequest):
        store.subscribe(order="time")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        store.subscribe(cursor=Cursor.start(5))


@ORDERS
async def test_a_server_that_restarts_is_waited_for(order: str) -> None:
    args = ["--appendonly", "yes", "--appendfsync", "always"]
    async with debuggable_server(*args) as server, open_store(server.settings, durability="fsync") as store:
        await fill(store, "order-1", 10)
        async with aclosing(store.subscribe(order=order)) as subscription:  # type: ignore[arg-type]
            assert len(await take(subscription, 10)) == 10
            assert await nothing_comes(subscription)
            for i in range(3):
                restart_process(server)
                await fill(store, f"order-{i}", 10, first=100 * (i + 1))
                assert numbers(await take(subscription, 10)) == list(range(100 * (i + 1), 100 * (i + 1) + 10))


async def test_a_wrong_password_is_raised_and_not_waited_for(server: Server) -> None:
    server.admin("ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all")
    url = SecretUrl(f"redis://reader:secret@{server.address}")
    async with open_store(RedisSettings(url=url)) as store:
        await fill(store, "order-1", 1)
        async with aclosing(store.subscribe()) as subscription:
            assert len(await take(subscription, 1)) == 1
            assert await nothing_comes(subscription)
            server.admin("ACL", "SETUSER", "reader", "resetpass", ">other")
            server.admin("CLIENT", "KILL", "USER", "reader")
            with pytest.raises(Unavailable) as refused:
                await take(subscription, 1)
            assert refused.value.reason == "authentication"


@ORDERS
async def test_a_cluster_is_followed_partition_by_partition(order: str) -> None:
    async with redis_cluster() as nodes:
        settings = RedisSettings(url=SecretUrl(nodes[0].url), cluster=True)
        async with open_store(settings, partitions=8) as store:
            for p in range(8):
                await fill(store, stream_in(p, 8), 50, first=100 * p)
            async with aclosing(subscribe(store.log, order=order)) as subscription:  # type: ignore[arg-type]
                assert len(await take(subscription, 400)) == 400
                for p in range(8):
                    await fill(store, stream_in(p, 8), 1, first=-p)
                    assert numbers(await take(subscription, 1)) == [-p]
                assert subscription.cursor == await store.heads()
            found = [event async for event in store.read_all(order="total")]
            assert [e.recorded_at for e in found] == sorted(e.recorded_at for e in found)
