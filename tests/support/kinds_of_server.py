"""One test on three kinds of server: the oldest Redis that we run on, the newest Valkey, and a Cluster.

place = place_fixture()
store = placed_store_fixture(types=[Answered])
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from eventstore import EventStore
from infrastructure.server_program import find_program
from infrastructure.settings import RedisSettings
from tests.support.cluster import cluster
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

KINDS = ("redis 7.0", "valkey 9.1", "cluster")
Place = Server | RedisSettings


def place_fixture(*kinds: str) -> Any:
    """Where the logs of a module's tests are, on each of these kinds of server in turn; all, if none is named."""

    @pytest.fixture(scope="module", params=kinds or KINDS)
    async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
        async with AsyncExitStack() as stack:
            match request.param:
                case "cluster":
                    yield (await stack.enter_async_context(cluster(replicas=False))).settings
                case "valkey 9.1":
                    yield await stack.enter_async_context(redis_server(find_program()))
                case _:
                    yield await stack.enter_async_context(redis_server())

    return place


def placed_store_fixture(**log: Any) -> Any:
    """A log of its own for each test, at the `place` of the module."""

    @pytest.fixture
    async def store(place: Place) -> AsyncIterator[EventStore]:
        async with open_store(place, **{"prefix": f"t-{uuid4().hex[:8]}", **log}) as store:
            yield store

    return store
