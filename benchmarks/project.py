"""Projections beside loops by hand and a peer: how fast a read model is rebuilt, and how late its rows are.
Run `make bench-projections`, or `python -m benchmarks.project`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.logs import keep_off_stdout
from benchmarks.machine import describe, versions
from benchmarks.measure import Result, alternate
from benchmarks.orchestrating.work import spare_the_collector
from benchmarks.own_server import own_server
from benchmarks.processes import Team, team
from benchmarks.projecting.cases import SINKS, Size, cases, findings
from benchmarks.projecting.lag import RATE
from benchmarks.projecting.report import ProjectionReport, as_json, as_table, publish
from infrastructure.server_program import find_program

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
FULL, QUICK = Size(200_000, RATE, 10.0), Size(20_000, RATE, 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes JSON. 0, or an exception: rows that are wrong, a server that does not start."""
    given = _parser().parse_args(arguments)
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with team("asyncio") as senders:
        report = asyncio.run(_run(given, senders))
    print(as_table(report))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    if given.publish:
        publish(report, DOCS)
    return 0


async def _run(given: argparse.Namespace, senders: Team) -> ProjectionReport:
    rounds = given.rounds or (1 if given.quick else 3)
    size = QUICK if given.quick else FULL
    results: list[Result] = []
    async with own_server(given.server or find_program(), "memory", given.dir) as server:
        machine = await describe(server, given.dir)
        async with cases(server, given.dir, given.sinks, size, senders) as (found, missing):
            spare_the_collector()
            for case in found:
                if given.only in case.title:
                    print(f"{case.title} ...", file=sys.stderr, flush=True)
                    results.append(await alternate(case, rounds))
    if not results:
        raise SystemExit(f"no case has {given.only!r} in its title")
    said = [each for result in results for each in findings(result)]
    return ProjectionReport(machine, versions(), rounds, results, said, missing)


def _sinks(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in SINKS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(SINKS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.project", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast")
    parser.add_argument(
        "--json", type=Path, default=RESULTS / "projections.json", metavar="FILE", help="where samples go"
    )
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="on the disk to measure")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contestant runs (3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their title")
    every = ",".join(SINKS)
    parser.add_argument("--sinks", type=_sinks, default=list(SINKS), metavar="A,B", help=f"all of them: {every}")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
