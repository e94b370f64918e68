"""A store that is cancelled as it is opened, used or left, at every await: no task, connection or server stays."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from anyio import create_task_group
from anyio.lowlevel import checkpoint

from eventstore import EventStore, NewEvent, OutcomeUnknown, Receipt, Unavailable, audit, jobs
from eventstore.subscribe import Subscription
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.cancelling import WAYS, Cut, Way, every_await
from tests.support.connections import connections_are_well
from tests.support.embedded import holds_lock
from tests.support.fixtures import server_fixture
from tests.support.logs import stream_in
from tests.support.recorded import recorded
from tests.support.servers import Server, redis_cluster, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
SOAK = os.environ.get("EVENTSTORE_SOAK") == "1"


server = server_fixture()


async def use(settings: Settings, leaving: Callable[[], None] = lambda: None) -> None:
    """Opens a store, appends, reads, waits for events that do not come, leaves."""
    async with EventStore.open(settings=settings, types=[Noted]) as store, create_task_group() as tasks:
        receipt = await store.append("order-1", [Noted(1)])
        subscriptions = [store.subscribe(), store.subscribe(order="total")]
        for subscription in subscriptions:
            while not subscription.caught_up:
                await anext(subscription)
            tasks.start_soon(wait_for_end, subscription)
        assert await store.version("order-1") == receipt.version
        tasks.cancel_scope.cancel()
        leaving()


async def wait_for_end(subscription: Subscription) -> None:
    async for event in subscription:
        pytest.fail(f"{event} was delivered again")


@EVERY_WAY
@pytest.mark.parametrize("leaving", [False, True], ids=["from the start", "while it is left"])
async def test_a_store_that_is_cut_leaves_nothing_running(server: Server, way: Way, leaving: bool) -> None:
    settings = Settings(redis=server.settings, eventstore=LogSettings(partitions=2, durability="memory"))
    tasks = asyncio.all_tasks()
    async for cut in every_await(way, armed=not leaving):
        if cut.n % 8 == 0:
            server.admin("FLUSHALL")  # so that the log is made, too
        outcome = await cut(partial(use, settings, cut.arm))
        assert outcome.error is None
        assert asyncio.all_tasks() == tasks
        await until(lambda: len(server.clients()) == 1)
    async with EventStore.open(settings=settings, types=[Noted]) as store:
        assert [e.version for e in recorded(server, store.log)] == [*range(1, await store.version("order-1") + 1)]


@pytest.mark.parametrize("leaving", [False, True], ids=["from the start", "while it is left"])
async def test_an_embedded_server_does_not_outlive_a_user_who_is_cut(tmp_path: Path, leaving: bool) -> None:
    settings = Settings(eventstore=LogSettings(data_dir=tmp_path / "data", partitions=1))
    tasks = asyncio.all_tasks()
    places = range(1, 120 if leaving else 80) if SOAK else (range(1, 8) if leaving else [*range(1, 9), 15, 25, 35, 45])
    for n in places:  # each starts a server, and the number of awaits is that of the looks until it answers
        cut = Cut(n, "cancel", armed=not leaving)
        outcome = await cut(partial(use, settings, cut.arm))
        assert outcome.error is None
        assert asyncio.all_tasks() == tasks
        assert not holds_lock(tmp_path)


@EVERY_WAY
async def test_an_entry_of_the_audit_is_written_once_and_the_chain_stays_whole(server: Server, way: Way) -> None:
    async with open_store(server.settings, partitions=2) as store:
        async for cut in every_await(way):
            record = partial(audit.record, store, "ada", f"what-{cut.n}", id=uuid4())
            await cut(record)
            assert await record() == await record()
            assert await audit.check_chain(store) is None
            await connections_are_well(store, [server])
        assert await store.version("$audit") == cut.n


@EVERY_WAY
async def test_a_job_that_is_cut_is_recorded_as_failed(server: Server, way: Way) -> None:
    async with open_store(server.settings, partitions=2) as store:

        async def work() -> None:
            async with jobs.running(store, "import", "ada", total=2) as job:
                await store.append("order-1", [Noted(1)])
                await job.progress(1)
                await store.append("order-1", [Noted(2)])
                await job.progress(2)

        async for cut in every_await(way):
            before = len(await jobs.list_jobs(store))
            outcome = await cut(work)
            begun = (await jobs.list_jobs(store))[: -before or None]
            if not outcome.cancelled:
                assert [job.state for job in begun] == ["done"]
            else:  # cut before it began, or while its begin or its end was being written, which may have been
                assert [job.state for job in begun] in ([], ["failed"], ["running"], ["done"])
            await connections_are_well(store, [server])


@EVERY_WAY
async def test_on_a_cluster_nobody_is_harmed_and_nothing_is_lost(way: Way) -> None:
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(redis_cluster())
        settings = RedisSettings(url=SecretUrl(nodes[0].url), cluster=True)
        store = await stack.enter_async_context(open_store(settings, partitions=3))
        subscription = await stack.enter_async_context(aclosing(store.subscribe(order="total")))
        async for cut in every_await(way):
            ids = [uuid4() for _ in range(3)]
            appends = [
                partial(store.append, stream_in(p, 3), [NewEvent(data=Noted(cut.n), id=ids[p])]) for p in range(3)
            ]
            outcome = await cut(appends[0], beside=[*appends[1:]])
            assert [r.ids[0] for r in outcome.beside] == ids[1:]
            assert (await appends[0]()).ids[0] == ids[0]
            found = [(await deliver(subscription, way)).id for _ in range(3)]
            assert sorted(found) == sorted(ids)
            await connections_are_well(store, nodes)
        assert subscription.cursor == await store.heads()


async def deliver(subscription: Any, way: Way) -> Any:
    at = 1
    while (outcome := await Cut(at, way)(partial(anext, subscription))).cancelled:
        at += 1
    return outcome.result()


@EVERY_WAY
async def test_an_append_of_a_store_that_is_cut_is_told_at_once(server: Server, way: Way) -> None:
    settings = Settings(redis=server.settings, eventstore=LogSettings(partitions=1, durability="memory"))
    started: list[asyncio.Task[Receipt]] = []

    async def leave() -> None:
        async with EventStore.open(settings=settings, types=[Noted]) as store:
            await store.append("order-1", [Noted(0)])
            cut.arm()
            started.append(asyncio.create_task(store.append("order-1", [Noted(1)])))
            await checkpoint()

    async for cut in every_await(way, armed=False):
        await cut(leave)
        begun = time.monotonic()
        await asyncio.wait(started, timeout=20)
        assert time.monotonic() - begun < 5  # not only at its deadline, after 10
        failure = started.pop().exception()
        assert failure is None or isinstance(failure, OutcomeUnknown | Unavailable)
