"""From revisions to events: one event a changed file, in the stream of its path, caused by the revision before.

Exactly once, however often it is stopped and run again. An event is decided from the row of its path, written at
exactly the row's version, under an id made of revision, version and path: a repetition, even by another process at the
same time, gets the first receipt. A run goes on with the last revision in the log, whose events may be incomplete;
those it has are recognised by their state. At the end the rows are compared with the tree itself, which also settles a
history that was rewritten, and is all there is for a plain folder.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid5

import anyio
from msgspec import Struct

from eventstore import EventStore, Metadata, NewEvent, Receipt
from examples.docs_consistency.as_of import Before
from examples.docs_consistency.documents import Document
from examples.docs_consistency.events import DocumentAdded, DocumentChanged, DocumentEvent, DocumentRemoved
from examples.docs_consistency.paths import stream_of
from examples.docs_consistency.progress import Progress
from examples.docs_consistency.source import FileChange, FileState, Revision, Source, Tree
from examples.docs_consistency.stop import Stop

_IN_FLIGHT = 256
_IDS = UUID("6f6f4d3c-5d0e-5a57-9d6b-2f0c7f1b9a51")


class Ingested(Struct, frozen=True):
    """`rewritten`: the log's last commit is not in the history, so only the difference to the tree was appended."""

    revisions: int
    events: int
    rewritten: bool


async def ingest(store: EventStore, source: Source, rows: dict[str, Document], stop: Stop) -> Ingested:
    """Appends what the log does not have yet. `rows` are those of a read model that is up to date, and afterwards what
    it will have. Returns early, at a point where a later run goes on, if asked to stop."""
    writer = _Writer(store, rows)
    last = writer.newest
    rewritten = await _ingest_history(writer, source, last, stop)
    if not stop.requested:
        await _ingest_difference(writer, await source.tree(), stop)
    return Ingested(writer.revisions, writer.events, rewritten)


async def _ingest_history(writer: "_Writer", source: Source, last: Document | None, stop: Stop) -> bool:
    """True if there is a history and the log's last event is of none of its commits."""
    if last is not None and last.commit is None:
        return False
    async with source.history(last.commit if last else None) as history:
        if history is None:
            return last is not None
        progress = Progress("ingesting", "commits", history.total)
        async for revision in history.revisions:
            if stop.requested:
                break
            await writer.write(revision, stop)
            progress.advance()
        progress.close()
    return False


async def _ingest_difference(writer: "_Writer", tree: Tree, stop: Stop) -> None:
    revision = Revision(tree.id, tree.commit, tree.committed_at, tuple(difference(writer.rows, tree.files)))
    progress = Progress("ingesting", "files", len(revision.changes))
    await writer.write(revision, stop, progress)
    progress.close()


async def bring_back(store: EventStore, rows: Mapping[str, Document], before: Before, correlation_id: str) -> int:
    """Appends what makes the documents those of before, and says how many events that were. `rows` are up to date."""
    changes = tuple(difference(rows, before.files))
    writer = _Writer(store, dict(rows))
    await writer.write(Revision(correlation_id, before.commit, before.committed_at, changes), Stop())
    return writer.events


def difference(rows: Mapping[str, Document], files: Mapping[str, FileState]) -> list[FileChange]:
    """What must change in the rows to equal the files."""
    now = [FileChange(path, state) for path, state in files.items() if path not in rows or rows[path].state != state]
    gone = [FileChange(path, None) for path, row in rows.items() if row.state is not None and path not in files]
    return sorted(now + gone, key=lambda change: change.path)


class _Writer:
    """Appends revisions one after the other and keeps the rows as they will be."""

    def __init__(self, store: EventStore, rows: dict[str, Document]) -> None:
        self.rows = rows
        self.revisions = self.events = 0
        self._store = store
        self._cause = self.newest.receipt if self.newest else None

    @property
    def newest(self) -> Document | None:
        return max(self.rows.values(), key=lambda row: row.order, default=None)

    async def write(self, revision: Revision, stop: Stop, progress: Progress | None = None) -> None:
        """Appends the events of a revision at once, for they are in streams of their own. The last of them in total
        order is the cause of the next revision."""
        wanted = [change for change in revision.changes if _is_new(change, self.rows.get(change.path))]
        written: list[Document] = []
        for start in range(0, len(wanted), _IN_FLIGHT):
            if stop.requested:
                break
            some = wanted[start : start + _IN_FLIGHT]
            written += await self._write_together(revision, some)
            if progress:
                progress.advance(len(some))
        if written:
            self._cause = max(written, key=lambda row: row.order).receipt
            self.revisions += 1
            self.events += len(written)

    async def _write_together(self, revision: Revision, changes: Sequence[FileChange]) -> list[Document]:
        if len(changes) == 1:
            return [await self._append(revision, changes[0])]
        written: list[Document] = []

        async def one(change: FileChange) -> None:
            written.append(await self._append(revision, change))

        try:
            async with anyio.create_task_group() as tasks:
                for change in changes:
                    tasks.start_soon(one, change)
        except ExceptionGroup as group:
            # One refusal tells the user what to do; the others are its like.
            raise group.exceptions[0] from group
        return written

    async def _append(self, revision: Revision, change: FileChange) -> Document:
        row = self.rows.get(change.path)
        version = row.version if row else 0
        receipt = await self._store.append(
            stream_of(change.path),
            [NewEvent(data=_event(revision, change, row), id=_event_id(revision, change, version))],
            expected=version,
            causes=[self._cause] if self._cause else [],
            metadata=Metadata(correlation_id=revision.id),
        )
        written = _document(revision, change, receipt)
        self.rows[change.path] = written
        return written


def _is_new(change: FileChange, row: Document | None) -> bool:
    return (row.state if row else None) != change.now


def _event(revision: Revision, change: FileChange, row: Document | None) -> DocumentEvent:
    if change.now is None:
        return DocumentRemoved(change.path, revision.commit, revision.committed_at)
    kind = DocumentChanged if row is not None and row.state is not None else DocumentAdded
    return kind(change.path, change.now.blob, change.now.mode, revision.commit, revision.committed_at)


def _event_id(revision: Revision, change: FileChange, version: int) -> UUID:
    return uuid5(_IDS, f"{revision.id} {version} {change.path}")


def _document(revision: Revision, change: FileChange, receipt: Receipt) -> Document:
    place = (receipt.partition, receipt.epoch, receipt.position, receipt.recorded_at)
    return Document(change.path, receipt.version, change.now, revision.commit, receipt.ids[-1], *place)
