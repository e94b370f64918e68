"""What the log is compared with: the same payload into one plain stream, without versions, partitions and ids."""

import csv
import shutil
from functools import partial
from typing import Any

import anyio
import redis.asyncio

from benchmarks.load import Load
from benchmarks.measure import Contestant, Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json

STREAM = "plain"


def contestants(server: BenchServer, load: Load) -> list[Contestant]:
    """redis-py, and redis-benchmark where it is installed."""
    way = "one XADD per task" if load.batch == 1 else f"pipelines of {load.batch} XADD"
    found = [Contestant(f"redis-py, {way}", partial(_redis_py, server, load), baseline=True)]
    if program := redis_benchmark():
        name = f"redis-benchmark XADD -c {load.tasks} -P {load.batch}"
        found.append(Contestant(name, partial(_redis_benchmark, program, server, load), baseline=True))
    return found


def redis_benchmark() -> str | None:
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


async def _redis_py(server: BenchServer, load: Load) -> Sample:
    # As its documentation has it, but for the bound of the pool, which would refuse 500 tasks.
    client: Any = redis.asyncio.Redis.from_url(server.url, max_connections=load.tasks)
    async with client:
        async with anyio.create_task_group() as tasks:  # connections open
            for _ in range(load.tasks):
                tasks.start_soon(client.ping)
        sample = await timed(server, load.events, partial(_add_all, client, load))
    await _check_and_clean(server, "redis-py", load)
    return sample


async def _add_all(client: Any, load: Load) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(load.tasks):
            tasks.start_soon(_add_one_by_one if load.batch == 1 else _add_batches, client, load)


async def _add_one_by_one(client: Any, load: Load) -> None:
    for number in range(load.calls):
        await client.xadd(STREAM, {"e": to_json(order(number))})


async def _add_batches(client: Any, load: Load) -> None:
    for call in range(load.calls):
        async with client.pipeline(transaction=False) as pipe:
            for number in range(call * load.batch, (call + 1) * load.batch):
                pipe.xadd(STREAM, {"e": to_json(order(number))})
            await pipe.execute()


async def _redis_benchmark(program: str, server: BenchServer, load: Load) -> Sample:
    options = {"-s": str(server.socket), "-c": load.tasks, "-P": load.batch, "-n": load.events}
    words = [str(word) for option in options.items() for word in option]
    command = [program, *words, "--csv", "XADD", STREAM, "*", "e", to_json(order(1)).decode()]
    said: list[bytes] = []

    async def work() -> None:
        said.append((await anyio.run_process(command)).stdout)

    sample = await timed(server, load.events, work)
    await _check_and_clean(server, "redis-benchmark", load)
    return Sample(load.events, load.events / _rate(said[0]), sample.server_cpu_seconds, sample.client_cpu_seconds)


def _rate(said: bytes) -> float:
    """Its own figure: requests a second, without the time in which it connects."""
    rows = list(csv.reader(said.decode().splitlines()))
    # Its first column is the command, whose quotation marks it does not escape: count from the end.
    columns = rows[0]
    return float(rows[1][columns.index("rps") - len(columns)])


async def _check_and_clean(server: BenchServer, who: str, load: Load) -> None:
    check_count(who, await server.admin.xlen(STREAM), load.events)
    await server.clean()
