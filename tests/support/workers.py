"""Worker processes under a test's hand, and what must be true of what they have noted."""

import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from eventstore import EventStore
from infrastructure.settings import LogSettings
from tests.support.consumer_worker import COUNTS, GROUP, Note, Work, read_notes
from tests.support.running import counted
from tests.support.servers import until

LEASE_SECONDS = 1.0


class Workers:
    """`environment` leads them to their log, `notes` is the file that they all write into; `program` is what they run,
    given that file and the seconds of their leases."""

    def __init__(self, environment: dict[str, str], notes: Path, lease_seconds: float, program: str) -> None:
        self.notes = notes
        self._environment, self._lease_seconds, self._program = environment, lease_seconds, program
        self._all: list[subprocess.Popen[bytes]] = []
        notes.touch()

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", self._program, str(self.notes), str(self._lease_seconds)]
        with (self.notes.parent / f"worker-{len(self._all)}.log").open("wb") as log:
            process = subprocess.Popen(command, env=os.environ | self._environment, stderr=log, stdout=log)
        self._all.append(process)
        return process

    def read(self) -> list[Note]:
        return read_notes(self.notes)

    async def until_began(self, pid: int, number: int = 1, after: float = 0.0) -> Note:
        """The note of a process's n-th handling after a time."""
        found: list[Note] = []

        def has_begun() -> bool:
            found[:] = [each for each in self.read() if each.pid == pid and each.what == "began" and each.at > after]
            return len(found) >= number

        await until(has_begun)
        return found[number - 1]

    def end_all(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@asynccontextmanager
async def workers(
    store: EventStore,
    folder: Path,
    *,
    lease_seconds: float = LEASE_SECONDS,
    program: str = "tests.support.consumer_worker",
) -> AsyncIterator[Workers]:
    """Processes for the log of a store, which are killed when the block ends."""
    some = Workers(_environment(store), folder / "notes", lease_seconds, program)
    try:
        yield some
    finally:
        await anyio.to_thread.run_sync(some.end_all)


def _environment(store: EventStore) -> dict[str, str]:
    """What leads another process to the log."""
    where, limits = store.log.redis.settings, store.log.settings
    return {
        "REDIS_URL": where.url.reveal() if where.url else "",
        "REDIS_HOST": where.host or "",
        "REDIS_PORT": str(where.port),
        "REDIS_CLUSTER": str(where.cluster).lower(),
        "REDIS_NODES": ",".join(where.nodes),
        "REDIS_SENTINELS": ",".join(where.sentinels),
        "REDIS_SOCKET_TIMEOUT": f"{where.socket_timeout_seconds}s",
        "EVENTSTORE_PREFIX": limits.prefix,
        "EVENTSTORE_PARTITIONS": str(store.log.partitions),
        "EVENTSTORE_DURABILITY": limits.durability or LogSettings().durability or "memory",
    }


async def append_on(store: EventStore, streams: int, stop: anyio.Event, work: Sequence[Work] = (Work(),)) -> None:
    """Appends to streams in turn, without pause, until it is told to stop."""
    n = 0
    while not stop.is_set():
        await store.append(f"order-{n % streams}", list(work))
        n += 1
        await anyio.sleep(0.002)


async def all_handled(store: EventStore) -> bool:
    return await counts(store) == await versions(store)


async def counts(store: EventStore) -> dict[str, int]:
    """How often the effect of each stream's events was written: exactly once for each, or something is wrong."""
    return await counted(store, GROUP, COUNTS)


async def versions(store: EventStore) -> dict[str, int]:
    found: dict[str, int] = {}
    async for event in store.read_all():
        found[event.stream] = event.version
    return found


def assert_in_order(notes: Sequence[Note]) -> None:
    """Within a lease the events of a stream begin one after the other and in order; a new one may begin at an earlier
    version, and never skips one."""
    highest: dict[str, int] = defaultdict(int)
    last: dict[tuple[str, int], int] = {}
    for note in notes:
        if note.what == "began":
            assert note.version <= highest[note.stream] + 1, f"{note} skips, {highest[note.stream]} was the last"
            highest[note.stream] = max(highest[note.stream], note.version)
            lease = note.stream, note.term
            assert note.version >= last.get(lease, 0), f"{note} goes back within its lease"
            last[lease] = note.version
