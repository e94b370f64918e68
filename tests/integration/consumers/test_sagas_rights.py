"""The Redis users of docs/reference.md run sagas, and look at them, with the rights that it lists."""

import pytest
from msgspec import Struct

from consumers import Fixed, Saga, start
from consumers.sagas.listing import list_sagas
from consumers.sagas.operate import abort
from consumers.sagas.show import get_saga
from consumers.sagas.stats import saga_stats
from consumers.verify import check_groups, check_sagas
from eventstore import EventStore
from eventstore.verify import CHECKS, verify
from infrastructure.secrets import Secret
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.fixtures import server_fixture
from tests.support.reference import rights_of
from tests.support.running import running
from tests.support.sagas import until_listed
from tests.support.servers import Server, tries

pytestmark = pytest.mark.anyio
server = server_fixture(scope="module")


class Ingestion(Struct, frozen=True):
    source: str = "docs"


async def works(data: Ingestion) -> None: ...


async def fails(data: Ingestion) -> None:
    raise ValueError("not yet")


def as_user(server: Server, name: str) -> Settings:
    server.admin("ACL", "SETUSER", name, "reset", *rights_of(name, waitaof=False))
    where = RedisSettings(host="127.0.0.1", port=server.port, username=name, password=Secret("password"))
    return Settings(redis=where, eventstore=LogSettings(prefix="es", partitions=4, durability="memory"))


async def test_a_worker_runs_them_and_a_reader_sees_them(server: Server) -> None:
    saga = Saga("ingestion", data=Ingestion).step("fetch", works, compensate=works)
    saga = saga.step("keep", fails, retry=Fixed("1h", immediate=1))
    async with EventStore.open(settings=as_user(server, "worker")) as store:
        await start(store, saga, "1", Ingestion())
        async with running(store, saga):
            async for _ in tries():
                if (await get_saga(store, "saga-ingestion-1")).timers:
                    break
            await until_listed(store, saga, {"running": ["1"], "live": ["1"]})
        async with EventStore.open(settings=as_user(server, "reader"), read_only=True) as reading:
            assert [row.status async for row in list_sagas(reading)] == ["running"]
            assert (await saga_stats(reading)).running == 1
            assert (await get_saga(reading, "saga-ingestion-1")).actions == ("retry", "skip-step", "abort")
            assert await verify(reading.log, checks=[*CHECKS, check_groups, check_sagas]) == []
        assert (await abort(store, "saga-ingestion-1", who="ada", why="a test")).outcome == "recorded"
        async with running(store, saga):
            await until_listed(store, saga, {"compensated": ["1"]})
