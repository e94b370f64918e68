"""DBOS, in this process: its workflows and steps as plain functions, which it runs in threads, or as async ones."""

import asyncio
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar, cast

from dbos import DBOS, SetWorkflowID

from benchmarks.logs import keep_off_stdout
from benchmarks.orchestrating.work import Load, measured, tell
from infrastructure.collector import spare_the_collector

Order = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


def _step(function: F) -> F:
    return cast("F", DBOS.step()(function))


def _workflow(function: F) -> F:
    return cast("F", DBOS.workflow()(function))


@_step
def reserve(order: Order) -> Order:
    return {**order, "reserved": True}


@_step
def pay(order: Order) -> Order:
    return {**order, "paid": True}


@_step
def ship(order: Order) -> Order:
    return {**order, "shipped": True}


@_workflow
def in_threads(order: Order) -> Order:
    return ship(pay(reserve(order)))


@_step
async def reserve_async(order: Order) -> Order:
    return {**order, "reserved": True}


@_step
async def pay_async(order: Order) -> Order:
    return {**order, "paid": True}


@_step
async def ship_async(order: Order) -> Order:
    return {**order, "shipped": True}


@_workflow
async def by_loop(order: Order) -> Order:
    return await ship_async(await pay_async(await reserve_async(order)))


async def main(url: str, style: str, is_relaxed: bool, load: Load) -> None:
    if is_relaxed and url.startswith("sqlite"):
        sqlalchemy: Any = import_module("sqlalchemy")
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", _without_syncs)
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "application_version": "1"})
    DBOS.launch()
    one = _threaded if style == "threads" else _async
    for number in range(1_000_000, 1_000_020):
        await one(number)
    spare_the_collector()
    done = await measured(load, one)
    DBOS.destroy()
    tell(done)


async def _async(number: int) -> None:
    with SetWorkflowID(f"order-{number}"):
        handle = await DBOS.start_workflow_async(by_loop, {"number": number})
    _check(await handle.get_result())


async def _threaded(number: int) -> None:
    _check(await asyncio.to_thread(_in_thread, number))


def _in_thread(number: int) -> Order:
    with SetWorkflowID(f"order-{number}"):
        return in_threads({"number": number})


def _check(order: Order) -> None:
    if not order["shipped"]:
        raise RuntimeError(f"{order} has not been shipped")


def _without_syncs(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


if __name__ == "__main__":
    keep_off_stdout()
    given = sys.argv
    asyncio.run(main(given[1], given[2], given[3] == "memory", Load(int(given[4]), int(given[5]))))
