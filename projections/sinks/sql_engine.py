"""Connections to the database of read models."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

STATEMENT_SECONDS = 30
_SILENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_SECONDS * 1_000,
}
"""How long a server is waited for that says nothing: without, a thread waits for hours, and its worker with it."""


def engine_of(url: str) -> sa.Engine:
    """With transactions that are ours to begin: SQLite's driver would begin one of its own too late."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            with suppress(OSError):  # connecting tells it better, and may be tried again
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(parsed, connect_args={"timeout": STATEMENT_SECONDS, "check_same_thread": False})
        sa.event.listen(engine, "connect", _sqlite_connected)
        sa.event.listen(engine, "begin", _sqlite_begun)
        return engine
    options = f"-c statement_timeout={STATEMENT_SECONDS * 1_000} -c lock_timeout={STATEMENT_SECONDS * 1_000}"
    return sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args={"options": options, **_SILENCE}
    )


def _sqlite_connected(connection: Any, record: object) -> None:
    connection.isolation_level = None  # no BEGIN of the driver's own
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _sqlite_begun(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
