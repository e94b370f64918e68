"""The application's consumers, without a server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumers import Resource, given
from examples.docs_consistency.checkout import Checkout
from examples.docs_consistency.checks import Outlines, outline_of
from examples.docs_consistency.consumers import documents, outlines
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import ContentGone, ReadModelDamaged
from examples.docs_consistency.events import DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.source import FileState, Tree

TEXT = b"# A\n\n[b](b.md)\n"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STREAM = "document-a.md"


class Contents:
    """What a folder has, and how often each was read."""

    def __init__(self, **blobs: bytes) -> None:
        self.blobs, self.reads = blobs, list[str]()

    async def read(self, path: str, blob: str) -> bytes:
        self.reads.append(blob)
        if blob not in self.blobs:
            raise ContentGone(path)
        return self.blobs[blob]


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Documents]:
    with Documents.open(tmp_path / "documents.sqlite") as opened:
        yield opened


def added(blob: str, path: str = "a.md", commit: str | None = None, at: datetime | None = None) -> DocumentAdded:
    return DocumentAdded(path, blob, "100644", commit, at)


def parse(rows: Documents, checkout: Checkout, *events: DocumentAdded | DocumentChanged) -> None:
    resources = [Resource(Checkout, checkout), Resource(Outlines, Outlines(rows))]
    given(*events, stream=STREAM).handle(outlines, resources=resources).then_nothing()


def test_rows_follow_their_streams(tmp_path: Path) -> None:
    file = tmp_path / "documents.sqlite"

    @asynccontextmanager
    async def opened() -> AsyncIterator[Documents]:
        with Documents.open(file) as rows:
            yield rows

    events = (added("b1"), DocumentChanged("a.md", "b2", "100755"))
    given(*events, stream=STREAM).handle(documents, resources=[Resource(Documents, opened)]).then_nothing()
    with Documents.open(file) as rows:
        assert rows.files() == {"a.md": FileState("b2", "100755")}
    given(*events, DocumentRemoved("a.md"), stream=STREAM).handle(
        documents, resources=[Resource(Documents, opened)]
    ).then_raises(ReadModelDamaged, match="does not follow")  # another log: its events have other ids


def test_a_content_is_read_and_parsed_once(rows: Documents) -> None:
    contents = Contents(b1=TEXT)
    parse(rows, Checkout(contents, None), added("b1"), added("b1", "copy.md"))
    assert Outlines(rows).kept("b1") == outline_of(TEXT)
    assert contents.reads == ["b1"]


def test_what_is_no_markdown_is_not_read(rows: Documents) -> None:
    contents = Contents(b1=TEXT)
    parse(rows, Checkout(contents, None), added("b1", "a.txt"), DocumentChanged("a.md", "b1", "120000"))
    assert contents.reads == []


def test_a_content_that_a_folder_no_longer_has_is_passed_over(rows: Documents) -> None:
    parse(rows, Checkout(Contents(b2=TEXT), None), added("b1"), added("b2"))
    assert (Outlines(rows).kept("b1"), Outlines(rows).kept("b2")) == (None, outline_of(TEXT))


def test_contents_of_older_commits_are_not_read_and_the_tree_is_looked_at_once(rows: Documents) -> None:
    contents, looks = Contents(b1=TEXT, b2=TEXT), list[str]()

    async def look() -> Tree:
        looks.append("")
        return Tree("c2", "c2", NOON, {"a.md": FileState("b2", "100644")})

    before = NOON - timedelta(hours=1)
    parse(rows, Checkout(contents, look), added("b1", commit="c1", at=before), added("b2", commit="c2", at=NOON))
    assert (contents.reads, len(looks)) == (["b2"], 1)


def test_an_event_of_a_later_commit_has_the_tree_looked_at_again(rows: Documents) -> None:
    contents = Contents(b1=TEXT, b2=TEXT)
    trees = [Tree(c, c, NOON, {"a.md": FileState(b, "100644")}) for c, b in (("c2", "b2"), ("c1", "b1"))]

    async def look() -> Tree:
        return trees.pop()

    parse(rows, Checkout(contents, look), added("b1", commit="c1", at=NOON), added("b2", commit="c2", at=NOON))
    assert contents.reads == ["b1", "b2"]
