"""Stored entries as what handlers get: decoded once, only if wanted, and never lost if they do not decode.

An event whose type nobody handles is not decoded at all. One whose data do not fit its type becomes an `Undecodable`,
which is parked with its stream like any other failure.
"""

from collections.abc import Iterable, Iterator
from itertools import repeat
from uuid import UUID

from msgspec import Struct

from eventstore.codec import Entry, unpack_at
from eventstore.entries import Kind, Run, make_all
from eventstore.envelope import Metadata, RecordedEvent
from eventstore.errors import InvalidEvent
from eventstore.log import Log
from eventstore.names import in_categories, prefixes_of


class Undecodable(Struct, frozen=True):
    """An event whose data cannot be read, and why. `type` is the present name of its type, if that is known."""

    id: UUID
    stream: str
    version: int
    partition: int
    epoch: int
    position: int
    recorded_at: int
    type: str
    schema_version: int
    metadata: Metadata
    error: InvalidEvent


Delivery = RecordedEvent | Undecodable
"""What a handling begins with."""


class Deliveries:
    """Makes the deliveries of one group. `types` are the names of those that it handles, None for all; `categories`
    are those it is limited to, if any; `system` streams are passed over unless asked for."""

    def __init__(
        self, log: Log, types: frozenset[str] | None, categories: frozenset[str] = frozenset(), *, system: bool = False
    ) -> None:
        self._log, self._types, self._system = log, types, system
        self._prefixes = prefixes_of(categories)

    @property
    def is_limited(self) -> bool:
        """Whether there may be events that the group does not want."""
        return self._types is not None or bool(self._prefixes)

    def wanted(self, event: Delivery) -> bool:
        if self._types is not None and event.type not in self._types:
            return False
        return not self._prefixes or in_categories(event.stream, self._prefixes)

    def of(self, partition: int, runs: Iterable[Run]) -> Iterator[Delivery]:
        """In order. Raises LogDamaged for what is no entry of ours."""

        def carefully(epoch: int, position: int, value: bytes) -> RecordedEvent | Undecodable:
            return self.one(unpack_at(partition, epoch, position, value))

        for run in runs:
            yield from make_all(
                RecordedEvent,
                self._kind,
                carefully,
                partition,
                repeat(run.epoch),
                run.positions,
                run.values,
                system=self._system,
            )

    def _kind(self, stored: str, schema_version: int) -> Kind:
        name, present_version, read = self._log.types.kind(stored, schema_version)
        if self._types is None or name in self._types:
            return name, present_version, read
        return name, present_version, _unread

    def one(self, entry: Entry) -> RecordedEvent | Undecodable:
        """An entry that was unpacked already."""
        try:
            return self._log.recorded(entry)
        except InvalidEvent as error:
            return Undecodable(
                entry.id,
                entry.stream,
                entry.version,
                entry.partition,
                entry.epoch,
                entry.position,
                entry.recorded_at,
                self._log.types.kind(entry.type, entry.schema_version)[0],
                entry.schema_version,
                entry.metadata,
                error,
            )


def _unread(data: bytes) -> None:
    """Of an event that nobody handles."""
