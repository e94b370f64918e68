"""The append cases: all contenders of a level under one load."""

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.contender import Contender
from benchmarks.drive import drive
from benchmarks.load import Load
from benchmarks.measure import Case, Contestant
from benchmarks.own_server import BenchServer, Level
from benchmarks.peers import redis_benchmark
from benchmarks.processes import Team

LEVELS: dict[Level, str] = {"fsync": "fsync always", "memory": "memory"}


def title(load: Load, level: Level) -> str:
    return f"append, {load.title}, {LEVELS[level]}"


def case(server: BenchServer, load: Load, contenders: Sequence[Contender], team: Team, with_benchmark: bool) -> Case:
    """With redis-benchmark, if it is among the peers that were asked for."""
    found = list(_contestants(load, contenders, team))
    if with_benchmark:
        found += redis_benchmark.contestants(server, load)
    return Case(title(load, server.level), found)


def _contestants(load: Load, contenders: Sequence[Contender], team: Team) -> Iterator[Contestant]:
    for contender in contenders:
        if load.processes == 1 or contender.processes:
            run = partial(drive, contender, load, team)
            yield Contestant(contender.name, run, baseline=not contender.ours)
