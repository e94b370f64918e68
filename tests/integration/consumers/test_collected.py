"""Handlers that take a Context are called as plainly as others, until one fails or returns something."""

from collections.abc import AsyncIterator

import pytest

from consumers import Context, consumer
from consumers.retry import Immediate
from eventstore import EventStore
from tests.support.logs import fill
from tests.support.running import counted, running, until_lag
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
EVENTS = 20


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", EVENTS)
        yield store


async def test_each_call_is_counted_and_only_what_succeeded_is_written(store: EventStore) -> None:
    calls: list[tuple[int, int, bool]] = []

    @consumer("counts", retry=Immediate(attempts=3))
    async def count(event: Noted, ctx: Context) -> None:
        calls.append((event.n, ctx.attempt, ctx.replaying))
        ctx.effects.hincrby("seen", f"{event.n}", 1)
        if event.n == 7 and ctx.attempt < 3:
            raise ValueError("not yet")

    async with running(store, count):
        await until_lag(store, "counts")
    assert await counted(store, "counts", "seen") == {f"{n}": 1 for n in range(1, EVENTS + 1)}
    assert [call for call in calls if call[0] == 7] == [(7, 1, False), (7, 2, False), (7, 3, False)]
    assert len(calls) == EVENTS + 2


async def test_what_is_returned_goes_out_with_what_was_collected(store: EventStore) -> None:
    @consumer("answers")
    async def answer(event: Noted, ctx: Context) -> Noted | None:
        ctx.effects.hincrby("seen", "all", 1)
        return Noted(100, ctx.idempotency_key) if event.n == 7 else None

    async with running(store, answer):
        await until_lag(store, "answers")
        async for _ in tries():
            if await store.version("order-1") == EVENTS + 1:
                break
        await until_lag(store, "answers")
    assert await counted(store, "answers", "seen") == {"all": EVENTS + 1}
