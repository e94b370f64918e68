"""The work of a run, and what a process tells that has done it."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.measure import Latency, Sample, latency

STEPS = 3


class Load(Struct, frozen=True):
    """So many sagas, `at_once` of them under way all the time."""

    sagas: int
    at_once: int


class Done(Struct, frozen=True):
    seconds: float
    cpu_seconds: float
    latency: Latency

    def sample(self, load: Load, server_cpu_seconds: float) -> Sample:
        """Its events are steps."""
        return Sample(STEPS * load.sagas, self.seconds, server_cpu_seconds, self.cpu_seconds, self.latency)


async def measured(load: Load, one: Callable[[int], Awaitable[Any]]) -> Done:
    """`one(number)` starts a saga and returns when it has ended; its time is taken from before its start."""
    took = [0.0] * load.sagas
    places = asyncio.Semaphore(load.at_once)

    async def timed(number: int) -> None:
        async with places:
            began = time.perf_counter()
            await one(number)
            took[number] = time.perf_counter() - began

    used, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*[timed(number) for number in range(load.sagas)])
    return Done(time.perf_counter() - began, time.process_time() - used, latency(took))


def tell(done: Done) -> None:
    """To whoever started this process."""
    sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")


async def ran(module: str, *arguments: object) -> Done:
    """By a process of its own. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", f"benchmarks.orchestrating.{module}", *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")
    return msgspec.json.decode(told, type=Done)
