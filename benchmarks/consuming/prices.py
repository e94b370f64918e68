"""What one worker costs the server per event, of a backlog: processor time, and bytes of its append-only file."""

from collections.abc import Sequence

from benchmarks.consuming.groups import PARTITIONS, backlog, handled, trivial
from benchmarks.consuming.tally import Tally
from benchmarks.findings import Finding
from benchmarks.own_server import BenchServer
from consumers.keys import group_keys
from eventstore.store import EventStore

CPU = "processor time of the server per event consumed"
AOF = "append-only file per event consumed"
BATCH = 256


async def processor(server: BenchServer, events: int, rounds: int) -> Finding:
    """In memory: all that the server does for the worker, reading included."""
    found = [await _one(server, events) for _ in range(rounds)]
    a_commit = events / found[-1][2]
    return Finding(CPU, "us", [1e6 * cpu / events for cpu, _, _ in found], 2.0, True, f"{a_commit:.0f} events a commit")


async def file(server: BenchServer, events: int, rounds: int) -> Finding:
    """Bytes of a commit, all else of the worker included, by as many events as are wanted in one."""
    found = [await _one(server, events) for _ in range(rounds)]
    size, commits = found[-1][1], found[-1][2]
    note = f"{size / events:.1f} with the {events / commits:.0f} events that a commit had"
    title = f"{AOF}, {BATCH} a commit"
    return Finding(title, "bytes", [size / commits / BATCH for _, size, commits in found], 5.0, True, note)


async def _one(server: BenchServer, events: int) -> tuple[float, int, int]:
    """Processor time in seconds, bytes of the file, commits."""
    tally = Tally(events)
    async with backlog(server, events) as store:
        cpu, size = await server.cpu_seconds(), await _size(server)
        consumer = trivial(tally)
        await handled(server, store, consumer, tally)
        cpu, size = await server.cpu_seconds() - cpu, await _size(server) - size
        commits = sum(await _commits(server, store, consumer.name))
    tally.check(CPU)
    return cpu, size, commits


async def _size(server: BenchServer) -> int:
    return int((await server.admin.info("persistence")).get("aof_current_size", 0))


async def _commits(server: BenchServer, store: EventStore, group: str) -> Sequence[int]:
    keys = [group_keys(store.log.keys, group, partition).control for partition in range(PARTITIONS)]
    return [int(await server.admin.hget(key, "number")) for key in keys]
