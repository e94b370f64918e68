"""How far the imports of a file have come: events of the stream `$import-<key>`."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from eventstore import epochs
from eventstore.cursor import Cursor
from eventstore.errors import EventStoreError, WrongExpectedVersion
from eventstore.event_types import event
from eventstore.log import Log
from eventstore.pages import partition_page
from eventstore.store import EventStore
from eventstore.transfer.lines import WINDOW_LINES

if TYPE_CHECKING:
    from eventstore.transfer.lines import LineFile, Window

LOOK_BACK = 1_000


@event(name="eventstore.ImportCheckpoint")
class ImportCheckpoint(Struct, frozen=True):
    """The first `lines` lines, whose digest this is, are in the log and hold `events` events; what an import wrote
    after it lies behind `cursor`."""

    lines: int
    digest: str
    events: int
    cursor: str


class ImportRunning(EventStoreError):
    """Another import of the same file is at work."""

    code = "job-running"


class Checkpoints:
    """The checkpoints of one file. `start` is where this run begins; `suspected` is the last line that an earlier run
    may have appended beyond it."""

    def __init__(
        self, store: EventStore, stream: str, version: int, start: ImportCheckpoint, suspected: int, *, resumed: bool
    ) -> None:
        self._store, self._stream, self._version = store, stream, version
        self.start, self.suspected, self.resumed = start, suspected, resumed

    @property
    def cursor(self) -> Cursor:
        return Cursor.parse(self.start.cursor)

    @classmethod
    async def open(cls, store: EventStore, file: "LineFile") -> "Checkpoints":
        """Finds the checkpoint to go on from; writes the first one where there is none."""
        stream = f"$import-{file.key}"
        version = await store.version(stream)
        stored = [
            msgspec.convert(recorded.data, ImportCheckpoint) if isinstance(recorded.data, dict) else recorded.data
            async for recorded in store.read(stream, backwards=True, limit=LOOK_BACK)
        ]
        digests = file.digests({each.lines for each in stored})
        ours = sorted((c for c in stored if digests.get(c.lines) == c.digest), key=lambda c: -c.lines)
        for candidate in ours:
            if await _is_common(store.log, Cursor.parse(candidate.cursor)):
                return cls(store, stream, version, candidate, ours[0].lines + WINDOW_LINES, resumed=True)
        return await cls._begin(store, file, stream, version, ours)

    @classmethod
    async def _begin(
        cls, store: EventStore, file: "LineFile", stream: str, version: int, ours: list[ImportCheckpoint]
    ) -> "Checkpoints":
        lost = bool(ours)  # an earlier run began before events that the log has lost: look through all of it
        cursor = Cursor.start(store.log.partitions) if lost else await store.heads()
        start = ImportCheckpoint(0, file.digests({0})[0], 0, str(cursor))
        suspected = ours[0].lines + WINDOW_LINES if lost else 0
        found = cls(store, stream, version, start, suspected, resumed=lost)
        await found._append(start)
        return found

    async def add(self, window: "Window", events: int, heads: Cursor) -> None:
        """All of the window has been acknowledged, and these are the heads since. Raises ImportRunning."""
        if window.last >= window.first:  # else its first line is at fault
            await self._append(ImportCheckpoint(window.last, window.digest, events, str(heads)))

    async def _append(self, checkpoint: ImportCheckpoint) -> None:
        try:
            receipt = await self._store.append_to(self._stream, [checkpoint], expected=self._version)
        except WrongExpectedVersion as error:
            raise ImportRunning("another import of this file is at work", remedy="eventstore jobs") from error
        self._version = receipt.version


async def _is_common(log: Log, cursor: Cursor) -> bool:
    """Whether the log still has all that it had when the cursor was made."""
    if len(cursor.places) != log.partitions:
        return False
    for partition, place in enumerate(cursor.places):
        if place == (0, 0):
            continue
        page = await partition_page(log, partition, 0, backwards=True, events=1)
        if epochs.common_position_of(place, epochs.parse(page.epochs or b""), page.head) < place[1]:
            return False
    return True
