"""Where the log and the read model of a checkout live, and that one log holds one checkout."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from examples.docs_consistency.documents import Document, Documents
from examples.docs_consistency.errors import OtherSource
from examples.docs_consistency.source import FileState, Source
from infrastructure.settings import load_settings

FILE = "documents.sqlite"
_COMMITS_TRIED = 20


def home_of(root: Path, data_dir: Path, *, chosen: bool) -> Path:
    """The data directory for a checkout. The first one gets `data_dir` itself, each further one a folder of its own
    in it, for a stream is named by its path alone. If the user chose the directory, it is taken as it is."""
    if chosen or not (data_dir / FILE).exists():
        return data_dir
    with Documents.open(data_dir / FILE) as documents:
        owner = documents.fact("source")
    if owner in {None, str(root)}:
        return data_dir
    return data_dir / "checkouts" / f"{root.name}-{sha256(str(root).encode(errors='surrogateescape')).hexdigest()[:8]}"


@asynccontextmanager
async def opened_documents() -> AsyncIterator[Documents]:
    """The read model beside the log of the settings."""
    with Documents.open(load_settings().eventstore.data_dir / FILE) as documents:
        yield documents


async def claim(documents: Documents, source: Source, rows: Mapping[str, Document], *, adopt: bool) -> None:
    """Makes sure that the log's documents are this checkout's (the same place, a history in common, or most files
    equal), and notes it. Raises OtherSource."""
    here = str(source.root)
    if rows and documents.fact("source") != here and not adopt:
        newest = sorted(rows.values(), key=lambda row: row.order, reverse=True)
        commits = list(dict.fromkeys(row.commit for row in newest if row.commit))[:_COMMITS_TRIED]
        if not await source.knows(commits) and not _mostly_same(rows, (await source.tree()).files):
            raise OtherSource(
                f"the log holds the documents of {documents.fact('source') or 'another place'}, not of {here}",
                field="--data-dir",
                remedy="give this checkout a log of its own with --data-dir, or replace those documents with --adopt",
            )
    documents.remember("source", here)


def _mostly_same(rows: Mapping[str, Document], files: Mapping[str, FileState]) -> bool:
    present = [row for row in rows.values() if row.state is not None]
    return 2 * sum(1 for row in present if files.get(row.path) == row.state) > len(present)
