"""Streams that left the main pass, and come back to it."""

from collections.abc import AsyncIterator

import anyio
import pytest
from msgspec import Struct

from consumers import Context, consumer
from consumers.groups import GroupShape, describe_group
from eventstore import EventStore
from tests.support.running import running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


class Wanted(Struct, frozen=True):
    pass


class Other(Struct, frozen=True):
    pass


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Wanted, Other], partitions=1) as one:
        yield one


@pytest.mark.parametrize("events", [[Wanted(), Other()], [Wanted(), Other(), Wanted()]], ids=["last", "between"])
async def test_a_slow_stream_comes_back_though_not_all_of_its_events_are_wanted(
    store: EventStore, events: list[Struct]
) -> None:
    await store.append("order-1", events)
    handled: list[int] = []
    may_go_on = anyio.Event()

    @consumer("slow")
    async def slow(event: Wanted, ctx: Context) -> None:
        handled.append(ctx.event.version)
        await may_go_on.wait()

    async def shape() -> GroupShape:
        return await describe_group(store, "slow")

    async with running(store, slow):
        await until(lambda: bool(handled))
        async for _ in tries():
            if (await shape()).partitions[0].detached:
                break
        may_go_on.set()
        async for _ in tries(20):
            now = await shape()
            if not (now.partitions[0].detached or now.lag):
                break
    assert handled == [version for version, event in enumerate(events, 1) if isinstance(event, Wanted)]
