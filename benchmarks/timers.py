"""How late scheduled events are, what one costs in memory, and what waiting costs.

Run `make bench-timers`, or `python -m benchmarks.timers`. A worker process of its own fires them, beside a consumer
that only counts; late is an event by the time between when it was due and when it is recorded, both by the server's
clock.
"""

import argparse
import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from benchmarks.log_appends import settings_of
from benchmarks.logs import keep_off_stdout
from benchmarks.machine import Machine, describe
from benchmarks.measure import check_count
from benchmarks.own_server import BenchServer, Level, own_server
from benchmarks.payload import OrderPlaced, order
from consumers import consumer, run, schedule
from consumers.timers.calls import schedule_event
from eventstore.append import StreamAppend, encode
from eventstore.envelope import NewEvent
from eventstore.event_types import EventTypes
from eventstore.ids import new_id
from eventstore.store import EventStore
from infrastructure.server_program import find_program
from infrastructure.settings import LogSettings

RESULTS = Path(__file__).parent / "results"
PARTITIONS, STREAMS, TASKS = 16, 1_000, 64
LEVELS: tuple[Level, ...] = ("memory", "fsync")
A_YEAR = timedelta(days=365)
PATIENCE_SECONDS = 60.0
P99_WANTED_MS = 50.0


class Plan(Struct, frozen=True):
    program: str
    folder: Path
    rate: int
    seconds: float
    waiting: int
    settle_seconds: float
    idle_seconds: float


class Lateness(Struct, frozen=True):
    """Milliseconds."""

    level: Level
    rate: int
    events: int
    p50: float
    p99: float
    p999: float
    most: float


class Waiting(Struct, frozen=True):
    """What `events` that wait cost: bytes of the server for each, and commands a second with a worker that waits."""

    events: int
    bytes_each: float
    commands_per_second: float
    commands_per_second_without: float


class Report(Struct, frozen=True):
    machine: Machine
    lateness: list[Lateness]
    waiting: Waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures and writes the JSON. 0, or an exception: a wrong count, a server that does not start."""
    given = _parser().parse_args(arguments)
    if given.work:
        asyncio.run(_work(*given.work))
        return 0
    keep_off_stdout()
    for folder in (given.dir, given.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    program = given.server or find_program()
    report = asyncio.run(
        measure(Plan(program, given.dir, given.rate, given.seconds, given.waiting, given.settle, given.idle))
    )
    print(as_table(report))
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0


async def measure(plan: Plan) -> Report:
    lateness = []
    for level in LEVELS:
        async with own_server(plan.program, level, plan.folder) as server:
            machine = await describe(server, plan.folder)
            lateness.append(await late(server, plan))
    async with own_server(plan.program, "memory", plan.folder) as server:
        return Report(machine, lateness, await wait(server, plan))


async def late(server: BenchServer, plan: Plan) -> Lateness:
    """Of events that are due one after the other at a steady rate, while a worker fires them."""
    count = round(plan.rate * plan.seconds)
    prefix = server.fresh_prefix()
    async with _store(server, prefix) as store:
        with _worker(server, prefix):
            begin = datetime.now(UTC) + timedelta(seconds=3 + count / 1_000)
            due: dict[object, int] = {}

            async def some(first: int) -> None:
                for n in range(first, count, TASKS):
                    at = begin + timedelta(seconds=n / plan.rate)
                    made = await schedule(store, f"order-{n % STREAMS}", order(n), at=at)
                    due[made.id] = made.due_us

            await asyncio.gather(*(some(first) for first in range(TASKS)))
            if datetime.now(UTC) > begin:
                raise RuntimeError(f"{count:,} events could not be scheduled before the first of them was due")
            await _until(store, count)
        found = [event async for event in store.read_all()]
    check_count(f"events at {plan.rate:,}/s", len({event.id for event in found}), count)
    return _lateness(server.level, plan.rate, [(event.recorded_at - due[event.id]) / 1_000 for event in found])


def _lateness(level: Level, rate: int, late_ms: list[float]) -> Lateness:
    if min(late_ms) < 0:
        raise RuntimeError(f"an event was fired {-min(late_ms):.3f} ms before its time")
    cuts = statistics.quantiles(late_ms, n=1_000, method="inclusive")
    return Lateness(level, rate, len(late_ms), cuts[499], cuts[989], cuts[998], max(late_ms))


async def wait(server: BenchServer, plan: Plan) -> Waiting:
    """Of events that are due in a year, first without any."""
    prefix = server.fresh_prefix()
    async with _store(server, prefix) as store:
        without = await _commands(server, prefix, plan)
        empty = await _used(server)
        due_us = round((datetime.now(UTC) + A_YEAR).timestamp() * 1e6)

        async def some(first: int) -> None:
            for n in range(first, plan.waiting, TASKS):
                event = NewEvent(data=order(n), id=new_id())
                await schedule_event(store.log, f"order-{n % STREAMS}", event, due_us + n * 1_000)

        await asyncio.gather(*(some(first) for first in range(TASKS)))
        grown = await _used(server) - empty
        keys = [f"{store.log.keys.stem(p)}timers" for p in range(PARTITIONS)]
        waiting = sum([await server.admin.zcard(key) - 1 for key in keys])
        check_count("events that wait", waiting, plan.waiting)
        return Waiting(waiting, grown / waiting, await _commands(server, prefix, plan), without)


async def _commands(server: BenchServer, prefix: str, plan: Plan) -> float:
    """A second, with a worker that has settled."""
    with _worker(server, prefix):
        await asyncio.sleep(plan.settle_seconds)
        before, began = await _processed(server), time.perf_counter()
        await asyncio.sleep(plan.idle_seconds)
        return (await _processed(server) - before - 1) / (time.perf_counter() - began)  # our own question


async def _processed(server: BenchServer) -> int:
    return int((await server.admin.info("stats"))["total_commands_processed"])


async def _used(server: BenchServer) -> int:
    return int((await server.admin.info("memory"))["used_memory"])


async def _until(store: EventStore, count: int) -> None:
    """Until so many events are in the log."""
    over_at = time.monotonic() + PATIENCE_SECONDS + count / 100
    while sum([position for _, position in (await store.heads()).places]) < count:
        if time.monotonic() > over_at:
            raise RuntimeError(f"{count:,} events were not fired in time")
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _store(server: BenchServer, prefix: str) -> AsyncIterator[EventStore]:
    async with EventStore.open(
        settings=settings_of(server.url, prefix, PARTITIONS, server.level), types=[OrderPlaced]
    ) as store:
        yield store


# ---- the worker ----


@contextmanager
def _worker(server: BenchServer, prefix: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.timers", "--work", server.url, prefix, server.level]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}")
    finally:
        process.terminate()  # it leaves: the next one would wait for its leases
        process.wait(PATIENCE_SECONDS)


async def _work(url: str, prefix: str, level: Level) -> None:
    keep_off_stdout()
    count = 0

    @consumer("counts")
    async def handle(event: OrderPlaced) -> None:
        nonlocal count
        count += 1

    stop = anyio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with EventStore.open(settings=settings_of(url, prefix, PARTITIONS, level), types=[OrderPlaced]) as store:
        await run(store, [handle], stop=stop)


# ---- what is printed ----


def as_table(report: Report) -> str:
    lines = [f"{'late by, ms':<28}{'p50':>8}{'p99':>8}{'p99.9':>8}{'most':>8}"]
    for each in report.lateness:
        figures = "".join(f"{ms:8.2f}" for ms in (each.p50, each.p99, each.p999, each.most))
        lines.append(f"{f'{each.rate:,}/s, {each.level}':<28}{figures}")
    worst = max(each.p99 for each in report.lateness)
    lines.append(f"wanted: p99 under {P99_WANTED_MS:g} ms: {'reached' if worst < P99_WANTED_MS else 'MISSED'}")
    it = report.waiting
    lines.append(f"{it.events:,} that wait: {it.bytes_each:,.0f} bytes each, of a packed event of {_packed_bytes()}")
    with_them = f"{it.commands_per_second:.1f} with them, {it.commands_per_second_without:.1f} without"
    lines.append(f"commands a second of a worker that waits: {with_them}")
    return "\n".join(lines)


def _packed_bytes() -> int:
    """Of what is measured with, data and envelope."""
    appends = [StreamAppend("order-500", [order(500)])]
    return encode(appends, {}, (), None, EventTypes([OrderPlaced]), LogSettings(), PARTITIONS).size


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timers", description=__doc__)
    parser.add_argument("--rate", type=int, default=1_000, metavar="N", help="events that are due in a second (1000)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N", help="for how long (20)")
    parser.add_argument("--waiting", type=int, default=100_000, metavar="N", help="events that wait (100000)")
    parser.add_argument("--idle", type=float, default=20.0, metavar="N", help="seconds of waiting that count (20)")
    parser.add_argument("--settle", type=float, default=5.0, metavar="N", help="seconds for a worker to begin (5)")
    parser.add_argument("--json", type=Path, default=RESULTS / "timers.json", metavar="FILE", help="where figures go")
    parser.add_argument("--server", metavar="PATH", help="a redis-server or valkey-server, instead of the embedded one")
    parser.add_argument("--dir", type=Path, default=RESULTS, metavar="FOLDER", help="where servers have their folders")
    parser.add_argument("--work", nargs=3, metavar=("URL", "PREFIX", "LEVEL"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
