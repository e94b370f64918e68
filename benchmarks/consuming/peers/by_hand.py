"""XREADGROUP 500, decode, call, XACK: the loop that one writes by hand on redis-py's asyncio client.

One plain stream. No order beyond that of arrival, no retry, no timeout, nothing that keeps a second worker from
handling the same again.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
import redis.asyncio

from benchmarks.consuming.tally import Tally, sampled
from benchmarks.measure import Contestant, Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from benchmarks.reads import JsonEnvelope, as_envelope

_COUNT = 500
DATA = f"redis-py, XREADGROUP {_COUNT} + decode of data + XACK"
ENVELOPE = f"redis-py, XREADGROUP {_COUNT} + decode of a JSON envelope + XACK"
_STREAM, _GROUP = "by-hand", "workers"
_BATCH = 1_000
_envelope = msgspec.json.Decoder(JsonEnvelope).decode


def contestants(server: BenchServer, events: int) -> list[Contestant]:
    return [
        Contestant(DATA, partial(_run, server, events, _encoded, from_json), baseline=True),
        Contestant(ENVELOPE, partial(_run, server, events, as_envelope, _data), baseline=True),
    ]


async def _run(
    server: BenchServer, events: int, encode: Callable[[int], bytes], decode: Callable[[bytes], OrderPlaced]
) -> Sample:
    tally = Tally(events)

    async def handle(event: OrderPlaced) -> None:
        if not tally.began:
            tally.begin()
        tally.seen[event.number] += 1

    async with redis.asyncio.Redis.from_url(server.url) as client:
        await _fill(client, events, encode)
        await client.xgroup_create(_STREAM, _GROUP, "0")
        used = await server.cpu_seconds()
        await _consume(client, events, decode, handle)
        sample = await sampled(server, used, events, tally.stopped())
        pending = await client.xpending(_STREAM, _GROUP)
    tally.check("by hand", () if pending["pending"] == 0 else range(events))
    await server.clean()
    return sample


async def _consume(
    client: Any,
    events: int,
    decode: Callable[[bytes], OrderPlaced],
    handle: Callable[[OrderPlaced], Coroutine[Any, Any, None]],
) -> None:
    handled = 0
    while handled < events:
        ((_, entries),) = await client.xreadgroup(_GROUP, "one", {_STREAM: ">"}, count=_COUNT)
        for _, fields in entries:
            await handle(decode(fields[b"e"]))
        await client.xack(_STREAM, _GROUP, *[entry_id for entry_id, _ in entries])
        handled += len(entries)


async def _fill(client: Any, events: int, encode: Callable[[int], bytes]) -> None:
    for first in range(0, events, _BATCH):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + _BATCH, events)):
                pipe.xadd(_STREAM, {"e": encode(number)})
            await pipe.execute()


def _encoded(number: int) -> bytes:
    return to_json(order(number))


def _data(value: bytes) -> OrderPlaced:
    return _envelope(value).data
