"""Where a run was made: without it, its figures mean nothing."""

import asyncio
import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

from benchmarks.contender import Absent
from benchmarks.own_server import BenchServer
from benchmarks.postgres_programs import programs

_SYNCS = 30
_PEERS = ("umadb", "eventsourcing", "faststream", "pydocket", "streaq", "dbos", "psycopg", "uvloop")


class Machine(Struct, frozen=True):
    cores: int
    system: str
    python: str
    event_loop: str
    server: str
    redis_py: str
    hiredis: str
    load_average: float
    sync_us: float
    """Median time of writing and syncing 4 KiB where the server keeps its data. Nearly nothing: no real disk."""


async def describe(server: BenchServer, folder: Path) -> Machine:
    loop = type(asyncio.get_running_loop())
    return Machine(
        cores=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        event_loop=f"{loop.__module__.partition('.')[0]} {loop.__name__}",
        server=await server.version(),
        redis_py=version("redis"),
        hiredis=version("hiredis"),
        load_average=os.getloadavg()[0],
        sync_us=_sync_us(folder),
    )


def versions() -> dict[str, str]:
    """Of the peers' packages that are installed, of SQLite, and of PostgreSQL where there is one."""
    found = {"SQLite": sqlite3.sqlite_version}
    for package in _PEERS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    with suppress(Absent):
        said = subprocess.run([programs() / "postgres", "--version"], capture_output=True, text=True, check=True)
        found["PostgreSQL"] = said.stdout.split()[2]
    return found


def _sync_us(folder: Path) -> float:
    def one(descriptor: int) -> float:
        began = time.perf_counter()
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
        return (time.perf_counter() - began) * 1e6

    with tempfile.TemporaryFile(dir=folder) as file:
        return statistics.median(one(file.fileno()) for _ in range(_SYNCS))
