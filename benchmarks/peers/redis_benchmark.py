"""redis-benchmark, written in C: what the server takes from clients that do nothing else."""

import csv
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from msgspec.structs import replace

from benchmarks.contender import Absent, Contender
from benchmarks.load import Load
from benchmarks.measure import Contestant, Latency, Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json
from benchmarks.peers.plain import STREAM
from benchmarks.ports import HOST

NAME = "redis-benchmark XADD"


@asynccontextmanager
async def contenders(_server: BenchServer, _folder: Path) -> AsyncIterator[list[Contender]]:
    """None: it brings its own clients, so that a load makes a contestant of it, see below."""
    if redis_benchmark() is None:
        raise Absent("not installed: apt-get install redis-tools")
    yield []


def contestants(server: BenchServer, load: Load) -> list[Contestant]:
    """None where it is not installed. Its one process holds as many connections as the load has tasks in all."""
    program = redis_benchmark()
    return [Contestant(NAME, partial(_run, program, server, load), baseline=True)] if program else []


def redis_benchmark() -> str | None:
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


async def _run(program: str, server: BenchServer, load: Load) -> Sample:
    clients = load.tasks * load.processes
    options = {"-h": HOST, "-p": server.port, "-c": clients, "-P": load.batch, "-n": load.events}
    words = [str(word) for option in options.items() for word in option]
    command = [program, *words, "--csv", "XADD", STREAM, "*", "e", to_json(order(1)).decode()]
    said: list[bytes] = []

    async def work() -> None:
        said.append((await anyio.run_process(command)).stdout)

    sample = await timed(server, load.events, work)
    check_count(NAME, await server.admin.xlen(STREAM), load.events)
    await server.clean()
    figure = _figures(said[0])
    latency = Latency(figure["p50_latency_ms"], figure["p99_latency_ms"])
    return replace(sample, seconds=load.events / figure["rps"], latency=latency)


def _figures(said: bytes) -> dict[str, float]:
    """Its own: requests a second, without the time in which it connects; per pipeline the time to its answer."""
    names, values = list(csv.reader(said.decode().splitlines()))[:2]
    # The first column is the command, whose quotation marks it does not escape: count from the end.
    return {name: float(value) for name, value in zip(names[1:], values[1 - len(names) :], strict=True)}
