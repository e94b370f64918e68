"""What the steps of the saga work with, in one process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from eventstore import EventStore
from examples.docs_consistency.analyses import Analyses
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.documents import Document, Documents
from examples.docs_consistency.errors import BadInput, SourceError
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.folder_source import PREFIX
from examples.docs_consistency.home import opened_documents
from examples.docs_consistency.ingest import Ingested, ingest
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.source import Source
from examples.docs_consistency.stop import Stop
from infrastructure.settings import load_settings


class Pipeline:
    """`home` is the folder of log and read model; pages go to `reports` in it."""

    def __init__(self, store: EventStore, rows: Documents, home: Path, stop: Stop) -> None:
        self.store, self.rows, self.stop = store, rows, stop
        self.analyses = Analyses(rows)
        self.rested = anyio.Event()
        """Set when a step has come to a safe point after the user asked to stop."""
        self._home = home
        self._ahead: dict[str, Document] | None = None
        """The rows that there will be, if `take_in` knows; the next call begins with them."""
        self._sources: dict[tuple[str, str], Source] = {}

    def use(self, revision: str, source: Source) -> None:
        """Spares the steps to open a source that is open."""
        self._sources[str(source.root), revision] = source

    async def source(self, root: str, revision: str) -> Source:
        """Raises BadInput, SourceError."""
        known = self._sources.get((root, revision))
        if known is None:
            is_folder = revision.startswith(PREFIX)
            home = Path(await anyio.Path(self._home).resolve())
            opened = await open_source(Path(root), "HEAD" if is_folder else revision, frozenset([home]))
            known = self._sources[root, revision] = opened.source
        return known

    def begin_with(self, rows: dict[str, Document]) -> None:
        """These are up to date: `take_in` need not wait for others."""
        self._ahead = rows

    async def take_in(self, source: Source) -> Ingested:
        """Appends what the log does not have yet. Raises SourceError, and what an append raises."""
        rows, self._ahead = self._ahead, None
        if rows is None:
            await self.follow(source)
            rows = self.rows.rows()
        done = await ingest(self.store, source, rows, self.stop)
        await self.rest_if_asked()
        self._ahead = rows
        return done

    async def follow(self, source: Source | None) -> None:
        """Lets rows and outlines come to the end of the log. Without a source nothing is parsed."""
        await catch_up(self.store, self.rows, source, self.stop)
        await self.rest_if_asked()

    async def rest_if_asked(self) -> None:
        """Once the user asked to stop, a step ends here: without an outcome, so that it is called again."""
        if self.stop.requested:
            self.rested.set()
            await anyio.sleep_forever()

    def changed(self, source: Source, files: int) -> SourceError:
        return SourceError(
            f"{files:,} documents in the log are not those of {source.title}",
            remedy="something else has changed the folder, or written to the log: run again",
        )

    async def write_page(self, name: str, text: str) -> Path:
        """Whole or not at all. Raises BadInput."""
        file = self._file(name)
        try:
            await anyio.to_thread.run_sync(partial(_write, file, text))
        except OSError as error:
            raise BadInput(f"{file} cannot be written: {error.strerror}", field="--data-dir") from error
        return file

    async def remove_page(self, name: str) -> None:
        await anyio.Path(self._file(name)).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._home / "reports" / f"{name}.html"


@asynccontextmanager
async def opened_pipeline() -> AsyncIterator[Pipeline]:
    """Of the log of the settings, and what lies beside it."""
    async with EventStore.open(types=TYPES) as store, opened_documents() as rows:
        yield Pipeline(store, rows, load_settings().eventstore.data_dir, Stop())


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(f".{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)
