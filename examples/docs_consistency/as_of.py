"""What the log tells of the documents up to a cursor, and from there on."""

from datetime import datetime

from msgspec import Struct

from eventstore import Cursor, EventStore, Filter
from examples.docs_consistency.events import CATEGORY, DocumentAdded, DocumentChanged, DocumentRemoved
from examples.docs_consistency.source import FileState


class Before(Struct, frozen=True):
    """All files of then, folded from the log alone, and the commit of the last event."""

    files: dict[str, FileState]
    commit: str | None
    committed_at: datetime | None


async def as_of(store: EventStore, cursor: str) -> Before:
    """Raises Unavailable."""
    places = Cursor.parse(cursor).places
    files: dict[str, FileState] = {}
    last: DocumentAdded | DocumentChanged | DocumentRemoved | None = None
    async for event in store.read_all(order="total", where=Filter(categories=(CATEGORY,))):
        data = event.data
        if event.position > places[event.partition][1]:
            continue
        if isinstance(data, DocumentAdded | DocumentChanged):
            files[data.path] = FileState(data.blob, data.mode)
        elif isinstance(data, DocumentRemoved):
            files.pop(data.path, None)
        last = data
    return Before(files, last.commit if last else None, last.committed_at if last else None)


async def since(store: EventStore, cursor: str) -> tuple[int, int]:
    """How many revisions have come behind the cursor, and how many events these are. Raises Unavailable."""
    found = store.read_all(cursor=Cursor.parse(cursor), where=Filter(categories=(CATEGORY,)))
    revisions = [event.metadata.correlation_id async for event in found]
    return len(set(revisions)), len(revisions)
