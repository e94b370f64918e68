"""kill -9 of the server and of the writer in mid-append, a hundred times: nothing acknowledged is lost, nothing is
there twice, versions and positions have no gap, epochs rise.

What a killed server has written is safe in the system's page cache: this tries recovery and repeats. What a real loss
does is tried by cutting the end off the append-only file (test_cut_tail.py).
"""

import multiprocessing
import os
import random
import signal
from contextlib import suppress
from itertools import chain, count, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from eventstore import EventStore, RecordedEvent
from eventstore.verify import verify
from infrastructure.embedded import EmbeddedServer
from tests.chaos.writer import (
    PARTITIONS,
    TASKS,
    Ack,
    ids_of,
    read_notes,
    settings_of,
    size_of,
    stream_of,
    write,
)
from tests.support.embedded import holds_lock
from tests.support.servers import until

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

pytestmark = pytest.mark.anyio

KILLS = 2_000 if os.environ.get("EVENTSTORE_SOAK") else 100
ACKS_BETWEEN = (0, 1, 5, 25)  # from one kill to the next; with 0 it meets a server or a writer that is just starting

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.chaos.writer"])  # a fresh interpreter takes a second to import all of it


class Writer:
    """The writing process, started anew after each kill, and what it has noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder / "data", folder / "notes"
        self.notes.touch()
        self._process: ForkServerProcess | None = None
        self._unread = self.notes.open("rb")
        self._acks = 0

    def start(self) -> None:
        self._process = processes.Process(target=write, args=(self.folder, self.notes))
        self._process.start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None

    def kill_server(self) -> None:
        pid = int((self.folder / "lock").read_text() or 0) or self._pid_of_server()
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _pid_of_server(self) -> int:
        """Of one whose starter was killed before it could note it; 0 while none answers. Without it the server would
        live on through all kills that follow."""
        server = redis.Redis(unix_socket_path=str(EmbeddedServer(self.folder).socket), socket_timeout=0.2)
        try:
            return int(server.info("server")["process_id"])
        except redis.RedisError:
            return 0
        finally:
            server.close()

    async def acknowledges(self, more: int) -> None:
        """Until so many more appends have been acknowledged."""
        wanted = self._counted() + more
        await until(lambda: self._counted() >= wanted)

    def _counted(self) -> int:
        self._acks += self._unread.read().count(b"\n")
        return self._acks

    def end(self) -> None:
        """Kills both: nobody is left to stop the server."""
        self.kill()
        self.kill_server()
        self._unread.close()


@pytest.mark.timeout(60 + KILLS)
async def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    writer = Writer(tmp_path)
    writer.start()
    try:
        await writer.acknowledges(1)
        await _kill_often(writer, random.Random(seed))
    finally:
        writer.end()
    async with EventStore.open(settings=settings_of(writer.folder)) as store:
        assert await verify(store.log) == []
        log = [[event async for event in store.read_partition(p)] for p in range(PARTITIONS)]
    assert not holds_lock(tmp_path)
    _check(log, writer.notes)


async def _kill_often(writer: Writer, rng: random.Random) -> None:
    kills = 0
    while kills < KILLS:
        victims = rng.choice(["server", "writer", "both"])
        if victims != "writer":
            writer.kill_server()
        if victims != "server":
            writer.kill()
            writer.start()
        kills += 2 if victims == "both" else 1
        await writer.acknowledges(rng.choice(ACKS_BETWEEN))


def _check(log: list[list[RecordedEvent]], notes: Path) -> None:
    for events in log:
        assert [event.position for event in events] == list(range(1, len(events) + 1))
        assert all(a.epoch <= b.epoch and a.recorded_at <= b.recorded_at for a, b in pairwise(events))
    assert len({event.epoch for events in log for event in events}) > KILLS / 10
    written = list(chain(*log))
    acks = [note for note in read_notes(notes) if isinstance(note, Ack)]
    assert len(acks) == len(read_notes(notes)), [note for note in read_notes(notes) if not isinstance(note, Ack)]
    for task in range(TASKS):
        mine = [ack for ack in acks if ack.task == task]
        assert [ack.n for ack in mine] == list(range(len(mine)))
        _check_stream(task, len(mine), [event for event in written if event.stream == stream_of(task)])
    for ack in acks:
        _check_place(ack, log[ack.receipt.partition])


def _check_stream(task: int, acknowledged: int, events: list[RecordedEvent]) -> None:
    """All that was acknowledged, and perhaps the append that was on its way at the end; each once, in order."""
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    sizes = [sum(map(size_of, range(n))) for n in (acknowledged, acknowledged + 1)]
    assert len(events) in sizes
    every_id = chain.from_iterable(ids_of(task, n) for n in count())
    assert [event.id for event in events] == list(islice(every_id, len(events)))


def _check_place(ack: Ack, events: list[RecordedEvent]) -> None:
    receipt = ack.receipt
    last = events[receipt.position - 1]
    assert list(receipt.ids) == ids_of(ack.task, ack.n)
    assert (last.id, last.version, last.epoch) == (receipt.ids[-1], receipt.version, receipt.epoch)
    assert (last.stream, last.recorded_at, last.data["n"]) == (receipt.stream, receipt.recorded_at, ack.n)
