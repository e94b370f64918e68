"""The contract of consumers on every server that we promise to run on, as a process, and on a Cluster."""

from collections.abc import AsyncIterator

import pytest

from infrastructure.settings import RedisSettings
from tests.support.cluster import cluster
from tests.support.consumer_contract import CONTRACT, TYPES, Promise, holds
from tests.support.every_server import EVERY, Promised
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    promised: Promised = request.param
    async with redis_server(promised.find()) as server:
        yield server


@pytest.fixture(scope="module")
async def three_masters() -> AsyncIterator[RedisSettings]:
    async with cluster(replicas=False) as nodes:
        yield nodes.settings


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_consumers_keep_their_promise(server: Server, promise: Promise) -> None:
    async with open_store(server, types=TYPES) as store:
        await holds(promise, store)


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_consumers_keep_their_promise_on_a_cluster(three_masters: RedisSettings, promise: Promise) -> None:
    async with open_store(three_masters, types=TYPES, prefix=promise.__name__) as store:
        await holds(promise, store)
