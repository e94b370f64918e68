"""Projections beside loops by hand and a peer: how fast a read model is rebuilt, and how late its rows are.
Run `make bench-projections`, or `python -m benchmarks.project`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks.findings import Run, Section, as_json, as_table, publish
from benchmarks.logs import keep_off_stdout
from benchmarks.machine import describe, versions
from benchmarks.measure import Result, alternate
from benchmarks.options import DOCS, add_some_of, parser_of
from benchmarks.own_server import own_server
from benchmarks.processes import Team, team
from benchmarks.projecting.cases import SINKS, Size, cases, findings
from benchmarks.projecting.lag import RATE
from infrastructure.collector import spare_the_collector
from infrastructure.server_program import find_program

SECTION = Section("projections", "Projections")
FULL, QUICK = Size(200_000, RATE, 10.0), Size(20_000, RATE, 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes JSON. 0, or an exception: rows that are wrong, a server that does not start."""
    given = _parser().parse_args(arguments)
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with team("asyncio") as senders:
        report = asyncio.run(_run(given, senders))
    print(as_table(report, SECTION))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    if given.publish:
        publish(report, SECTION, DOCS)
    return 0


async def _run(given: argparse.Namespace, senders: Team) -> Run:
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
    return Run(machine, versions(), rounds, results, said, missing)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("project", __doc__, results="projections", rounds=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their title")
    add_some_of(parser, "--sinks", SINKS)
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
