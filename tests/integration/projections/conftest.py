"""Where read models are kept: each test that asks for `database` runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from projections.sinks.sql import SqlSink
from tests.support.postgres import Postgres, postgres_server
from tests.support.projected import totals
from tests.support.servers import Server, redis_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/rows.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as server:
        yield server


@pytest.fixture
def opened(database: str) -> Iterator[Callable[..., SqlSink]]:
    """Sinks of the same database, as several processes have them."""
    sinks: list[SqlSink] = []

    def open_one(*tables: sa.Table) -> SqlSink:
        sinks.append(SqlSink(database, tables or (totals,)))
        return sinks[-1]

    yield open_one
    for each in sinks:
        each.close()
