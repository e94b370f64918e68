"""Our log as a contender, through EventStore with its default settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from benchmarks.contender import Append, Contender, Ready
from benchmarks.load import Load
from benchmarks.measure import check_count
from benchmarks.own_server import BenchServer, Level
from benchmarks.payload import OrderPlaced, order
from eventstore.expected import Expected
from eventstore.keys import Keys
from eventstore.store import EventStore
from infrastructure.settings import LogSettings, RedisSettings, SecretUrl, Settings

REFERENCE = "log, 16 partitions, exact version"
ONE_PARTITION = "log, 1 partition, exact version"


def contenders(server: BenchServer) -> list[Contender]:
    return [
        one(server, 16, exact=True),
        one(server, 16, exact=False),
        one(server, 1, exact=True),
    ]


def one(server: BenchServer, partitions: int, *, exact: bool) -> Contender:
    where = "1 partition" if partitions == 1 else f"{partitions} partitions"
    name = f"log, {where}, {'exact' if exact else 'any'} version"
    return Contender(name, partial(_empty, server, partitions, exact), ours=True)


def settings(server: BenchServer, partitions: int) -> Settings:
    """A log of its own. Nothing is read from the environment or a file: a run measures the defaults."""
    return settings_of(server.url, server.fresh_prefix(), partitions, server.level)


def settings_of(url: str, prefix: str, partitions: int, level: Level) -> Settings:
    """For another process."""
    return Settings(
        redis=RedisSettings(url=SecretUrl(url)),
        eventstore=LogSettings(prefix=prefix, partitions=partitions, durability=level),
    )


@asynccontextmanager
async def _empty(server: BenchServer, partitions: int, exact: bool) -> AsyncIterator[Ready]:
    prefix = server.fresh_prefix()
    opener = partial(_open, server.url, prefix, partitions, server.level, exact)
    yield Ready(opener, server, partial(_count, server, Keys(prefix, partitions), partitions), server.pids)
    await server.clean()


async def _count(server: BenchServer, keys: Keys, partitions: int) -> int:
    return sum([await server.admin.xlen(keys.events(partition)) for partition in range(partitions)])


@asynccontextmanager
async def _open(
    url: str, prefix: str, partitions: int, level: Level, exact: bool, _load: Load
) -> AsyncIterator[Append]:
    chosen = settings_of(url, prefix, partitions, level)
    async with EventStore.open(settings=chosen, types=[OrderPlaced]) as store:
        yield partial(_append, store, exact)


async def _append(store: EventStore, exact: bool, stream: str, version: int, events: int) -> None:
    orders = [order(number) for number in range(version, version + events)]
    receipt = await store.append(stream, orders, expected=version if exact else Expected.ANY)
    check_count(stream, receipt.version, version + events)
