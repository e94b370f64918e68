"""Whether a long log costs more than a short one, per append and per read of a stream.

Run `python -m benchmarks.flat`. One log grows to 10,000, 100,000, 1,000,000 ... events. At each size it is measured in
turn with a log of 10,000 on a server of its own, so that a ratio is one of the same moments: a machine's speed drifts
while a log is filled. The processor time of the server is the figure to look at; time on the wall has the client in it.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from benchmarks.flat_log import TASKS, FlatLog, flat_log
from benchmarks.flat_report import FlatReport, Stage, as_json, as_table
from benchmarks.machine import describe
from benchmarks.measure import Case, Contestant, Run, alternate
from benchmarks.own_server import BenchServer, own_server
from infrastructure.server_program import find_program

RESULTS = Path(__file__).parent / "results"
FIRST, TIMES = 10_000, 10
MOST_OF_A_STREAM = 100  # 10,000 events are enough streams for all tasks then


class Plan(Struct, frozen=True):
    """How large the log becomes, how many events a stream has, and how often it is measured."""

    program: str
    folder: Path
    events: int
    each: int
    calls: int
    rounds: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON. 0, or an exception: a wrong count, a server that does not start."""
    parser = _parser()
    given = parser.parse_args(arguments)
    each = given.events // (given.streams or max(given.events // 10, 1))
    if given.events < FIRST or given.calls < TASKS or not 1 <= each <= MOST_OF_A_STREAM:
        parser.error(f"at least {FIRST:,} events and {TASKS} calls, 1 to {MOST_OF_A_STREAM} events a stream")
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(given.server or find_program(), given.dir, given.events, each, given.calls, given.rounds)
    report = asyncio.run(run(plan))
    print(as_table(report))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    return 0


async def run(plan: Plan) -> FlatReport:
    """All sizes on one server process, each beside a fresh log of the first size on another."""
    async with (
        own_server(plan.program, "memory", plan.folder) as server,
        own_server(plan.program, "memory", plan.folder) as other,
        flat_log(server, plan.each) as log,
    ):
        machine = await describe(server, plan.folder)
        stages = [await _stage(log, other, size, plan) for size in _sizes(plan.events)]
    return FlatReport(machine, plan.rounds, stages)


async def _stage(log: FlatLog, other: BenchServer, events: int, plan: Plan) -> Stage:
    print(f"{events:,} events ...", file=sys.stderr, flush=True)
    began, before = time.perf_counter(), log.events
    await log.grow(events // plan.each)
    filled_at = (log.events - before) / (time.perf_counter() - began)
    size, bytes_per_event = log.events, await log.bytes_per_event()
    async with flat_log(other, plan.each) as short:
        await short.grow(FIRST // plan.each)
        results = [await alternate(case, plan.rounds) for case in _cases(log, short, plan)]
    return Stage(size, log.streams, filled_at, bytes_per_event, results)


def _cases(log: FlatLog, short: FlatLog, plan: Plan) -> Iterator[Case]:
    ways: dict[str, Sequence[Run]] = {
        "append, exact version": [partial(one.append, plan.calls, exact=True) for one in (log, short)],
        "append, any version": [partial(one.append, plan.calls, exact=False) for one in (log, short)],
        f"read a stream of {plan.each}": [partial(one.read, plan.calls) for one in (log, short)],
    }
    for title, (ours, theirs) in ways.items():
        yield Case(title, [Contestant("this log", ours), Contestant(f"{FIRST:,} events", theirs, baseline=True)])


def _sizes(events: int) -> Iterator[int]:
    size = FIRST
    while size < events:
        yield size
        size *= TIMES
    yield events


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N", help="the largest size (1000000)")
    parser.add_argument("--streams", type=int, metavar="N", help="how many streams it has then (a tenth)")
    parser.add_argument("--calls", type=int, default=1_000, metavar="N", help="appends and reads of a sample (1000)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="how often each is measured (7)")
    parser.add_argument("--json", type=Path, default=RESULTS / "flat.json", metavar="FILE", help="where samples go")
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="where servers have their folders")
    return parser


if __name__ == "__main__":
    sys.exit(main())
