"""The log beside redis-py and redis-benchmark: appends and reads. Run `python -m benchmarks.log`, or `make bench`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks import baselines, log_appends, reads
from benchmarks.load import FULL, QUICK, Load
from benchmarks.machine import Machine, describe
from benchmarks.measure import Case, Result, alternate
from benchmarks.own_server import BenchServer, Level, own_server
from benchmarks.report import Report, as_json, as_table
from infrastructure.server_program import find_program

RESULTS = Path(__file__).parent / "results"
_LEVELS: dict[Level, str] = {"fsync": "fsync always", "memory": "memory"}


class Plan(Struct, frozen=True):
    """How much is measured, and on which server."""

    program: str
    folder: Path
    rounds: int
    loads: Sequence[Load]
    read_events: int
    only: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes the JSON. 0, or an exception: a wrong count, a server that does not start."""
    given = _parser().parse_args(arguments)
    plan = Plan(
        program=given.server or find_program(),
        folder=given.dir,
        rounds=given.rounds or (1 if given.quick else 5),
        loads=QUICK if given.quick else FULL,
        read_events=5_000 if given.quick else 50_000,
        only=given.only,
    )
    for folder in (plan.folder, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(run(plan))
    print(as_table(report))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    return 0


async def run(plan: Plan) -> Report:
    """All cases of a level on one server process; reads, which need no disk, on that in memory."""
    results: list[Result] = []
    machine: Machine | None = None
    for level in _LEVELS:
        async with own_server(plan.program, level, plan.folder) as server:
            machine = machine or await describe(server, plan.folder)
            results += [result async for result in _measured(server, plan)]
    if machine is None or not results:
        raise SystemExit(f"no case has {plan.only!r} in its title")
    return Report(machine, plan.rounds, results)


async def _measured(server: BenchServer, plan: Plan) -> AsyncIterator[Result]:
    for load in plan.loads:
        case = _append_case(server, load)
        if plan.only in case.title:
            yield await _alternated(case, plan.rounds)
    if server.level == "memory" and any(plan.only in title for title in reads.TITLES):
        async with reads.filled(server, plan.read_events) as data:
            for case in reads.cases(data):
                if plan.only in case.title:
                    yield await _alternated(case, plan.rounds)


def _append_case(server: BenchServer, load: Load) -> Case:
    title = f"append, {load.title}, {_LEVELS[server.level]}"
    return Case(title, [*log_appends.contestants(server, load), *baselines.contestants(server, load)])


async def _alternated(case: Case, rounds: int) -> Result:
    print(f"{case.title} ...", file=sys.stderr, flush=True)
    return await alternate(case, rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast")
    parser.add_argument("--json", type=Path, default=RESULTS / "log.json", metavar="FILE", help="where samples go")
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="on the disk to measure with fsync")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contestant runs (5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their title")
    return parser


if __name__ == "__main__":
    sys.exit(main())
