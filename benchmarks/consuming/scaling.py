"""The same backlog by one worker and by two, each a process of its own; they begin when the partitions are shared."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from msgspec import Struct

from benchmarks.consuming.groups import PARTITIONS, backlog, committed, trivial, worker
from benchmarks.consuming.tally import Tally
from benchmarks.log_appends import settings_of
from benchmarks.measure import Case, Contestant, CountWrong, Sample
from benchmarks.own_server import BenchServer, Level
from benchmarks.payload import OrderPlaced
from benchmarks.processes import Team, Work
from consumers.creation import ensure_group
from consumers.groups import describe_group, pause_group, resume_group
from consumers.start import parse_start
from eventstore.store import EventStore

TITLE = "consume by processes"
ONE, TWO = "1 worker process", "2 worker processes"
_GROUP = "trivial"
_LOOK_SECONDS = 0.01
_WHO = "benchmark"


class Done(Struct, frozen=True):
    """By one process: which events, and when the first of them was handled, by the clock of the machine."""

    seen: bytes
    began: float


def case(server: BenchServer, events: int, workers: Team) -> Case:
    return Case(
        TITLE,
        [
            Contestant(TWO, partial(_run, server, events, workers, 2)),
            Contestant(ONE, partial(_run, server, events, workers, 1), baseline=True),
        ],
    )


async def _run(server: BenchServer, events: int, workers: Team, processes: int) -> Sample:
    async with backlog(server, events) as store:
        await ensure_group(store.log, _GROUP, parse_start("earliest"))
        await pause_group(store, _GROUP, who=_WHO)
        prefix = store.log.settings.prefix
        job = partial(_worker, server.url, prefix, server.level, events)
        async with workers.at_work(job, processes) as go:
            await _shared(store, processes)
            used = await server.cpu_seconds()
            ended = 0.0

            async def finish() -> None:
                nonlocal ended
                await resume_group(store, _GROUP, who=_WHO)
                await committed(server, store.log.keys, _GROUP)
                ended = time.perf_counter()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(go)
                await finish()
        used = await server.cpu_seconds() - used
    done: list[Done] = go.results
    _check([each.seen for each in done], events)
    return Sample(events, ended - min(each.began for each in done), used, go.cpu_seconds)


def _check(seen: list[bytes], events: int) -> None:
    wrong = sum(sum(times) != 1 for times in zip(*seen, strict=True))
    if wrong:
        raise CountWrong(f"{TITLE}: {wrong} of {events} events were handled another time or never")


async def _shared(store: EventStore, processes: int) -> None:
    """Until each process has its part of the partitions."""
    while True:
        shape = await describe_group(store, _GROUP)
        owners = [each.owner for each in shape.partitions]
        if None not in owners and {owners.count(owner) for owner in owners} == {PARTITIONS // processes}:
            return
        await anyio.sleep(_LOOK_SECONDS)


@asynccontextmanager
async def _worker(url: str, prefix: str, level: Level, events: int, _number: int) -> AsyncIterator[Work]:
    tally = Tally(events)
    async with EventStore.open(settings=settings_of(url, prefix, PARTITIONS, level), types=[OrderPlaced]) as store:  # noqa: SIM117
        async with worker(store, trivial(tally, _GROUP)):
            yield partial(_until_committed, store, tally)


async def _until_committed(store: EventStore, tally: Tally) -> Done:
    while (await describe_group(store, _GROUP)).lag:  # noqa: ASYNC110
        await anyio.sleep(0.05)
    return Done(bytes(tally.seen), tally.began)
