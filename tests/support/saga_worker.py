"""A worker process that runs sagas whose actions leave their marks in Redis, to be killed and stopped at any moment.

A mark is made once for each idempotency key, as an outside service would; the number it gets tells the order. The
calls of each process are counted too.
"""

import os
import sys

import anyio
import structlog
from msgspec import Struct

from consumers import Fixed, Immediate, Resource, Saga, StepContext, run, step
from consumers.retry import Policy
from consumers.sagas.steps import Step
from eventstore import EventStore, Unavailable
from infrastructure.connect import Redis
from tests.support.stopping import stopped_by_sigterm

MARKS, CALLS = "marks", "calls"
AGAIN = Fixed("100ms", attempts=500, immediate=1)


class Parcel(Struct, frozen=True):
    """`fails_at` a step for good; `stumbles_at` one at its first attempt, or at the compensation of one (`undo NAME`);
    each action takes `seconds`."""

    fails_at: str = ""
    stumbles_at: str = ""
    seconds: float = 0.0


class Refused(Exception):
    pass


class Stumbled(Exception):
    pass


AT_ONCE: dict[type[Exception], Policy] = {Refused: Immediate(1)}


async def act(data: Parcel, ctx: StepContext, redis: Redis) -> None:
    """Every action and compensation."""
    what = f"undo {ctx.step}" if ctx.undo else ctx.step
    await redis.execute(CALLS, "HINCRBY", CALLS, os.getpid(), 1)
    if what == data.fails_at:
        raise Refused
    if what == data.stumbles_at and ctx.attempt == 1:
        raise Stumbled
    if data.seconds:
        await anyio.sleep(data.seconds)
    number = await redis.execute(MARKS, "HINCRBY", MARKS, "number", 1)
    await redis.execute(MARKS, "HSETNX", MARKS, ctx.idempotency_key, number)


def parcels() -> Saga:
    def acting(name: str) -> Step:
        return step(name, act, compensate=act, retry=AGAIN, on=AT_ONCE, retry_compensation=AGAIN)

    first, last = acting("reserve"), step("ship", act, retry=AGAIN, on=AT_ONCE)
    return Saga("parcel", data=Parcel).parallel(first).parallel(acting("pay"), acting("pack")).parallel(last)


async def work(lease_seconds: float) -> None:
    with stopped_by_sigterm() as stop:
        while not stop.is_set():
            try:
                async with EventStore.open() as store:
                    resources = [Resource(Redis, store.log.redis)]
                    await run(store, [parcels()], resources=resources, stop=stop, lease_seconds=lease_seconds)
            except Unavailable:  # the server is away when this begins
                await anyio.sleep(0.1)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    anyio.run(work, float(sys.argv[2]))
