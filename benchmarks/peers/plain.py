"""redis-py by hand: the same payload into one plain stream, without versions, partitions and ids."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis.asyncio

from benchmarks.contender import Append, Contender, Ready
from benchmarks.load import Load
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json

STREAM = "plain"
NAME = "redis-py, bare XADD"


@asynccontextmanager
async def contenders(server: BenchServer, _folder: Path) -> AsyncIterator[list[Contender]]:
    yield [Contender(NAME, partial(_empty, server))]


@asynccontextmanager
async def on_redis(server: BenchServer) -> AsyncIterator[None]:
    """The server is empty again afterwards, also its file."""
    yield
    await server.clean()


@asynccontextmanager
async def _empty(server: BenchServer) -> AsyncIterator[Ready]:
    async with on_redis(server):
        yield Ready(partial(_open, server.url), server, partial(server.admin.xlen, STREAM), server.pids)


@asynccontextmanager
async def _open(url: str, load: Load) -> AsyncIterator[Append]:
    # As its documentation has it, but for the bound of the pool, which would refuse 500 tasks.
    async with redis.asyncio.Redis.from_url(url, max_connections=load.tasks) as client:
        yield partial(_add_one if load.batch == 1 else _add_batch, client)


async def _add_one(client: Any, _stream: str, version: int, _events: int) -> None:
    await client.xadd(STREAM, {"e": to_json(order(version))})


async def _add_batch(client: Any, _stream: str, version: int, events: int) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for number in range(version, version + events):
            pipe.xadd(STREAM, {"e": to_json(order(number))})
        await pipe.execute()
