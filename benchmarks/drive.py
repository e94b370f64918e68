"""One run of one contender under one load: the same way for all, in tasks or threads, in this process or in several."""

import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.contender import Append, Contender, Open, Ready
from benchmarks.load import Load
from benchmarks.measure import Sample, check_count, latency, timed
from benchmarks.processes import Team, Work

_WARM_CALLS = 64
"""At least so many appends come before the clock starts: connections are open, scripts loaded, tables opened."""


class Written(Struct, frozen=True):
    """`seconds` from the moment at which all tasks or threads are there; of each call, the time it took."""

    seconds: float
    calls: list[float]


async def drive(contender: Contender, load: Load, team: Team) -> Sample:
    """Raises CountWrong unless every event is there afterwards."""
    load = load.shortened(contender.calls)
    async with contender.empty() as ready:
        run = _in_this_process if load.processes == 1 else partial(_in_processes, team)
        sample = await run(ready, load, contender.threads)
        expected = load.events + load.processes * warming(load).events
        check_count(contender.name, await ready.count(), expected)
    return sample


async def write(append: Append, load: Load, threads: bool, streams: str) -> Written:
    """What one process does. Each task has a stream of its own."""
    names = [f"{streams}-{task}" for task in range(load.tasks)]
    if threads:
        return await anyio.to_thread.run_sync(_in_threads, append, load, names)
    return await _in_tasks(append, load, names)


async def warm(append: Append, load: Load, threads: bool, process: int) -> None:
    await write(append, warming(load), threads, f"warm-{process}")


def warming(load: Load) -> Load:
    return replace(load, processes=1, batch=1, calls=-(-_WARM_CALLS // load.tasks))


async def _in_this_process(ready: Ready, load: Load, threads: bool) -> Sample:
    async with ready.open(load) as append:
        await warm(append, load, threads, 0)
        written: list[Written] = []

        async def work() -> None:
            written.append(await write(append, load, threads, "order-0"))

        sample = await timed(ready.meter, load.events, work)
    return replace(sample, seconds=written[0].seconds, latency=latency(written[0].calls))


async def _in_processes(team: Team, ready: Ready, load: Load, threads: bool) -> Sample:
    async with team.at_work(partial(_one_of_several, ready.open, load, threads), load.processes) as go:
        sample = await timed(ready.meter, load.events, go)
    calls = [call for done in go.results for call in done.calls]
    return replace(sample, client_cpu_seconds=go.cpu_seconds, latency=latency(calls))


@asynccontextmanager
async def _one_of_several(open_it: Open, load: Load, threads: bool, process: int) -> AsyncIterator[Work]:
    async with open_it(load) as append:
        await warm(append, load, threads, process)
        yield partial(write, append, load, threads, f"order-{process}")


async def _in_tasks(append: Append, load: Load, streams: Sequence[str]) -> Written:
    calls: list[float] = []

    async def one(stream: str) -> None:
        for version in range(0, load.calls * load.batch, load.batch):
            began = time.perf_counter()
            await append(stream, version, load.batch)
            calls.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for stream in streams:
            tasks.start_soon(one, stream)
    return Written(time.perf_counter() - began, calls)


def _in_threads(append: Append, load: Load, streams: Sequence[str]) -> Written:
    calls: list[float] = []
    start = threading.Barrier(len(streams) + 1)

    def one(stream: str) -> None:
        start.wait()
        for version in range(0, load.calls * load.batch, load.batch):
            began = time.perf_counter()
            append(stream, version, load.batch)
            calls.append(time.perf_counter() - began)

    with ThreadPoolExecutor(len(streams)) as pool:
        done = [pool.submit(one, stream) for stream in streams]
        start.wait()
        began = time.perf_counter()
        for each in done:
            each.result()
        return Written(time.perf_counter() - began, calls)
