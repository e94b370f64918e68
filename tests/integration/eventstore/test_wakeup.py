"""All subscriptions of a store share the calls that wait at the server, and none misses what the others are told."""

import random
from contextlib import AsyncExitStack, aclosing
from statistics import median

import anyio
import pytest

from eventstore import EventStore, RecordedEvent, wakeup
from eventstore.subscribe import Subscription
from eventstore.wakeup import Wakeup
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.fixtures import own_store_fixture, server_fixture
from tests.support.logs import blocked_clients, connections_made, fill, numbers, stream_in
from tests.support.servers import Server, redis_cluster, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
READERS = 50


server = server_fixture()
store = own_store_fixture()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not woken waits as good as for ever, and not 5 s."""
    monkeypatch.setattr(wakeup, "BLOCK_SECONDS", 600.0)


class Followers:
    """Subscriptions that each note what they are given."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.seen: list[list[int]] = [[] for _ in range(READERS)]

    async def follow(self, i: int) -> None:
        async with aclosing(self.store.subscribe(order="total" if i % 2 else "partition")) as subscription:
            async for event in subscription:
                self.seen[i].append(event.data.n)

    def all_have(self, n: int) -> bool:
        return all(n in numbers for numbers in self.seen)


async def test_fifty_subscriptions_of_a_lone_server_wait_on_one_connection(
    server: Server, store: EventStore, patient: None
) -> None:
    followers = Followers(store)
    async with anyio.create_task_group() as tasks:
        for i in range(READERS):
            tasks.start_soon(followers.follow, i)
        for n in range(20):
            await store.append(f"order-{n}", [Noted(n)])
            await until(lambda n=n: followers.all_have(n))  # type: ignore[misc]
        await until(lambda: blocked_clients(server) == 1)
        tasks.cancel_scope.cancel()
    assert followers.seen == [list(range(20))] * READERS
    await until(lambda: blocked_clients(server) == 0)


async def test_fifty_subscriptions_in_a_cluster_wait_on_a_connection_for_each_partition() -> None:
    async with redis_cluster() as nodes:
        settings = RedisSettings(url=SecretUrl(nodes[0].url), cluster=True)
        async with open_store(settings, partitions=16) as store, anyio.create_task_group() as tasks:
            followers, seconds = Followers(store), []
            for i in range(READERS):
                tasks.start_soon(followers.follow, i)
            for n in range(9):
                await until(lambda: [blocked_clients(node) for node in nodes] == [5, 6, 5])
                began = anyio.current_time()
                await store.append(f"order-{n}", [Noted(n)])
                await until(lambda n=n: followers.all_have(n))  # type: ignore[misc]
                seconds.append(anyio.current_time() - began)
            assert followers.seen == [list(range(9))] * READERS
            assert median(seconds) < 1
            assert max(_blocking(node) for node in nodes) <= 6
            tasks.cancel_scope.cancel()


async def test_readers_who_are_slow_or_interrupted_are_told_all_the_same(store: EventStore, patient: None) -> None:
    chance, events, written = random.Random(7), 300, 0
    found: list[list[RecordedEvent]] = [[] for _ in range(12)]

    async def write() -> None:
        nonlocal written
        for n in range(events):
            await store.append(f"order-{n % 30}", [Noted(n)])
            written += 1

    async def follow(mine: list[RecordedEvent], patience: float) -> None:
        async with aclosing(store.subscribe()) as subscription:
            while len(mine) < events:
                with anyio.move_on_after(chance.random() * patience):
                    mine.append(await anext(subscription))
                if chance.random() < 0.1:
                    some = min(written + chance.randrange(20), events)
                    await until(lambda some=some: written >= some)  # type: ignore[misc]

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for i, mine in enumerate(found):
                tasks.start_soon(follow, mine, (0.02, 0.1, 60)[i % 3])
            tasks.start_soon(write)
    for mine in found:
        assert sorted(numbers(mine)) == list(range(events))


async def test_who_joins_behind_the_call_is_told_at_once_and_once(store: EventStore, patient: None) -> None:
    stream = stream_in(2, 4)
    await fill(store, stream, 2)
    old = (await store.heads()).places
    await fill(store, stream, 2, first=3)
    places = (await store.heads()).places
    shared = Wakeup(store.log)
    async with aclosing(shared.reader()) as first, aclosing(shared.reader()) as second:
        assert not await _told(first.wait(places))
        assert await second.wait(old) == {2}
        assert not await _told(second.wait(old)), "a reader that finds nothing must not spin"
        await fill(store, stream, 1, first=5)
        with anyio.fail_after(5):
            assert await second.wait(places) == {2}
            assert await first.wait(places) == {2}


async def test_a_call_ends_with_its_last_reader_and_no_earlier(
    server: Server, store: EventStore, patient: None
) -> None:
    async with AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(aclosing(store.subscribe())) for _ in range(3)]
        for subscription in subscriptions:
            assert await _nothing_comes(subscription)
        connections = connections_made(server)
        for subscription in subscriptions[:2]:
            await subscription.aclose()
        assert blocked_clients(server) == 1
        await fill(store, "order-1", 1)
        with anyio.fail_after(5):
            assert (await anext(subscriptions[2])).data.n == 1
        assert connections_made(server) == connections
        assert await _nothing_comes(subscriptions[2])
        await subscriptions[2].aclose()
        await until(lambda: blocked_clients(server) == 0)


async def _told(waiting: object) -> bool:
    with anyio.move_on_after(0.1):
        await waiting  # type: ignore[misc]
        return True
    return False


async def _nothing_comes(subscription: Subscription) -> bool:
    with anyio.move_on_after(0.1):
        await anext(subscription)
        return False
    return True


def _blocking(node: Server) -> int:
    """Connections that were made for waiting."""
    return sum(b"cmd=xread" in line for line in node.clients())
