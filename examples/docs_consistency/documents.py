"""The read model: which files the checkout has, one row a path in SQLite.

How far the rows go is the offset of the group that writes them (consumers.py). It follows the rows, so a crash may
bring events again: they are passed over by their version. One that does not follow its row says that the rows are not
the fold of this log. A row stays when its file is removed (`blob` is NULL then): the next event needs its version.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from eventstore import Receipt, RecordedEvent
from examples.docs_consistency.errors import ReadModelDamaged, ReadModelUnusable
from examples.docs_consistency.events import DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.paths import stream_of
from examples.docs_consistency.source import FileState

_LAYOUT = 1
_TABLES = """
CREATE TABLE documents (
  path TEXT PRIMARY KEY, version INTEGER NOT NULL, blob TEXT, mode TEXT, commit_id TEXT, event_id TEXT NOT NULL,
  partition INTEGER NOT NULL, epoch INTEGER NOT NULL, position INTEGER NOT NULL, recorded_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = "path, version, blob, mode, commit_id, event_id, partition, epoch, position, recorded_at"
_WRITE = f"INSERT OR REPLACE INTO documents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


class Document(Struct, frozen=True):
    """A row: a path and the last event of its stream. `state` is None once the file is removed."""

    path: str
    version: int
    state: FileState | None
    commit: str | None
    event_id: UUID
    partition: int
    epoch: int
    position: int
    recorded_at: int

    @property
    def receipt(self) -> Receipt:
        """The last event, as a cause of what follows."""
        place = (self.partition, self.epoch, self.position, self.recorded_at)
        return Receipt(stream_of(self.path), self.version, *place, (self.event_id,))

    @property
    def order(self) -> tuple[int, int, int]:
        """Rows in the total order of their last events."""
        return self.recorded_at, self.partition, self.position


class Documents:
    """The read model in one SQLite file."""

    def __init__(self, database: sqlite3.Connection, file: Path) -> None:
        self.database = database
        self.failure: ReadModelUnusable | None = None
        """What the last transaction has failed by."""
        self._file = file
        (layout,) = database.execute("PRAGMA user_version").fetchone()
        if layout != _LAYOUT:
            self._build()

    @classmethod
    @contextmanager
    def open(cls, file: Path) -> Iterator["Documents"]:
        """Opens or makes the file. Raises ReadModelUnusable, ReadModelDamaged if it is no database."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(file, isolation_level=None, timeout=30)
        except (OSError, sqlite3.OperationalError) as error:
            raise _unusable(file, error) from error
        try:
            database.execute("PRAGMA journal_mode = WAL")
            # Should the machine go down, the last transactions may be lost, from some point on: catch_up.py knows.
            database.execute("PRAGMA synchronous = NORMAL")
            yield cls(database, file)
        except sqlite3.OperationalError as error:
            raise _unusable(file, error) from error
        except sqlite3.DatabaseError as error:
            raise ReadModelDamaged(f"{file}: {error}", remedy="delete that file: it is made again") from error
        finally:
            database.close()

    def rows(self) -> dict[str, Document]:
        """All rows by path, removed files too."""
        found = self.database.execute(f"SELECT {_COLUMNS} FROM documents")  # noqa: S608
        return {row[0]: _document(row) for row in found}

    def files(self) -> dict[str, FileState]:
        """The files that are there."""
        found = self.database.execute("SELECT path, blob, mode FROM documents WHERE blob IS NOT NULL ORDER BY path")
        return {path: FileState(blob, mode) for path, blob, mode in found}

    def fact(self, name: str) -> str | None:
        """`source`: where the documents come from; `cursor`: up to where the rows were whole when a run ended."""
        row = self.database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def remember(self, name: str, value: str) -> None:
        self.database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def apply(self, events: Iterable[RecordedEvent]) -> None:
        """Folds events into the rows, all or none. Raises ReadModelDamaged, ReadModelUnusable."""
        try:
            with self._transaction():
                for event in events:
                    self._apply(event)
        except sqlite3.OperationalError as error:
            self.failure = _unusable(self._file, error)
            raise self.failure from error
        self.failure = None

    def forget(self) -> None:
        """Back to before the first event."""
        with self._transaction():
            self.database.execute("DELETE FROM documents")
            self.database.execute("DELETE FROM facts WHERE name = 'cursor'")

    def _apply(self, event: RecordedEvent) -> None:
        data = event.data
        if not isinstance(data, DocumentAdded | DocumentChanged | DocumentRemoved):
            raise ReadModelDamaged(
                f"{event.stream} version {event.version} is a {event.type}, which is no event of this application",
                remedy="give the application a log of its own: --data-dir",
            )
        row = self.database.execute(
            "SELECT version, event_id FROM documents WHERE path = ?", (data.path,)
        ).fetchone() or (0, "")
        if event.version == row[0] + 1:
            self.database.execute(_WRITE, _row(event, data))
        elif event.version > row[0] or (event.version == row[0] and str(event.id) != row[1]):
            raise ReadModelDamaged(
                f"{event.stream}: version {event.version} does not follow the row, which is at version {row[0]}",
                remedy="delete the read model: it is made again from the log",
            )

    def _build(self) -> None:
        with self._transaction():
            self.database.execute("DROP TABLE IF EXISTS documents")
            self.database.execute("DROP TABLE IF EXISTS facts")
            for statement in filter(str.strip, _TABLES.split(";")):
                self.database.execute(statement)
            self.database.execute(f"PRAGMA user_version = {_LAYOUT}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")


def _unusable(file: Path, error: Exception) -> ReadModelUnusable:
    return ReadModelUnusable(f"{file}: {error}", field="--data-dir", remedy="look at its folder, its rights, its disk")


def _row(event: RecordedEvent, data: DocumentAdded | DocumentChanged | DocumentRemoved) -> tuple[object, ...]:
    state = (None, None) if isinstance(data, DocumentRemoved) else (data.blob, data.mode)
    place = (event.partition, event.epoch, event.position, event.recorded_at)
    return (data.path, event.version, *state, data.commit, str(event.id), *place)


def _document(row: tuple[str, int, str | None, str | None, str | None, str, int, int, int, int]) -> Document:
    path, version, blob, mode, commit, event_id, *place = row
    state = None if blob is None or mode is None else FileState(blob, mode)
    return Document(path, version, state, commit, UUID(event_id), *place)
