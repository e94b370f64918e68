"""Who projects into which sink, and what is wanted."""

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.contender import Absent
from benchmarks.field import Missing
from benchmarks.findings import Finding
from benchmarks.measure import Case, Contestant, Result
from benchmarks.own_server import BenchServer
from benchmarks.postgres import cluster
from benchmarks.processes import Team
from benchmarks.projecting import by_hand, lag, ours
from benchmarks.projecting.places import Empty, database, file

SINKS = ("sqlite", "postgres", "redis")
RUNNER = "eventsourcing ProjectionRunner"
WANTED_BY_HAND, WANTED_RUNNER = 0.7, 10.0
_NAMES = {"sqlite": "a SQLite file", "postgres": "PostgreSQL", "redis": "Redis"}
_SHARE = 0.02
"""Of the events, for a peer that has a transaction for each."""


class Size(Struct, frozen=True):
    """Of a backlog, and for how long the log is written to."""

    events: int
    rate: int
    seconds: float


@asynccontextmanager
async def cases(
    server: BenchServer, folder: Path, sinks: Sequence[str], size: Size, senders: Team
) -> AsyncIterator[tuple[list[Case], list[Missing]]]:
    """PostgreSQL runs in the block."""
    found: list[Case] = []
    missing: list[Missing] = []
    lags: list[Contestant] = []
    async with AsyncExitStack() as stack:
        for sink in sinks:
            if sink == "redis":
                found.append(_into_redis(server, size))
                continue
            try:
                peers: list[Contestant] = []
                empty: Empty = partial(file, folder)
                if sink == "postgres":
                    postgres = await stack.enter_async_context(cluster(folder, synchronous_commit=True))
                    empty = partial(database, postgres)
                    peers = _peers(empty, postgres, size, missing)
            except Absent as absent:
                missing.append(Missing(_NAMES[sink], "as it comes", str(absent)))
                continue
            found.append(_into_tables(server, empty, sink, size, peers))
            lags.append(Contestant(_NAMES[sink], partial(lag.run, server, empty, senders, size.rate, size.seconds)))
        yield [*found, *([Case(lag.title(size.rate), lags)] if lags else [])], missing


def findings(result: Result) -> list[Finding]:
    """Events a second beside each of the others, in the same round; of lags their percentiles."""
    if not result.baselines:
        return [each for outcome in result.outcomes for each in _waits(result.title, outcome.name, outcome.samples)]
    ours_, *others = result.outcomes
    found = []
    for theirs in others:
        ratios = [a.rate / b.rate for a, b in zip(ours_.samples, theirs.samples, strict=True)]
        wanted = WANTED_RUNNER if theirs.name == RUNNER else WANTED_BY_HAND
        found.append(Finding(f"{result.title}: beside {theirs.name}", "x", ratios, wanted))
    return found


def _waits(title: str, name: str, samples: Sequence[Any]) -> list[Finding]:
    measured = [sample.latency for sample in samples if sample.latency]
    return [
        Finding(f"{title}, {name}: p50", "ms", [each.p50_ms for each in measured]),
        Finding(f"{title}, {name}: p99", "ms", [each.p99_ms for each in measured]),
    ]


def _title(sink: str) -> str:
    return f"rebuild into {_NAMES[sink]}"


def _into_tables(server: BenchServer, empty: Empty, sink: str, size: Size, peers: Sequence[Contestant]) -> Case:
    runs = [
        Contestant(ours.OURS, partial(ours.rebuild_tables, server, empty, size.events)),
        Contestant(by_hand.TABLES, partial(by_hand.rebuild_tables, server, empty, size.events), baseline=True),
    ]
    return Case(_title(sink), [*runs, *peers])


def _into_redis(server: BenchServer, size: Size) -> Case:
    return Case(
        _title("redis"),
        [
            Contestant(ours.OURS, partial(ours.rebuild_redis, server, size.events)),
            Contestant(by_hand.REDIS, partial(by_hand.rebuild_redis, server, size.events), baseline=True),
        ],
    )


def _peers(empty: Empty, postgres: Any, size: Size, missing: list[Missing]) -> list[Contestant]:
    if find_spec("eventsourcing") is None:
        why = "eventsourcing is not installed: pip install '.[bench]'"
        missing.append(Missing(RUNNER, "PostgreSQL", why))
        return []
    module: Any = importlib.import_module("benchmarks.projecting.runner_peer")
    run = partial(module.rebuild, empty, postgres, max(1, round(size.events * _SHARE)))
    return [Contestant(RUNNER, run, baseline=True)]
