"""The whole contract of the log on every server that we promise to run on, as a process."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from eventstore import EventStore
from tests.support.every_server import EVERY, Promised
from tests.support.log_contract import CONTRACT, TYPES, holds
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    promised: Promised = request.param
    async with redis_server(promised.find()) as server:
        info = server.admin("INFO", "server").decode()
        assert f"{promised.product}_version:{promised.version}." in info
        assert ("valkey_version" in info) == (promised.product == "valkey"), "Valkey says redis_version too"
        yield server


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_the_log_keeps_its_promise(server: Server, promise: Callable[[EventStore], Awaitable[None]]) -> None:
    async with open_store(server, types=TYPES) as store:
        await holds(promise, store)
