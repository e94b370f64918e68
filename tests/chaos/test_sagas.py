"""Sagas under way while their workers are killed and stopped, and while their server is started again."""

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from consumers.verify import check_groups, check_sagas
from eventstore import EventStore, Unavailable
from eventstore.verify import CHECKS, verify
from tests.support.parcels import SAGA, assert_right, calls, ends, start_on, start_parcels
from tests.support.sagas import names, until_listed
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store
from tests.support.workers import Workers, workers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
SAGAS = 5_000 if SOAK else 1_000
KILLS = 30 if SOAK else 4
PROGRAM = "tests.support.saga_worker"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--appendonly", "yes", "--appendfsync", "always"]) as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[], durability="fsync") as one:
        yield one


async def until_called(store: EventStore, pid: int, more_than: int = 0) -> None:
    """Until a process has called so many actions."""
    async for _ in tries():
        if (await calls(store)).get(pid, 0) > more_than:
            return


async def killed_in_turn(server: Server, store: EventStore, some: Workers) -> None:
    """Workers at random, each replaced, and the server once."""
    choose = random.Random(6)
    alive = [some.start() for _ in range(3)]
    for number in range(KILLS):
        for each in alive:
            await until_called(store, each.pid)
        victim = alive.pop(choose.randrange(3))
        victim.kill()
        await anyio.to_thread.run_sync(victim.wait)
        alive.append(some.start())
        if number == KILLS // 2:
            server.process.kill()
            await anyio.to_thread.run_sync(server.process.wait)
            assert server.start is not None
            server.process = server.start()
            await until_it_answers(store)


async def until_it_answers(store: EventStore) -> None:
    async for _ in tries():
        with suppress(Unavailable):
            await store.version("order-0")
            return


async def test_a_thousand_sagas_end_right_whatever_is_killed(server: Server, store: EventStore, tmp_path: Path) -> None:
    numbers = list(range(SAGAS))
    await start_parcels(store, numbers, seconds=0.05)
    stop = anyio.Event()
    async with workers(store, tmp_path, program=PROGRAM) as some:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start_on, store, numbers, 0.05, stop)
            await killed_in_turn(server, store, some)
            stop.set()
        await until_listed(store, SAGA, ends(numbers), 120)
    begun = await assert_right(store, numbers)
    # what was under way at a kill is done again, and nothing else
    assert begun <= sum((await calls(store)).values()) <= begun + (KILLS + 3) * 2 * SAGA.concurrency
    assert await verify(store.log, checks=[*CHECKS, check_groups, check_sagas]) == []


async def test_a_worker_that_is_stopped_amid_its_actions_doubles_nothing_when_it_wakes_up(
    store: EventStore, tmp_path: Path
) -> None:
    numbers = range(20)
    async with workers(store, tmp_path, program=PROGRAM) as some:
        frozen = some.start()
        await start_parcels(store, numbers, seconds=0.5)
        await until_called(store, frozen.pid)
        frozen.send_signal(signal.SIGSTOP)
        other = some.start()
        await until_listed(store, SAGA, ends(numbers), 60)
        versions = {number: len(await names(store, SAGA, f"{number}")) for number in numbers}
        frozen.send_signal(signal.SIGCONT)
        before, more = await calls(store), list(numbers)
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start_on, store, more, 0.0, stop)
            await until_called(store, frozen.pid, before[frozen.pid])  # it has joined again
            await until_called(store, other.pid, before[other.pid])
            stop.set()
        await until_listed(store, SAGA, ends(more), 60)
    await assert_right(store, more)
    assert {number: len(await names(store, SAGA, f"{number}")) for number in numbers} == versions
