"""Processor time of the server per appended event: our append, and a script that does an XADD per event, nothing else.

The bare script is called in the same shape: as many events a call as our group commit joined, as many calls at once as
it keeps under way. The server works in memory: with a file to sync, the system's part would hide the difference.
"""

from functools import partial
from typing import Any

import anyio
import redis.asyncio
from msgspec import Struct

from benchmarks.contender import Contender
from benchmarks.costs import Cost, Price
from benchmarks.drive import warm, warming, write
from benchmarks.load import Load
from benchmarks.log_appends import one
from benchmarks.measure import Sample, check_count, timed
from benchmarks.own_server import BenchServer
from benchmarks.payload import order, to_json

_BARE = "for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[i]) end return #ARGV"
_STREAM = "bare"
OURS = "log, exact version"


class Shape(Struct, frozen=True):
    """Of calls to a script. `script_us` is the part of the processor time that is spent inside of it, per event."""

    events_a_call: float
    script_us: float


def title(load: Load, partitions: int) -> str:
    where = "1 partition" if partitions == 1 else f"{partitions} partitions"
    return f"processor time of the server, append, {load.title}, {where}"


async def cost(server: BenchServer, load: Load, partitions: int, rounds: int) -> Cost:
    contender = one(server, partitions, exact=True)
    ours: list[tuple[Sample, Shape]] = []
    bare: list[tuple[Sample, Shape]] = []
    for _ in range(rounds):
        ours.append(await _log(server, contender, load))
        at_once = min(load.tasks, partitions)
        bare.append(await _bare_script(server, load.events, round(ours[-1][1].events_a_call), at_once))
    return Cost(title(load, partitions), "us/event", [_price(OURS, ours)], _price("bare XADD in a script", bare))


def _price(name: str, runs: list[tuple[Sample, Shape]]) -> Price:
    shapes = [shape for _, shape in runs]
    note = f"{shapes[-1].events_a_call:.1f} events a call, {min(s.script_us for s in shapes):.1f} us in the script"
    return Price(name, [1e6 * sample.server_cpu_seconds / sample.events for sample, _ in runs], note)


async def _log(server: BenchServer, contender: Contender, load: Load) -> tuple[Sample, Shape]:
    async with contender.empty() as ready, ready.open(load) as append:
        await warm(append, load, contender.threads, 0)
        await server.admin.config_resetstat()
        sample = await timed(server, load.events, partial(write, append, load, contender.threads, "order"))
        shape = await _shape(server, load.events)
        check_count(contender.name, await ready.count(), load.events + warming(load).events)
    return sample, shape


async def _bare_script(server: BenchServer, events: int, a_call: int, at_once: int) -> tuple[Sample, Shape]:
    calls = max(1, events // (a_call * at_once))
    async with redis.asyncio.Redis.from_url(server.url, max_connections=at_once) as client:
        sha = await client.script_load(_BARE)

        async def one(repeats: int) -> None:
            for call in range(repeats):
                batch = [to_json(order(number)) for number in range(call * a_call, (call + 1) * a_call)]
                await client.evalsha(sha, 1, _STREAM, *batch)

        async def work(repeats: int) -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(at_once):
                    tasks.start_soon(one, repeats)

        await work(1)
        await server.admin.config_resetstat()
        written = a_call * at_once * calls
        sample = await timed(server, written, partial(work, calls))
        shape = await _shape(server, written)
        check_count(_BARE, await server.admin.xlen(_STREAM), written + a_call * at_once)
    await server.clean()
    return sample, shape


async def _shape(server: BenchServer, events: int) -> Shape:
    scripts: Any = (await server.admin.info("commandstats"))["cmdstat_evalsha"]
    return Shape(events / scripts["calls"], scripts["usec"] / events)
