"""`eventsourcing`: its recorder, the part that writes events and reads them, with a unique (originator, version).

On SQLite: its own choice of journal, a write-ahead log, which SQLite syncs at every commit (synchronous=FULL); "memory"
is its database in memory. On PostgreSQL: a cluster of the benchmark's own, with fsync as it comes, "memory" is
synchronous_commit=off. Its insert locks the table, so a larger pool does not help.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, StoredEvent
from eventsourcing.utils import Environment

from benchmarks.contender import Append, Contender, Meter, NoServer, Ready
from benchmarks.load import Load
from benchmarks.own_server import BenchServer, Level
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from benchmarks.postgres import Cluster, cluster

SQLITE = "eventsourcing on SQLite"
POSTGRES = "eventsourcing on PostgreSQL"
_PAGE = 1_000


@asynccontextmanager
async def on_sqlite(server: BenchServer, folder: Path) -> AsyncIterator[list[Contender]]:
    empty, shared = partial(_empty_file, server.level, folder), server.level == "fsync"
    yield [Contender(SQLITE, empty, threads=True, calls=0.2, processes=shared, reads=True)]


@asynccontextmanager
async def on_postgres(server: BenchServer, folder: Path) -> AsyncIterator[list[Contender]]:
    async with cluster(folder, synchronous_commit=server.level == "fsync") as postgres:
        yield [Contender(POSTGRES, partial(_empty_table, postgres), threads=True, calls=0.1, reads=True)]


@asynccontextmanager
async def _empty_file(level: Level, folder: Path) -> AsyncIterator[Ready]:
    with tempfile.TemporaryDirectory(prefix="sqlite-", dir=folder) as data:
        # A database in memory is gone with its last connection: the one below keeps it.
        name = str(Path(data, "events.db")) if level == "fsync" else f"file:{Path(data).name}?mode=memory&cache=shared"
        settings = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": name, "SQLITE_LOCK_TIMEOUT": "60"}
        async with _ready(settings, NoServer(), _this_process) as ready:
            yield ready


@asynccontextmanager
async def _empty_table(postgres: Cluster) -> AsyncIterator[Ready]:
    postgres.recreate_database()
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": postgres.DATABASE,
        "POSTGRES_HOST": postgres.HOST,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_USER": postgres.USER,
        "POSTGRES_PASSWORD": postgres.password,
        "POSTGRES_CONNECT_TIMEOUT": "60",  # also for a place in the pool, which 500 threads wait for
    }
    async with _ready(settings, postgres.meter, postgres.meter.pids) as ready:
        yield ready


@asynccontextmanager
async def _ready(settings: dict[str, str], meter: Meter, pids: Callable[[], list[int]]) -> AsyncIterator[Ready]:
    opener = partial(_open, settings | {"CREATE_TABLE": "no"})  # in the way of each other, several would fail
    async with _recorder(settings) as recorder:
        yield Ready(opener, meter, partial(_count, recorder), pids, partial(_read, recorder))


@asynccontextmanager
async def _recorder(settings: dict[str, str]) -> AsyncIterator[ApplicationRecorder]:
    factory = InfrastructureFactory.construct(Environment(env=settings))
    try:
        yield factory.application_recorder()
    finally:
        factory.close()


@asynccontextmanager
async def _open(settings: dict[str, str], _load: Load) -> AsyncIterator[Append]:
    async with _recorder(settings) as recorder:
        yield partial(_insert, recorder, {})


def _insert(recorder: ApplicationRecorder, ids: dict[str, UUID], stream: str, version: int, events: int) -> None:
    originator = ids.get(stream) or ids.setdefault(stream, uuid5(NAMESPACE_URL, stream))
    numbers = range(version, version + events)
    recorder.insert_events(
        [StoredEvent(originator, number, "OrderPlaced", to_json(order(number))) for number in numbers]
    )


def _this_process() -> list[int]:
    return [os.getpid()]


async def _count(recorder: ApplicationRecorder) -> int:
    return sum(1 for _ in _notifications(recorder))


async def _read(recorder: ApplicationRecorder) -> int:
    return sum(isinstance(from_json(state), OrderPlaced) for state in _notifications(recorder))


def _notifications(recorder: ApplicationRecorder) -> Iterator[bytes]:
    """What each event holds, in the order of the log."""
    after = 0
    while page := recorder.select_notifications(after + 1, _PAGE):
        yield from (each.state for each in page)
        after = page[-1].id
