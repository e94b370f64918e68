"""Sagas beside DBOS: steps a second, and how long a saga takes. Run `make bench-sagas`, or
`python -m benchmarks.sagas`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from benchmarks.findings import Run, Section, as_json, as_table, publish
from benchmarks.logs import keep_off_stdout
from benchmarks.machine import Machine, describe, versions
from benchmarks.measure import Result, alternate
from benchmarks.options import DOCS, add_some_of, parser_of
from benchmarks.orchestrating.cases import PEERS, contestants, findings
from benchmarks.orchestrating.work import Load
from benchmarks.own_server import Level, own_server
from infrastructure.server_program import find_program

SECTION = Section("sagas", "Sagas", "steps/s")
LEVELS: tuple[Level, ...] = ("fsync", "memory")
FULL = (Load(200, 1), Load(1_000, 1_000), Load(5_000, 5_000))
QUICK = (Load(40, 1), Load(200, 200))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes JSON. 0, or an exception: a saga that does not end, a server that does not start."""
    given = _parser().parse_args(arguments)
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(_run(given))
    print(as_table(report, SECTION))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    if given.publish:
        publish(report, SECTION, DOCS)
    return 0


async def _run(given: argparse.Namespace) -> Run:
    rounds = given.rounds or (1 if given.quick else 3)
    results: list[Result] = []
    found, absent = [], []
    machine: Machine | None = None
    for level in given.levels:
        async with own_server(given.server or find_program(), level, given.dir) as server:
            machine = machine or await describe(server, given.dir)
            for load in QUICK if given.quick else FULL:
                async with contestants(server, given.dir, given.peers, load) as (case, missing):
                    print(f"{case.title} ...", file=sys.stderr, flush=True)
                    results.append(await alternate(case, rounds))
                found += findings(results[-1])
                absent += [each for each in missing if each not in absent]
    if machine is None:
        raise SystemExit("no level was asked for")
    return Run(machine, versions(), rounds, results, found, absent)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("sagas", __doc__, results="sagas", rounds=3)
    add_some_of(parser, "--peers", PEERS)
    add_some_of(parser, "--levels", LEVELS)
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
