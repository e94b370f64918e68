"""FastStream publishing to one Redis stream, on the same server: a message bus, without versions, checks or a log.

It sends an XADD per message, batches as a pipeline of the caller's. There is nothing to compare a read with: it only
consumes.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import redis.asyncio
from faststream.redis import RedisBroker

from benchmarks.contender import Append, Contender
from benchmarks.load import Load
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json
from benchmarks.peers.plain import one_stream

NAME = "FastStream publish"
_STREAM = "faststream"


@asynccontextmanager
async def contenders(server: BenchServer, _folder: Path) -> AsyncIterator[list[Contender]]:
    yield [Contender(NAME, partial(one_stream, server, _STREAM, _open))]


@asynccontextmanager
async def _open(url: str, load: Load) -> AsyncIterator[Append]:
    logging.getLogger("faststream").setLevel(logging.WARNING)
    async with (
        RedisBroker(url, max_connections=load.tasks) as broker,
        redis.asyncio.Redis.from_url(url, max_connections=load.tasks) as client,
    ):
        yield partial(_publish, broker) if load.batch == 1 else partial(_publish_batch, broker, client)


async def _publish(broker: RedisBroker, _stream: str, version: int, _events: int) -> None:
    await broker.publish(to_json(order(version)), stream=_STREAM)


async def _publish_batch(
    broker: RedisBroker, client: "redis.asyncio.Redis", _stream: str, version: int, events: int
) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for number in range(version, version + events):
            await broker.publish(to_json(order(number)), stream=_STREAM, pipeline=pipe)
        await pipe.execute()
