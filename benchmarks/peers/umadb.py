"""UmaDB: an event store with tags and append conditions, a server in Rust, its file synced at every commit.

It has no mode without syncing. A commit takes in the appends that wait. Each event carries the name of its stream as a
tag, or one could not read a stream. `append condition`: nobody else has added to the tag since, as our exact version.
"""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import umadb

from benchmarks.contender import Absent, Append, Contender, Ready
from benchmarks.load import Load
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from benchmarks.ports import HOST, free_port
from benchmarks.process_meter import ProcessMeter

NAME = "UmaDB"
_READY_SECONDS = 20.0
_PROGRAM = "from umadb.umadb_server_cli import main; main()"


@asynccontextmanager
async def contenders(server: BenchServer, folder: Path) -> AsyncIterator[list[Contender]]:
    if server.level != "fsync":
        raise Absent("has no mode without syncing: it stands under fsync")
    yield [
        Contender(NAME, partial(_empty, folder, False), threads=True, reads=True),
        Contender(f"{NAME}, append condition", partial(_empty, folder, True), threads=True),
    ]


@asynccontextmanager
async def _empty(folder: Path, conditional: bool) -> AsyncIterator[Ready]:
    address = f"{HOST}:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="umadb-", dir=folder) as data:
        command = [sys.executable, "-c", _PROGRAM, "--listen", address, "--db-path", data]
        with _process(command) as process:
            url = f"http://{address}"
            await _until_ready(url)
            meter = ProcessMeter(process.pid)
            opener = partial(_open, url, conditional)
            yield Ready(opener, meter, partial(_count, url), meter.pids, partial(_read, url))


@contextmanager
def _process(command: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _until_ready(url: str) -> None:
    with anyio.fail_after(_READY_SECONDS):
        while True:
            try:
                await _count(url)
            except umadb.TransportError:
                await anyio.sleep(0.02)
            else:
                return


@asynccontextmanager
async def _open(url: str, conditional: bool, _load: Load) -> AsyncIterator[Append]:
    # One client for all threads: a client each was a third slower.
    with _client(url) as client:
        yield _Conditional(client) if conditional else partial(_append, client)


@contextmanager
def _client(url: str) -> Iterator[umadb.Client]:
    with umadb.Client(url) as client:
        yield client


def _append(client: umadb.Client, stream: str, version: int, events: int) -> None:
    client.append(_events(stream, version, events))


class _Conditional:
    """Each stream is one thread's, which knows the position of its last event."""

    def __init__(self, client: umadb.Client) -> None:
        self._client = client
        self._last: dict[str, int] = {}

    def __call__(self, stream: str, version: int, events: int) -> None:
        query = umadb.Query([umadb.QueryItem(tags=[stream])])
        condition = umadb.AppendCondition(query, self._last.get(stream))
        self._last[stream] = self._client.append(_events(stream, version, events), condition)


def _events(stream: str, version: int, events: int) -> list[umadb.Event]:
    numbers = range(version, version + events)
    return [umadb.Event("OrderPlaced", to_json(order(number)), tags=[stream]) for number in numbers]


async def _count(url: str) -> int:
    """Its positions count from 1, without gaps."""
    with _client(url) as client:
        return await anyio.to_thread.run_sync(client.head) or 0


async def _read(url: str) -> int:
    with _client(url) as client:
        return sum(isinstance(from_json(each.event.data), OrderPlaced) for each in client.read())
