"""Appends to our log."""

from functools import partial

import anyio

from benchmarks.load import Load
from benchmarks.measure import Contestant, Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, order
from eventstore.expected import Expected
from eventstore.store import EventStore
from infrastructure.settings import LogSettings, RedisSettings, SecretUrl, Settings


def contestants(server: BenchServer, load: Load) -> list[Contestant]:
    return [
        Contestant("log, 16 partitions, exact version", partial(_run, server, load, partitions=16, exact=True)),
        Contestant("log, 16 partitions, any version", partial(_run, server, load, partitions=16, exact=False)),
        Contestant("log, 1 partition, exact version", partial(_run, server, load, partitions=1, exact=True)),
    ]


def settings(server: BenchServer, partitions: int) -> Settings:
    """A log of its own. Nothing is read from the environment or a file: a run measures the defaults."""
    return Settings(
        redis=RedisSettings(url=SecretUrl(server.url)),
        eventstore=LogSettings(prefix=server.fresh_prefix(), partitions=partitions, durability=server.level),
    )


async def _run(server: BenchServer, load: Load, *, partitions: int, exact: bool) -> Sample:
    async with EventStore.open(settings=settings(server, partitions), types=[OrderPlaced]) as store:
        warmed = 4 * partitions
        async with anyio.create_task_group() as tasks:  # connections open, scripts loaded
            for i in range(warmed):
                tasks.start_soon(_append, store, f"warm-{i}", Load(1, 1, 1), exact)
        sample = await timed(server, load.events, partial(_append_all, store, load, exact))
        await _check(server, store, load, warmed)
    await server.clean()
    return sample


async def _append_all(store: EventStore, load: Load, exact: bool) -> None:
    async with anyio.create_task_group() as tasks:
        for task in range(load.tasks):
            tasks.start_soon(_append, store, _stream(task), load, exact)


async def _append(store: EventStore, stream: str, load: Load, exact: bool) -> None:
    version = 0
    for _ in range(load.calls):
        events = [order(number) for number in range(version, version + load.batch)]
        version += load.batch
        receipt = await store.append(stream, events, expected=version - load.batch if exact else Expected.ANY)
        check_count(stream, receipt.version, version)


async def _check(server: BenchServer, store: EventStore, load: Load, warmed: int) -> None:
    keys = store.log.keys
    stored = [await server.admin.xlen(keys.events(p)) for p in range(store.log.partitions)]
    check_count("the log", sum(stored), load.events + warmed)


def _stream(task: int) -> str:
    return f"order-{task}"
