"""Brings the read model up to the log: reads on from its checkpoint in total order, a transaction a batch.

Total order keeps commits whole: the fold up to the last event of a commit is the tree of that commit.
"""

from eventstore import Cursor, EventStore, Filter, RecordedEvent
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.events import CATEGORY
from examples.docs_consistency.progress import Progress
from examples.docs_consistency.stop import Stop

_BATCH_EVENTS = 500


async def catch_up(store: EventStore, documents: Documents, stop: Stop) -> int:
    """Applies all events up to the present heads; returns how many. If the log is not the one that the rows were made
    from (another log, or one that lost its tail), the rows are made anew."""
    if not await _is_fold_of(store, documents):
        documents.forget()
    text = documents.fact("cursor")
    cursor = Cursor.parse(text) if text else Cursor.start(store.log.partitions)
    progress = Progress("reading the log", "events")
    batch = _Batch(documents, progress)
    async for event in store.read_all(order="total", cursor=cursor, where=Filter(categories=(CATEGORY,))):
        cursor = cursor.after(event)
        batch.add(event, cursor)
        if stop.requested:
            break
    batch.apply(cursor)
    progress.close()
    return progress.done


class _Batch:
    def __init__(self, documents: Documents, progress: Progress) -> None:
        self._documents, self._progress = documents, progress
        self._events: list[RecordedEvent] = []

    def add(self, event: RecordedEvent, cursor: Cursor) -> None:
        self._events.append(event)
        if len(self._events) == _BATCH_EVENTS:
            self.apply(cursor)

    def apply(self, cursor: Cursor) -> None:
        self._documents.apply(self._events, str(cursor))
        self._progress.advance(len(self._events))
        self._events.clear()


async def _is_fold_of(store: EventStore, documents: Documents) -> bool:
    """Whether the newest event of each partition that the rows know is in the log at its place. A log never changes
    below an event that it holds, so all before are there too."""
    text = documents.fact("cursor")
    if text is not None and len(Cursor.parse(text).places) != store.log.partitions:
        return False
    newest = {row.partition: row for row in sorted(documents.rows().values(), key=lambda row: row.position)}
    for row in newest.values():
        found = [e.id async for e in store.read_partition(row.partition, from_position=row.position, limit=1)]
        if found != [row.event_id]:
            return False
    return True
