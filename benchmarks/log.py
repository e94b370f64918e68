"""The log beside its peers: appends, reads, memory, processor time. Run `python -m benchmarks.log`, or `make bench`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks import appends, memory, reads, server_cpu, syncs
from benchmarks.appends import LEVELS
from benchmarks.chart import draw
from benchmarks.costs import Cost
from benchmarks.field import PEERS, Field, Missing, field
from benchmarks.load import FULL, QUICK, Load
from benchmarks.logs import keep_off_stdout
from benchmarks.loops import LOOPS, loop_factory
from benchmarks.machine import Machine, describe, versions
from benchmarks.measure import Case, Result, alternate
from benchmarks.options import DOCS, add_some_of, parser_of
from benchmarks.own_server import BenchServer, own_server
from benchmarks.processes import Team, team
from benchmarks.published import publish
from benchmarks.report import Report, as_json, as_table
from benchmarks.syncs import Syncs
from benchmarks.targets import verdicts
from infrastructure.server_program import find_program


class Plan(Struct, frozen=True):
    """How much is measured, and on which server."""

    program: str
    folder: Path
    rounds: int
    loads: Sequence[Load]
    read_events: int
    memory_streams: int
    peers: Sequence[str]
    only: str
    loop: str

    def wants(self, title: str) -> bool:
        return self.only in title


class Found(Struct):
    """What a run has measured until now."""

    results: list[Result] = []
    costs: list[Cost] = []
    syncs: list[Syncs] = []
    missing: list[Missing] = []

    @property
    def nothing(self) -> bool:
        return not (self.results or self.costs or self.syncs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes JSON and chart. 0, or an exception: a wrong count, a server that does not start."""
    given = _parser().parse_args(arguments)
    plan = _plan(given)
    for folder in (plan.folder, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with team(plan.loop) as writers, asyncio.Runner(loop_factory=loop_factory(plan.loop)) as runner:
        report = runner.run(run(plan, writers))
    print(as_table(report))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    if refused := draw(report, given.json.with_suffix(".png")):
        print(f"No chart: {refused}")
    else:
        print(f"The chart: {given.json.with_suffix('.png')}")
    if given.publish:
        publish(report, DOCS)
    return 0


async def run(plan: Plan, writers: Team) -> Report:
    """All cases of a level on one server process beside those of the peers."""
    found = Found()
    machine: Machine | None = None
    for level in LEVELS:
        async with (
            own_server(plan.program, level, plan.folder) as server,
            field(server, plan.folder, plan.peers) as entered,
        ):
            machine = machine or await describe(server, plan.folder)
            found.missing += entered.missing
            await _measure(server, entered, plan, writers, found)
    if machine is None or found.nothing:
        raise SystemExit(f"no case has {plan.only!r} in its title")
    judged = verdicts(found.results, found.costs)
    return Report(machine, versions(), plan.rounds, found.results, found.costs, found.syncs, found.missing, judged)


async def _measure(server: BenchServer, entered: Field, plan: Plan, writers: Team, found: Found) -> None:
    async for case in _cases(server, entered, plan, writers):
        _tell(case.title)
        found.results.append(await alternate(case, plan.rounds))
    if server.level == "memory":
        async for cost in _costs(server, plan):
            found.costs.append(cost)
    elif plan.wants(syncs.TITLE):
        _tell(syncs.TITLE)
        found.syncs += await syncs.counted(entered.contenders)


async def _cases(server: BenchServer, entered: Field, plan: Plan, writers: Team) -> AsyncIterator[Case]:
    with_benchmark = "redis-benchmark" in plan.peers
    for load in plan.loads:
        if plan.wants(appends.title(load, server.level)):
            yield appends.case(server, load, entered.contenders, writers, with_benchmark)
    # Beside the peers that read: UmaDB has only one level.
    if server.level == "fsync" and any(plan.wants(title) for title in reads.TITLES):
        async with reads.filled(server, plan.read_events, entered.contenders) as data:
            for case in reads.cases(data):
                if plan.wants(case.title):
                    yield case


async def _costs(server: BenchServer, plan: Plan) -> AsyncIterator[Cost]:
    if plan.wants(memory.TITLE):
        _tell(memory.TITLE)
        yield await memory.cost(server, plan.memory_streams)
    for load in plan.loads:
        for partitions in (16, 1):
            title = server_cpu.title(load, partitions)
            if load.processes == 1 and plan.wants(title):
                _tell(title)
                yield await server_cpu.cost(server, load, partitions, plan.rounds)


def _tell(title: str) -> None:
    print(f"{title} ...", file=sys.stderr, flush=True)


def _plan(given: argparse.Namespace) -> Plan:
    return Plan(
        program=given.server or find_program(),
        folder=given.dir,
        rounds=given.rounds or (1 if given.quick else 5),
        loads=QUICK if given.quick else FULL,
        read_events=5_000 if given.quick else 50_000,
        memory_streams=100 if given.quick else 10_000,
        peers=given.peers,
        only=given.only,
        loop=given.loop,
    )


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("log", __doc__, results="log", rounds=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their title")
    add_some_of(parser, "--peers", PEERS)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="of our process and the writers' (asyncio)")
    parser.add_argument("--publish", action="store_true", help="put table and chart into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
