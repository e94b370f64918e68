"""A primary is demoted and keeps its connections (case C34): appends and readers go to the one that Sentinel names."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import anyio
import pytest
from msgspec import Struct

from eventstore import EventStore, NewEvent, Receipt
from eventstore.read import Order
from eventstore.verify import verify
from infrastructure.server_program import find_program
from infrastructure.settings import RedisSettings
from tests.support.logs import attach, numbers
from tests.support.recorded import is_at_its_place, recorded
from tests.support.servers import Server, redis_server, sentinel, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

ORDERS: tuple[Order, ...] = ("partition", "total")
WRITERS = 8


class Watched(Struct):
    """A primary, its replica, and the Sentinel that names the primary."""

    primary: Server
    replica: Server
    watcher: Server

    @property
    def settings(self) -> RedisSettings:
        return RedisSettings(sentinels=(self.watcher.address,))

    async def change_roles(self) -> None:
        """Without loss, and nobody's connection is closed but those on which somebody waits for news."""
        before = _clients(self.primary)
        self.primary.admin("FAILOVER", "TO", "127.0.0.1", self.replica.port)
        await until(lambda: self.primary.admin("ROLE")[0] == b"slave")
        assert before & _clients(self.primary)
        self.watcher.admin("SENTINEL", "REMOVE", "mymaster")
        self.watcher.admin("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", self.replica.port, 1)


def _clients(server: Server) -> set[bytes]:
    """The connections that have run a script of ours, by their number."""
    return {line.split()[0] for line in server.clients() if b"cmd=eval" in line}


@pytest.fixture(params=["redis-server", find_program()], ids=["redis", "valkey"])
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    async with redis_server(request.param) as primary, redis_server(request.param) as replica:
        await attach(replica, primary)
        async with sentinel(primary, lines=["sentinel down-after-milliseconds mymaster 60000"]) as watcher:
            yield Watched(primary, replica, watcher)


async def test_the_refusal_of_an_append_is_enough_to_find_the_new_primary(watched: Watched) -> None:
    async with open_store(watched.settings) as store:
        await store.append("order-1", [Noted(1)])
        await watched.change_roles()
        with anyio.fail_after(5):
            assert (await store.append("order-1", [Noted(2)], expected=1)).version == 2
        assert b"errorstat_READONLY:count=1" in watched.primary.admin("INFO", "errorstats")
        assert len(recorded(watched.replica, store.log)) == 2


@pytest.mark.parametrize("order", ORDERS)
async def test_an_append_after_the_change_lands_once_within_five_seconds_and_is_delivered(
    watched: Watched, order: Order
) -> None:
    event = [NewEvent(id=uuid4(), data=Noted(2))]
    async with open_store(watched.settings) as store, aclosing(store.subscribe(order=order)) as following:
        await store.append("order-1", [Noted(1)])
        with anyio.fail_after(10):
            assert (await anext(following)).data.n == 1
            with anyio.move_on_after(0.05):
                await anext(following)  # it waits at the server when that is demoted
        assert await store.version("order-1") == 1
        await watched.change_roles()
        with anyio.fail_after(5):
            receipt = await store.append("order-1", event, expected=1)
        with anyio.fail_after(5):
            assert (await anext(following)).data.n == 2
        assert await store.append("order-1", event, expected=1) == receipt
        assert numbers([event async for event in store.read("order-1")]) == [1, 2]
        assert len(recorded(watched.replica, store.log)) == 2


async def test_under_load_each_acknowledged_append_is_there_once_and_in_order(watched: Watched) -> None:
    receipts: list[Receipt] = []
    found: dict[str, list[int]] = {}
    going = True

    async def write(store: EventStore, number: int) -> None:
        n = 0
        while going:
            receipts.append(await store.append(f"order-{number}", [Noted(n)], expected=n))
            n += 1

    async def follow(store: EventStore, order: Order) -> None:
        async with aclosing(store.subscribe(order=order)) as following:
            async for event in following:
                found.setdefault(f"{order} {event.stream}", []).append(event.data.n)

    async with open_store(watched.settings) as store, anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as writers:
            for number in range(WRITERS):
                writers.start_soon(write, store, number)
            for order in ORDERS:
                tasks.start_soon(follow, store, order)
            await until(lambda: len(receipts) > 200)
            await watched.change_roles()
            after = len(receipts)
            with anyio.fail_after(5):
                await until(lambda: len(receipts) > after + 200)
            going = False
        entries = recorded(watched.replica, store.log)
        assert len(entries) == len(receipts)
        assert [receipt for receipt in receipts if not is_at_its_place(receipt, entries)] == []
        await until(lambda: sum(map(len, found.values())) >= 2 * len(receipts))
        assert [numbers for numbers in found.values() if numbers != list(range(len(numbers)))] == []
        assert await verify(store.log) == []
        tasks.cancel_scope.cancel()
