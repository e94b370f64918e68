"""FastStream's subscriber to a Redis stream, in a consumer group: as its documentation has it."""

import logging
from dataclasses import dataclass
from functools import partial

import anyio
import redis.asyncio
from faststream.redis import RedisBroker, StreamSub

from benchmarks.consuming.tally import Tally, sampled
from benchmarks.measure import Contestant, Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json

NAME = "FastStream subscriber"
_STREAM, _GROUP = "faststream", "workers"
_BATCH = 500


@dataclass(frozen=True)
class Message:
    """The order, in a form that it takes for the type of a handler's parameter."""

    number: int
    customer: str
    currency: str
    total_cents: int
    lines: tuple[str, ...]
    note: str


def contestants(server: BenchServer, events: int) -> list[Contestant]:
    """It gets a fiftieth of the events: it would take minutes over all."""
    return [Contestant(NAME, partial(_run, server, max(500, events // 50)), baseline=True)]


async def _run(server: BenchServer, events: int) -> Sample:
    logging.getLogger("faststream").setLevel(logging.WARNING)
    tally = Tally(events)
    async with RedisBroker(server.url) as broker, redis.asyncio.Redis.from_url(server.url) as client:
        for first in range(0, events, _BATCH):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + _BATCH, events)):
                    await broker.publish(to_json(order(number)), stream=_STREAM, pipeline=pipe)
                await pipe.execute()
        await client.xgroup_create(_STREAM, _GROUP, "0")

        async def handle(event: Message) -> None:
            if not tally.began:
                tally.begin()
            tally.seen[event.number] += 1

        broker.subscriber(stream=StreamSub(_STREAM, group=_GROUP, consumer="one", last_id=">"))(handle)
        used = await server.cpu_seconds()
        await broker.start()
        await tally.all_seen()
        while (await client.xpending(_STREAM, _GROUP))["pending"]:  # noqa: ASYNC110
            await anyio.sleep(0.002)
        sample = await sampled(server, used, events, tally.stopped())
    tally.check(NAME)
    await server.clean()
    return sample
