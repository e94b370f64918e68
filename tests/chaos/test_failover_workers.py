"""Worker processes whose server is replaced by its replica, under load, with Sentinel telling who is the primary."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from infrastructure.settings import RedisSettings
from tests.support.consumer_worker import Work
from tests.support.logs import attach
from tests.support.pairs import pair
from tests.support.servers import redis_server, sentinel, until
from tests.support.stores import open_store
from tests.support.worked_load import WorkedLoad, takeover_seconds, under_load, until_handled_beyond
from tests.support.workers import Workers, workers

pytestmark = pytest.mark.anyio

PARTITIONS = 4
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
ROUNDS = 10 if SOAK else 1


@pytest.mark.timeout(120 + 600 * SOAK)
async def test_a_primary_that_is_killed_takes_nothing_along(tmp_path: Path) -> None:
    async with redis_server() as one, redis_server() as two, redis_server() as three:
        await attach(two, one)
        await attach(three, one)
        async with sentinel(one) as watcher:
            await until(lambda: len(watcher.admin("SENTINEL", "REPLICAS", "mymaster")) == 2)

            async def kill_the_primary(load: WorkedLoad, some: Workers) -> None:
                since = anyio.current_time()
                one.process.kill()
                await anyio.to_thread.run_sync(one.process.wait)
                print("taken over after", round(await takeover_seconds(some, range(PARTITIONS), PARTITIONS, since), 1))

            where = RedisSettings(sentinels=(watcher.address,), socket_timeout_seconds=2.0)
            assert await _lost(where, tmp_path, kill_the_primary, durability="replicas:1") == 0


@pytest.mark.timeout(120 + 600 * SOAK)
async def test_a_replica_that_has_less_takes_the_group_back_with_the_log(tmp_path: Path) -> None:
    async with pair() as servers:

        async def promote(load: WorkedLoad, some: Workers) -> None:
            for _ in range(ROUNDS):
                servers.detach()
                await load.wrote(60)
                await until_handled_beyond(load.store, servers.primary, range(PARTITIONS))
                since = anyio.current_time()
                servers.switch()
                print("taken over after", round(await takeover_seconds(some, range(PARTITIONS), PARTITIONS, since), 1))
                await attach(servers.other, servers.primary)

        where = RedisSettings(sentinels=(servers.watcher.address,), socket_timeout_seconds=2.0)
        assert await _lost(where, tmp_path, promote, durability="memory", returns=False) > 0


async def _lost(
    where: RedisSettings,
    folder: Path,
    happen: Callable[[WorkedLoad, Workers], Awaitable[None]],
    *,
    durability: str,
    returns: bool = True,
) -> int:
    """How many events are lost that were acknowledged. All else is as it must be."""
    async with (
        open_store(where, partitions=PARTITIONS, types=[Work], durability=durability) as store,
        workers(store, folder) as some,
    ):
        load = WorkedLoad(store, returns=returns)
        async with under_load(load):
            for each in [some.start(), some.start()]:
                await some.until_began(each.pid)
            await load.wrote(100)
            await happen(load, some)
            await load.wrote(50)
        print(load.refused)
        return await load.check(some)
