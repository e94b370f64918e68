"""kill -9 of workers while events that their handlers returned are on their way: each is there once in the end."""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventstore import EventStore
from eventstore.verify import verify
from tests.support.consumer_worker import Work
from tests.support.returned import waiting
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store
from tests.support.workers import all_handled, append_on, assert_in_order, workers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
KILLS = 60 if os.environ.get("EVENTSTORE_SOAK") else 4
RETURNED = 5
"""For each append, to as many streams."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--appendonly", "yes", "--appendfsync", "always"]) as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Work]) as one:
        yield one


async def test_workers_that_are_killed_while_events_are_on_their_way(
    server: Server, store: EventStore, tmp_path: Path
) -> None:
    chance = random.Random(19)
    left: list[int] = []
    stop = anyio.Event()
    work = [Work(returns=f"echo-{n}") for n in range(RETURNED)]
    async with workers(store, tmp_path) as some, anyio.create_task_group() as tasks:
        alive = [some.start(), some.start()]
        tasks.start_soon(append_on, store, 40, stop, work)
        for _ in range(KILLS):
            victim = alive.pop(chance.randrange(2))
            await some.until_began(victim.pid, 20)
            async for _ in tries():
                if await waiting(store):
                    break
            victim.kill()
            left.append(await waiting(store))
            await anyio.to_thread.run_sync(victim.wait)
            alive.append(some.start())
        stop.set()
        async for _ in tries(60):
            if await all_handled(store) and not await waiting(store):
                break
        assert_in_order(some.read())
    events = [event async for event in store.read_all()]
    returned = Counter(event.metadata.causation_id for event in events if event.stream.startswith("echo-"))
    assert returned == {str(event.id): 1 for event in events if event.data.returns}
    assert await verify(store.log) == []
    assert any(left), "no kill has met an event on its way"
