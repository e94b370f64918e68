"""redis-py by hand: the same payload into one plain stream, without versions, partitions and ids."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
    yield [Contender(NAME, partial(one_stream, server, STREAM, _open))]


@asynccontextmanager
async def one_stream(
    server: BenchServer, stream: str, connect: Callable[[str, Load], AbstractAsyncContextManager[Append]]
) -> AsyncIterator[Ready]:
    """For clients that append all to one stream. The server is empty again afterwards, also its file."""
    yield Ready(partial(connect, server.url), server, partial(server.admin.xlen, stream), server.pids)
    await server.clean()


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
