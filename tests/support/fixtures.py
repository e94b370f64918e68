"""The fixtures `server` and `store` of a test module, in a line each:

    server = server_fixture(scope="module")
    store = store_fixture()

A module says which server it needs, and whether its tests share it. What is special about a log stays in its module.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest

from eventstore import EventStore
from tests.support.logs import debuggable_server
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store
from tests.support.threads import served

Scope = Literal["function", "module"]


def server_fixture(*args: str, scope: Scope = "function") -> Any:
    """A lone redis-server, with these arguments."""

    @pytest.fixture(scope=scope)
    async def server() -> AsyncIterator[Server]:
        async with redis_server(args=args) as server:
            yield server

    return server


def debuggable_fixture(*, scope: Scope = "function") -> Any:
    """One that can be told to forget (`Failover`)."""

    @pytest.fixture(scope=scope)
    async def server() -> AsyncIterator[Server]:
        async with debuggable_server() as server:
            yield server

    return server


def served_fixture() -> Any:
    """A lone redis-server for tests that are not async; those of the module share it."""

    @pytest.fixture(scope="module")
    def server() -> Iterator[Server]:
        with served() as server:
            yield server

    return server


def store_fixture(**log: Any) -> Any:
    """A log for each test on the `server` of the module, under a fresh prefix: for tests that share it."""

    @pytest.fixture
    async def store(server: Server) -> AsyncIterator[EventStore]:
        async with open_store(server, **log) as store:
            yield store

    return store


def own_store_fixture(**log: Any) -> Any:
    """A log on the `server` of the test, under the usual prefix: for tests that have a server each."""

    @pytest.fixture
    async def store(server: Server) -> AsyncIterator[EventStore]:
        async with open_store(server.settings, **log) as store:
            yield store

    return store
