"""Consumers beside their peers, and under failure, urgency and load. Run `make bench-consumers`, or
`python -m benchmarks.consume`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.consuming import arrivals, backlog, prices, scaling, urgent
from benchmarks.consuming.chart import draw
from benchmarks.consuming.figures import of_results
from benchmarks.consuming.report import SECTION, publish
from benchmarks.field import Missing
from benchmarks.findings import Finding, Run, as_json, as_table
from benchmarks.logs import keep_off_stdout
from benchmarks.loops import LOOPS, loop_factory
from benchmarks.machine import Machine, describe, versions
from benchmarks.measure import Case, Result, alternate
from benchmarks.options import DOCS, add_some_of, parser_of
from benchmarks.own_server import BenchServer, Level, own_server
from benchmarks.processes import Team, team
from infrastructure.collector import spare_the_collector
from infrastructure.server_program import find_program

LEVELS: tuple[Level, ...] = ("memory", "fsync")


class Plan(Struct, frozen=True):
    """How much is measured, and on which server."""

    program: str
    folder: Path
    rounds: int
    peers: Sequence[str]
    only: str
    loop: str
    events: int
    """Of a backlog."""
    low: int
    parked: int
    rates: Sequence[int]
    seconds: float

    def wants(self, title: str) -> bool:
        return self.only in title


class Found(Struct):
    results: list[Result] = []
    findings: list[Finding] = []
    missing: list[Missing] = []


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, writes JSON and chart. 0, or an exception: a wrong count, a server that does not start."""
    given = _parser().parse_args(arguments)
    plan = _plan(given)
    for folder in (plan.folder, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    spare_the_collector()  # as `eventstore work` does; all contestants have it so
    with team(plan.loop) as others, asyncio.Runner(loop_factory=loop_factory(plan.loop)) as runner:
        report = runner.run(run(plan, others))
    print(as_table(report, SECTION))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    chart = given.json.with_suffix(".png")
    print(f"No chart: {refused}" if (refused := draw(report.results, chart)) else f"The chart: {chart}")
    if given.publish:
        publish(report, DOCS)
    return 0


async def run(plan: Plan, others: Team) -> Run:
    """What is compared with peers in both levels; the rest in memory, so that no disk is measured."""
    found = Found()
    machine: Machine | None = None
    for level in LEVELS:
        async with own_server(plan.program, level, plan.folder) as server:
            machine = machine or await describe(server, plan.folder)
            async for case in _cases(server, plan, others, found):
                _tell(case.title)
                found.results.append(await alternate(case, plan.rounds))
            await _others(server, plan, others, found)
    if machine is None or not (found.results or found.findings):
        raise SystemExit(f"no case has {plan.only!r} in its title")
    findings = [*of_results(found.results), *found.findings]
    return Run(machine, versions(), plan.rounds, found.results, findings, found.missing)


async def _cases(server: BenchServer, plan: Plan, others: Team, found: Found) -> AsyncIterator[Case]:
    if plan.wants(backlog.title(server.level)):
        case, missing = backlog.beside_peers(server, plan.events, plan.peers)
        found.missing += missing
        yield case
    if server.level == "fsync":
        return
    for case in (
        scaling.case(server, plan.events, others),
        backlog.while_failing(server),
        arrivals.at_rates(server, others, plan.rates, plan.seconds),
        arrivals.beside_parked(server, others, plan.rates[0], plan.seconds, plan.parked),
    ):
        if plan.wants(case.title):
            yield case


async def _others(server: BenchServer, plan: Plan, others: Team, found: Found) -> None:
    if server.level == "fsync":
        if plan.wants(prices.AOF):
            _tell(prices.AOF)
            found.findings.append(await prices.file(server, plan.events, plan.rounds))
        return
    if plan.wants(prices.CPU):
        _tell(prices.CPU)
        found.findings.append(await prices.processor(server, plan.events, plan.rounds))
    if plan.wants(urgent.title(plan.low)):
        _tell(urgent.title(plan.low))
        found.results.append(await urgent.result(server, others, plan.low, plan.rounds))


def _tell(title: str) -> None:
    print(f"{title} ...", file=sys.stderr, flush=True)


def _plan(given: argparse.Namespace) -> Plan:
    quick = given.quick
    return Plan(
        program=given.server or find_program(),
        folder=given.dir,
        rounds=given.rounds or (1 if quick else 5),
        peers=given.peers,
        only=given.only,
        loop=given.loop,
        events=20_000 if quick else 200_000,
        low=20_000 if quick else 1_000_000,
        parked=100 if quick else 10_000,
        rates=(1_000, 10_000),
        seconds=1.0 if quick else 10.0,
    )


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("consume", __doc__, results="consumers", rounds=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their title")
    add_some_of(parser, "--peers", backlog.PEERS)
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="of our process and the others' (asyncio)")
    parser.add_argument("--publish", action="store_true", help="put table and chart into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
