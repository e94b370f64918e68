"""kill -9 of the process that fills a read model, at any moment: the rows are the fold, exactly (C24)."""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from consumers.keys import effect_key
from eventstore import EventStore
from projections import Projection
from projections.home import home_of
from tests.support.logs import fill
from tests.support.postgres import Postgres, postgres_server
from tests.support.projected import fold, until_rows
from tests.support.projection_worker import COUNTER, NAME, counter_of
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store
from tests.support.workers import workers

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
KILLS, EVENTS = (50, 10_000) if SOAK else (2, 4_000)
STREAMS = 20
LEASE_SECONDS = 1.0

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90 + 300 * SOAK)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--appendonly", "yes"]) as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


@pytest.mark.parametrize("where", ["sqlite", "postgresql", "redis"])
async def test_a_counter_whose_process_is_killed(
    where: str, store: EventStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if where == "postgresql":
        where = request.getfixturevalue("postgres").new_database()
    elif where == "sqlite":
        where = f"sqlite:///{tmp_path}/rows.sqlite"
    (tmp_path / "database").write_text(where)
    count = counter_of(where)
    chance = random.Random(24)
    async with workers(store, tmp_path, lease_seconds=LEASE_SECONDS, program="tests.support.projection_worker") as some:
        appended = 0
        for kill in range(1, KILLS + 1):
            before = appended
            while appended < EVENTS * kill // KILLS:
                appended += await _append(store, appended)
            alive = some.start()
            await _until_reached(store, count, before + chance.randrange(1, appended - before))
            alive.kill()
            await anyio.to_thread.run_sync(alive.wait)
        some.start()
        if where != "redis":
            await until_rows(store, count, await fold(store), seconds=60)
            return
        wanted = {f"order-{n}": sum(range(n * 10_000, n * 10_000 + appended // STREAMS)) for n in range(STREAMS)}
        async for _ in tries(60):
            found = await _sums(store)
            if found == wanted | {"all": appended}:
                break
            assert found.get("all", 0) <= appended, "something was counted twice"


async def _append(store: EventStore, appended: int) -> int:
    each = appended // STREAMS
    for n in range(STREAMS):
        await fill(store, f"order-{n}", 50, first=n * 10_000 + each)
    return 50 * STREAMS


async def _until_reached(store: EventStore, count: Projection, events: int) -> None:
    async with home_of(store, count.sink) as home:
        async for _ in tries(60):
            for generation in await home.generations(NAME):
                reached = await home.reached(generation)
                if sum(position for position, _ in reached.values()) >= events:
                    return


async def _sums(store: EventStore) -> dict[str, int]:
    """Of all partitions, each of which has a counter of its own."""
    total: Counter[str] = Counter()
    for partition in range(store.log.partitions):
        key = effect_key(store.log.keys, f"projection.{NAME}.1", partition, COUNTER)
        flat = await store.log.redis.execute(key, "HGETALL", key)
        for name, n in zip(flat[::2], flat[1::2], strict=True):
            total[name.decode()] += int(n)
    return dict(total)
