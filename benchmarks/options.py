"""Options that the benchmarks share."""

import argparse
from collections.abc import Iterable
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


def parser_of(program: str, description: str | None, *, results: str, rounds: int) -> argparse.ArgumentParser:
    """With what all of them take. `results` is the file of samples, without its ending, `rounds` how many are usual."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{program}", description=description)
    parser.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast")
    parser.add_argument(
        "--json", type=Path, default=RESULTS / f"{results}.json", metavar="FILE", help="where samples go"
    )
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="on the disk to measure with fsync")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"how often each contestant runs ({rounds})")
    return parser


def add_some_of(parser: argparse.ArgumentParser, option: str, known: Iterable[str]) -> None:
    """An option that names some of these, with commas between them; by default all."""
    every = list(known)

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in every]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(every)}")
        return names

    parser.add_argument(option, type=parse, default=every, metavar="A,B", help=f"all of them: {','.join(every)}")
