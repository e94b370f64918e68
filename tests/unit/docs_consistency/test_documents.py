import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from eventstore import Metadata, RecordedEvent
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import ReadModelDamaged, ReadModelUnusable
from examples.docs_consistency.events import DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.source import FileState


def recorded(data: object, version: int, position: int, path: str = "a.md") -> RecordedEvent:
    return RecordedEvent(
        id=UUID(int=position),
        stream=f"document-{path}",
        version=version,
        partition=0,
        epoch=1,
        position=position,
        recorded_at=1_000 + position,
        type=type(data).__name__,
        schema_version=1,
        data=data,
        metadata=Metadata(),
    )


ADDED = recorded(DocumentAdded("a.md", "b1", "100644", "c1"), 1, 1)
CHANGED = recorded(DocumentChanged("a.md", "b2", "100644", "c2"), 2, 2)
REMOVED = recorded(DocumentRemoved("a.md", "c3"), 3, 3)
AGAIN = recorded(DocumentAdded("a.md", "b1", "100755", "c4"), 4, 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sub" / "documents.sqlite"


@pytest.fixture
def documents(file: Path) -> Iterator[Documents]:
    with Documents.open(file) as opened:
        yield opened


def test_rows_are_the_fold_of_the_events(documents: Documents) -> None:
    documents.apply([ADDED])
    assert documents.files() == {"a.md": FileState("b1", "100644")}
    documents.apply([CHANGED])
    assert documents.files() == {"a.md": FileState("b2", "100644")}
    documents.apply([REMOVED])
    assert documents.files() == {}
    documents.apply([AGAIN])
    assert documents.files() == {"a.md": FileState("b1", "100755")}


def test_a_removed_file_keeps_its_version(documents: Documents) -> None:
    documents.apply([ADDED, CHANGED, REMOVED])
    row = documents.rows()["a.md"]
    assert (row.version, row.state, row.commit) == (3, None, "c3")
    assert (row.receipt.stream, row.receipt.ids, row.receipt.position) == ("document-a.md", (REMOVED.id,), 3)


def test_rows_survive(file: Path) -> None:
    with Documents.open(file) as first:
        first.apply([ADDED, CHANGED])
    with Documents.open(file) as second:
        assert second.rows()["a.md"].version == 2


def test_a_batch_that_fails_changes_no_rows(documents: Documents) -> None:
    documents.apply([ADDED])
    with pytest.raises(ReadModelDamaged):
        documents.apply([CHANGED, AGAIN])
    assert documents.rows()["a.md"].version == 1
    assert documents.failure is None


def test_what_the_file_failed_by_is_remembered_until_it_works_again(documents: Documents, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    documents.database.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReadModelUnusable, match="locked"):
        documents.apply([ADDED])
    assert documents.failure is not None
    other.execute("ROLLBACK")
    other.close()
    documents.apply([ADDED])
    assert documents.failure is None


def test_events_that_come_again_change_nothing(documents: Documents) -> None:
    documents.apply([ADDED, CHANGED, REMOVED])
    before = documents.rows()
    documents.apply([ADDED, CHANGED, REMOVED])
    assert documents.rows() == before


def test_another_event_in_the_place_of_a_known_one_is_noticed(documents: Documents) -> None:
    documents.apply([ADDED])
    with pytest.raises(ReadModelDamaged, match="does not follow"):
        documents.apply([recorded(DocumentAdded("a.md", "b9", "100644", "c9"), 1, 9)])


def test_an_event_of_another_application_is_refused(documents: Documents) -> None:
    with pytest.raises(ReadModelDamaged, match="no event of this application"):
        documents.apply([recorded({"any": "dict"}, 1, 1)])


def test_forgetting_keeps_what_is_no_fold_of_the_log(documents: Documents) -> None:
    documents.apply([ADDED])
    documents.remember("source", "/here")
    documents.remember("cursor", "at 1")
    documents.forget()
    assert (documents.rows(), documents.fact("cursor"), documents.fact("source")) == ({}, None, "/here")


def test_a_read_model_of_another_layout_is_made_anew(file: Path) -> None:
    with Documents.open(file) as first:
        first.apply([ADDED])
        first.remember("cursor", "at 1")
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with Documents.open(file) as second:
        assert (second.rows(), second.fact("cursor")) == ({}, None)


def test_a_file_that_is_no_database_is_named(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"something else entirely, long enough to be looked at " * 20)
    with pytest.raises(ReadModelDamaged, match=str(file)), Documents.open(file):
        pytest.fail("opened")
