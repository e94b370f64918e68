"""Databases to project into: each run has an empty one, which is gone after it."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

from benchmarks.contender import Meter, NoServer
from benchmarks.postgres import Cluster
from benchmarks.projecting.work import SELECTS, Rows, of_tables


class Place(Struct, frozen=True):
    """`connect` gives a connection of the database's own driver."""

    url: str
    meter: Meter
    connect: Callable[[], Any]

    def rows(self) -> Rows:
        """The read model, read by the driver."""
        with closing(self.connect()) as connection:
            found = [connection.execute(select).fetchall() for select in SELECTS]
        return of_tables(found[0], found[1])


Empty = Callable[[], AbstractAsyncContextManager[Place]]


@asynccontextmanager
async def file(folder: Path) -> AsyncIterator[Place]:
    """SQLite. By hand it is opened as by the product: a write-ahead log, synchronous=NORMAL."""
    with tempfile.TemporaryDirectory(prefix="sqlite-", dir=folder) as data:
        path = Path(data, "read-models.sqlite")
        yield Place(f"sqlite:///{path}", NoServer(), partial(_opened, path))


@asynccontextmanager
async def database(postgres: Cluster) -> AsyncIterator[Place]:
    postgres.recreate_database()
    facts = f"{postgres.USER}@{postgres.HOST}:{postgres.port}/{postgres.DATABASE}"
    yield Place(f"postgresql://{facts}", postgres.meter, partial(psycopg.connect, f"postgresql://{facts}"))


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection
