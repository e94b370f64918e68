"""Our sagas, in this process: a worker, and who starts them and waits until they have completed.

That one has completed is told by its fact, which a consumer of its own takes from the log, as an application would.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import cast

import anyio
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.log_appends import settings_of
from benchmarks.logs import keep_off_stdout
from benchmarks.orchestrating.work import Load, measured, tell
from benchmarks.own_server import Level
from consumers import Context, Saga, consumer, run, start
from consumers.sagas.facts import Completed
from eventstore.store import EventStore
from infrastructure.collector import spare_the_collector

PARTITIONS = 16


class Order(Struct, frozen=True):
    number: int
    reserved: bool = False
    paid: bool = False
    shipped: bool = False


async def reserve(data: Order) -> Order:
    return replace(data, reserved=True)


async def pay(data: Order) -> Order:
    return replace(data, paid=True)


async def ship(data: Order) -> Order:
    return replace(data, shipped=True)


async def main(url: str, prefix: str, level: Level, load: Load) -> None:
    saga = Saga("order", data=Order).step("reserve", reserve).step("pay", pay).step("ship", ship)
    waiting: dict[str, asyncio.Future[None]] = {}

    @consumer("ended")
    async def ended(fact: Completed, ctx: Context) -> None:
        waiting.pop(ctx.event.stream).set_result(None)

    async with EventStore.open(settings=settings_of(url, prefix, PARTITIONS, level), types=[Completed]) as store:
        stop = anyio.Event()

        async def one(number: int) -> None:
            end = waiting[f"saga-order-{number}"] = asyncio.get_running_loop().create_future()
            await start(store, saga, f"{number}", Order(number))
            await end

        async def work() -> None:
            await run(store, [saga, ended], stop=stop)

        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(work)
            for number in range(1_000_000, 1_000_100):  # until it holds all partitions
                await one(number)
            spare_the_collector()
            tell(await measured(load, one))
            stop.set()


if __name__ == "__main__":
    keep_off_stdout()
    given = sys.argv
    asyncio.run(main(given[1], given[2], cast("Level", given[3]), Load(int(given[4]), int(given[5]))))
