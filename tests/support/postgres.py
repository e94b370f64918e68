"""A PostgreSQL server of the tests' own, on loopback only, gone with its data when the block ends."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from benchmarks.contender import Absent
from benchmarks.postgres_programs import programs
from tests.support.servers import free_port

_USER = "tests"
_OWNER = "postgres"  # of the processes, where the tests run as root: PostgreSQL refuses that
_READY_SECONDS = 30.0


class Postgres:
    """It may be stopped and started again, with what it has on disk."""

    def __init__(self, programs: Path, data: Path, owner: str | None) -> None:
        self.port = free_port()
        self._programs, self._data, self._owner = programs, data, owner
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *words],
                user=self._owner,
                group=self._owner,
                stdout=log,
                stderr=log,
                cwd=self._data,
            )
        end = monotonic() + _READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self._data / "server.log").read_text()
            assert monotonic() < end, "PostgreSQL does not answer"
            sleep(0.02)

    def stop(self) -> None:
        """At once: sessions are broken off, what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_READY_SECONDS)
            self._process = None

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"t_{uuid4().hex[:8]}"
        self.execute(f"CREATE DATABASE {name}")
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str) -> list[Any]:
        with self._connect() as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(host="127.0.0.1", port=self.port, user=_USER, dbname="postgres", autocommit=True)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server that answers. Skips the test where PostgreSQL is not installed."""
    try:
        place = programs()
    except Absent as error:
        pytest.skip(str(error))
    owner = _owner()
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if owner:
            shutil.chown(folder, owner, owner)
        setup = [str(place / "initdb"), "-D", folder, "--username", _USER, "--auth", "trust", "--no-sync"]
        subprocess.run(setup, user=owner, group=owner, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        server = Postgres(place, Path(folder), owner)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _owner() -> str | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_OWNER).pw_name
    except KeyError:
        pytest.skip(f"PostgreSQL refuses to run as root, and there is no user {_OWNER!r}")
