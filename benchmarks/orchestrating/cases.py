"""Who runs sagas, how many at once, and what is wanted."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.contender import Absent
from benchmarks.field import Missing
from benchmarks.findings import Finding
from benchmarks.measure import Case, Contestant, Result, Sample
from benchmarks.orchestrating.work import Load, ran
from benchmarks.own_server import BenchServer, Level
from benchmarks.postgres import Cluster, cluster

OURS = "sagas, 1 worker, 16 partitions"
POSTGRES, POSTGRES_ASYNC = "DBOS on PostgreSQL, threads", "DBOS on PostgreSQL, async"
SQLITE = "DBOS on SQLite, async"
WANTED = 5.0
PEERS = ("postgres", "sqlite")
_SHARE = {POSTGRES: 0.5, POSTGRES_ASYNC: 0.5, SQLITE: 0.1}
"""Of the sagas of a run: more say nothing more, and take minutes. As many are under way at once, or all."""
_NAMES: dict[Level, str] = {"fsync": "every commit synced", "memory": "no sync waited for"}


def title(load: Load, level: Level) -> str:
    many = "one after the other" if load.at_once == 1 else f"{load.at_once:,} under way at once"
    return f"sagas of three steps, {many}, {_NAMES[level]}"


@asynccontextmanager
async def contestants(
    server: BenchServer, folder: Path, peers: Sequence[str], load: Load
) -> AsyncIterator[tuple[Case, list[Missing]]]:
    """Their servers run in the block."""
    found: list[Contestant] = [Contestant(OURS, partial(_ours, server, load))]
    missing: list[Missing] = []
    async with AsyncExitStack() as stack:
        for peer in peers:
            try:
                _must_be_here()
                if peer == "sqlite":
                    found.append(_peer(SQLITE, partial(_on_sqlite, server.level, folder), load))
                    continue
                running = cluster(folder, synchronous_commit=server.level == "fsync")
                postgres = await stack.enter_async_context(running)
                for name, style in ((POSTGRES, "threads"), (POSTGRES_ASYNC, "async")):
                    found.append(_peer(name, partial(_on_postgres, postgres, server.level, style), load))
            except Absent as absent:
                missing.append(Missing(f"DBOS on {peer}", server.level, str(absent)))
        yield Case(title(load, server.level), found), missing


def findings(result: Result) -> list[Finding]:
    """Steps a second beside each of the peers, in the same round."""
    ours = next(outcome for outcome in result.outcomes if outcome.name == OURS)
    found = []
    for theirs in result.baselines:
        ratios = [a.rate / b.rate for a, b in zip(ours.samples, theirs.samples, strict=True)]
        wanted = None if result.title.startswith("sagas of three steps, one after") else WANTED
        found.append(Finding(f"{result.title}: steps a second beside {theirs.name}", "x", ratios, wanted))
    return found


def _must_be_here() -> None:
    if find_spec("dbos") is None:
        raise Absent("dbos is not installed: pip install '.[bench]'")


def _peer(name: str, run: Callable[[Load], Awaitable[Sample]], load: Load) -> Contestant:
    sagas = max(20, round(load.sagas * _SHARE[name]))
    return Contestant(name, partial(run, Load(sagas, min(load.at_once, sagas))), baseline=True)


async def _ours(server: BenchServer, load: Load) -> Sample:
    used = await server.cpu_seconds()
    done = await ran("ours", server.url, server.fresh_prefix(), server.level, load.sagas, load.at_once)
    sample = done.sample(load, await server.cpu_seconds() - used)
    await server.clean()
    return sample


async def _on_postgres(postgres: Cluster, level: Level, style: str, load: Load) -> Sample:
    postgres.recreate_database()
    used = await postgres.meter.cpu_seconds()
    url = f"postgresql+psycopg://{postgres.USER}@{postgres.HOST}:{postgres.port}/{postgres.DATABASE}"
    done = await ran("dbos_process", url, style, level, load.sagas, load.at_once)
    return done.sample(load, await postgres.meter.cpu_seconds() - used)


async def _on_sqlite(level: Level, folder: Path, load: Load) -> Sample:
    with tempfile.TemporaryDirectory(prefix="sqlite-", dir=folder) as data:
        url = f"sqlite:///{data}/dbos.db"
        done = await ran("dbos_process", url, "async", level, load.sagas, load.at_once)
    return done.sample(load, 0.0)
