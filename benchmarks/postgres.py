"""A PostgreSQL cluster of the benchmark's own: its data in a folder that goes with it, on loopback only."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import psycopg

from benchmarks.contender import Absent
from benchmarks.ports import HOST, free_port
from benchmarks.postgres_programs import programs
from benchmarks.process_meter import ProcessMeter

_READY_SECONDS = 30.0
_OWNER = "postgres"  # of the processes, where the benchmark runs as root: PostgreSQL refuses that


class Cluster:
    HOST = HOST
    USER = "bench"
    DATABASE = "bench"
    password = "none-is-asked-for"

    def __init__(self, pid: int, port: int) -> None:
        self.port = port
        self.meter = ProcessMeter(pid)

    def recreate_database(self) -> None:
        with self._connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {self.DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {self.DATABASE}")
            connection.execute("CHECKPOINT")  # none of the last contender's falls into the next one's time

    def version(self) -> str:
        with self._connect() as connection:
            return str(connection.execute("SHOW server_version").fetchall()[0][0])

    def answers(self) -> bool:
        try:
            self.version()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(host=HOST, port=self.port, user=self.USER, dbname="postgres", autocommit=True)


@asynccontextmanager
async def cluster(folder: Path, *, synchronous_commit: bool) -> AsyncIterator[Cluster]:
    """With the defaults of `initdb`, among them fsync=on. Raises Absent where there is none."""
    place, owner, port = programs(), _owner(), free_port()
    with tempfile.TemporaryDirectory(prefix="postgres-", dir=_enterable(folder) if owner else folder) as data:
        if owner:
            shutil.chown(data, owner, owner)
        _initdb(place, data, owner)
        commit = "on" if synchronous_commit else "off"
        options = {"listen_addresses": HOST, "port": port, "unix_socket_directories": "", "synchronous_commit": commit}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with _process([str(place / "postgres"), "-D", data, *words], data, owner) as process:
            found = Cluster(process.pid, port)
            await _until_ready(found, process)
            yield found


def _owner() -> str | None:
    """Nobody in particular, unless we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_OWNER).pw_name
    except KeyError:
        raise Absent(f"PostgreSQL refuses to run as root, and there is no user {_OWNER!r}") from None


def _enterable(folder: Path) -> Path:
    """The folder, or one on the same disk, if it is in one that only root may enter. Raises Absent."""
    for place in (folder.resolve(), Path("/var/tmp")):
        if place.stat().st_dev == folder.stat().st_dev and all(up.stat().st_mode & 1 for up in (place, *place.parents)):
            return place
    raise Absent(f"the user {_OWNER!r} may not enter {folder}: give another folder, --dir")


def _initdb(place: Path, data: str, owner: str | None) -> None:
    options = ["--username", Cluster.USER, "--auth", "trust", "--no-instructions"]
    setup = [str(place / "initdb"), "-D", data, *options]
    subprocess.run(setup, user=owner, group=owner, check=True, stdout=subprocess.DEVNULL, cwd=data)


@contextmanager
def _process(command: list[str], data: str, owner: str | None) -> "Iterator[subprocess.Popen[bytes]]":
    with Path(data, "server.log").open("wb") as log:
        process = subprocess.Popen(command, user=owner, group=owner, stdout=log, stderr=log, cwd=data)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # it ends its sessions and stops
        try:
            process.wait(_READY_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _until_ready(found: Cluster, process: "subprocess.Popen[bytes]") -> None:
    with anyio.fail_after(_READY_SECONDS):
        while not found.answers():
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended with {process.returncode} as it started")
            await anyio.sleep(0.05)
