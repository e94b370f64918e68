"""A worker ends within its grace and a few seconds, whatever its handlers and its server do."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import anyio.to_thread
import pytest
from msgspec import Struct

from consumers.consumer import consumer
from consumers.context import Context
from consumers.run import run
from eventstore import EventStore, RecordedEvent
from tests.support.handling import work
from tests.support.hung_worker import GROUP, hung_worker, until_begun
from tests.support.running import counted, owners, running, until_lag
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


class Placed(Struct, frozen=True):
    n: int


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed]) as one:
        yield one


async def test_a_handler_in_a_thread_that_never_ends_keeps_no_process_from_ending(
    server: Server, store: EventStore
) -> None:
    await store.append("order-1", [Placed(1)])
    with hung_worker(store, server.url) as process:
        await anyio.to_thread.run_sync(until_begun, process)
        process.send_signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(process.wait, 10)
    assert process.returncode == 0
    assert not any(await owners(store, GROUP)), "all leases were given back"


async def test_a_worker_stops_in_time_though_its_server_does_not_answer(server: Server, store: EventStore) -> None:
    begun: list[int] = []

    @consumer("stops", grace="200ms")
    async def handle(event: Placed) -> None:
        begun.append(event.n)
        await work(60)

    await store.append("order-1", [Placed(1)])
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        ended = anyio.Event()

        async def worker() -> None:
            await run(store, [handle], stop=stop, lease_seconds=2.0)
            ended.set()

        tasks.start_soon(worker)
        await until(lambda: begun == [1])
        server.process.send_signal(signal.SIGSTOP)
        try:
            stop.set()
            with anyio.fail_after(8):
                await ended.wait()
        finally:
            server.process.send_signal(signal.SIGCONT)


async def test_a_server_that_stands_still_for_three_leases_costs_the_leases_and_no_event(
    server: Server, store: EventStore
) -> None:
    @consumer("waits")
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        ctx.effects.hincrby("handled", f"{event.stream}@{event.version}")

    for i in range(20):
        await store.append(f"order-{i}", [Placed(n) for n in range(20)])
    async with running(store, handle, lease_seconds=1.0):
        await until_lag(store, "waits")
        server.process.send_signal(signal.SIGSTOP)
        try:
            await work(3)
        finally:
            server.process.send_signal(signal.SIGCONT)
        for i in range(20):
            await store.append(f"order-{i}", [Placed(n) for n in range(20)])
        await until_lag(store, "waits")
        async for _ in tries():
            if all(await owners(store, "waits")):
                break
    found = await counted(store, "waits", "handled")
    assert found == {f"order-{i}@{version}": 1 for i in range(20) for version in range(1, 41)}


async def test_a_member_whose_handlers_ignore_that_their_time_is_over_leaves_its_partitions_to_others(
    store: EventStore,
) -> None:
    handled: list[int] = []
    may_end = anyio.Event()

    @consumer("stuck", timeout="200ms", concurrency=2)
    async def handle(event: Placed) -> None:
        while event.n < 2 and not may_end.is_set() and handled.count(-1) < 2:
            handled.append(-1)
            await _deaf(may_end)
        handled.append(event.n)

    for n in range(10):
        await store.append(f"order-{n}", [Placed(n)])
    async with running(store, handle, lease_seconds=0.5):
        try:
            await until(lambda: handled.count(-1) == 2)
            async with running(store, handle, lease_seconds=0.5):  # where they do end
                await until_lag(store, "stuck")
        finally:
            may_end.set()
    assert sorted(set(handled)) == [-1, *range(10)]


async def _deaf(may_end: anyio.Event) -> None:
    while not may_end.is_set():
        with suppress(asyncio.CancelledError):
            await may_end.wait()
