"""Sagas beside DBOS: steps a second, and how long a saga takes. Run `make bench-sagas`, or
`python -m benchmarks.sagas`."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.logs import keep_off_stdout
from benchmarks.machine import Machine, describe, versions
from benchmarks.measure import Result, alternate
from benchmarks.orchestrating.cases import PEERS, contestants, findings
from benchmarks.orchestrating.report import SagaReport, as_json, as_table, publish
from benchmarks.orchestrating.work import Load
from benchmarks.own_server import Level, own_server
from infrastructure.server_program import find_program

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
LEVELS: tuple[Level, ...] = ("fsync", "memory")
FULL = (Load(200, 1), Load(1_000, 1_000), Load(5_000, 5_000))
QUICK = (Load(40, 1), Load(200, 200))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes JSON. 0, or an exception: a saga that does not end, a server that does not start."""
    given = _parser().parse_args(arguments)
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    report = asyncio.run(_run(given))
    print(as_table(report))
    given.json.write_bytes(as_json(report))
    print(f"\nEvery sample: {given.json}")
    if given.publish:
        publish(report, DOCS)
    return 0


async def _run(given: argparse.Namespace) -> SagaReport:
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
    return SagaReport(machine, versions(), rounds, results, found, absent)


def _names(known: Sequence[str], text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(known)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sagas", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast")
    parser.add_argument("--json", type=Path, default=RESULTS / "sagas.json", metavar="FILE", help="where samples go")
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="on the disk to measure with fsync")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each contestant runs (3)")
    for name, known in (("peers", PEERS), ("levels", LEVELS)):
        parser.add_argument(
            f"--{name}",
            type=lambda text, known=known: _names(known, text),  # type: ignore[misc]
            default=list(known),
            metavar="A,B",
            help=f"all of them: {','.join(known)}",
        )
    parser.add_argument("--publish", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    keep_off_stdout()
    sys.exit(main())
