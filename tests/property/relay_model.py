"""A small model of partitions that carry returned events to one another: what waits in `:out`, what was taken, and
what a failover takes away again, in plain Python (PROTOCOLS 5 and 6).

Nothing here knows Redis. All that is stored of a partition lies in one slot, so it goes back as one: events, offset of
the group, `:out` and the marks of `:in`. The numbers of epochs come from the server's clock and are told.
"""

from collections.abc import Sequence
from copy import copy

from msgspec import Struct

Id = tuple[int, int]
NOTHING: Id = (0, 0)


class Returned(Struct, frozen=True):
    """What a handler returned, for a stream of a partition."""

    target: int
    stream: str
    event_id: bytes
    cause_at: int
    letter: str = "N"


class Recorded(Struct, frozen=True):
    """An event of a log; its position is its place in it."""

    epoch: int
    stream: str
    version: int
    event_id: bytes
    cause_at: int = 0
    letter: str = "N"


class PartitionModel:
    def __init__(self) -> None:
        self.process, self.number = "", 0
        self.epochs: list[tuple[int, int]] = []
        self.log: list[Recorded] = []
        self.offset = 0
        self.out: list[tuple[Id, Returned]] = []
        self.last_out = NOTHING
        self.marks: dict[int, Id] = {}

    def copy(self) -> "PartitionModel":
        other = copy(self)
        other.epochs, other.log, other.out = list(self.epochs), list(self.log), list(self.out)
        other.marks = dict(self.marks)
        return other

    def fix_epoch(self, process: str, number: int) -> None:
        """What whoever numbers does first: `number` is what the server shows afterwards."""
        if process == self.process:
            assert number == self.number
            return
        assert number > self.number
        self.process, self.number = process, number

    def append(self, stream: str, event_id: bytes, cause_at: int = 0, letter: str = "N") -> None:
        if not self.epochs or self.epochs[-1][0] != self.number:
            self.epochs.append((self.number, len(self.log) + 1))
        version = 1 + sum(event.stream == stream for event in self.log)
        self.log.append(Recorded(self.number, stream, version, event_id, cause_at, letter))

    def commit(self, position: int, returned: Sequence[Returned]) -> None:
        """The causes up to `position` are finished, and what they returned is on its way, in one script."""
        self.offset = position
        for each in returned:
            epoch, n = self.last_out
            self.last_out = (epoch, n + 1) if epoch == self.number else (self.number, 0)
            self.out.append((self.last_out, each))

    def page(self, after: Id, most: int) -> list[tuple[Id, Returned]]:
        return [entry for entry in self.out if entry[0] > after][:most]

    def is_there(self, entry: Id) -> bool:
        return any(each == entry for each, _ in self.out)

    def forget(self, process: str, entries: Sequence[Id], now: str) -> None:
        if process == now:
            self.out = [each for each in self.out if each[0] not in entries]

    def mark(self, source: int) -> Id:
        return self.marks.get(source, NOTHING)

    def takes(self, source: int, expect: Id, entries: Sequence[tuple[Id, Returned]]) -> bool:
        return bool(entries) and self.mark(source) == expect

    def take(self, source: int, entries: Sequence[tuple[Id, Returned]]) -> None:
        for entry, returned in entries:
            self.append(returned.stream, returned.event_id, returned.cause_at, returned.letter)
            self.marks[source] = entry
