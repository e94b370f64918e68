"""One partition, entry by entry: what its order, its streams and its clock must be. Pure: fed, then asked.

What one damage explains is told once: an index entry or an urgent entry that points into a hole says nothing new.
Memory: 24 bytes an event of the partition for positions and ids, 8 for the versions of its streams, and about 250 a
stream; it is given back with the walk.
"""

from array import array
from bisect import bisect_left
from itertools import zip_longest

from eventstore.codec import Entry
from eventstore.envelope import Priority
from eventstore.epochs import Chain
from eventstore.partitions import partition_of
from eventstore.verify.findings import Findings

ID_BYTES = 16
MAX_MISSING_VERSIONS = 10_000
"""A version that jumps further is told as it is met, for what lies between is not worth the memory."""
_NO_ID = bytes(ID_BYTES)
_LETTERS = {Priority.HIGH: b"H", Priority.CRITICAL: b"C"}


class Walk:
    """The entries of one partition up to `limit`, the last position that belongs to the check."""

    def __init__(self, partition: int, partitions: int, limit: int, findings: Findings) -> None:
        self.partition, self.limit = partition, limit
        self.newest_at = 0
        self.streams: dict[str, array[int]] = {}
        self.urgent: list[tuple[int, int, bytes]] = []
        self._partitions, self._findings = partitions, findings
        self._positions, self._ids = array("Q"), bytearray()
        self._chain: list[tuple[int, int]] = []
        self._told: set[str] = set()

    def entry(self, entry: Entry, raw_id: bytes) -> None:
        """The next entry."""
        if not self._place(entry.epoch, entry.position, raw_id):
            return
        self._time(entry)
        self._version(entry)
        if entry.metadata.priority.urgent:
            self.urgent.append((entry.epoch, entry.position, _LETTERS[entry.metadata.priority]))

    def unreadable(self, epoch: int, position: int, detail: str) -> None:
        """The next entry, which is no event."""
        if self._place(epoch, position, _NO_ID):
            self.say("unreadable", 1, f"position {position}", detail)

    def end(self) -> None:
        """After the last entry."""
        self._hole(self._last_position + 1, self.limit)

    def say(self, kind: str, invariant: int, where: str, detail: str) -> None:
        self._findings.add(kind, invariant, self.partition, where, detail)

    # ---- positions, epochs, time ----

    @property
    def _last_position(self) -> int:
        return self._positions[-1] if self._positions else 0

    def _place(self, epoch: int, position: int, raw_id: bytes) -> bool:
        last = self._last_position
        if position <= last:
            self.say("order", 2, f"position {position}", f"the entry {epoch}-{position} comes after position {last}")
            return False
        self._hole(last + 1, position - 1)
        if not self._chain or self._chain[-1][0] != epoch:
            self._chain.append((epoch, position))
        self._positions.append(position)
        self._ids += raw_id
        return True

    def _hole(self, first: int, last: int) -> None:
        if first > last:
            return
        if first == last:
            self.say("hole", 2, f"position {first}", "the event at this position is not in the log")
        else:
            self.say("hole", 2, f"positions {first} to {last}", f"{last - first + 1:,} events are not in the log")

    def _time(self, entry: Entry) -> None:
        if entry.recorded_at < self.newest_at:
            back = self.newest_at - entry.recorded_at
            self.say("time", 2, f"position {entry.position}", f"recorded_at goes back by {back:,} us at this position")
        self.newest_at = max(self.newest_at, entry.recorded_at)

    def covers(self, position: int) -> bool:
        """Whether a hole, or an entry that is no event, at this position has been told already."""
        if not 1 <= position <= self.limit:
            return False
        place = self._find(position)
        return place is None or self._id(place) == _NO_ID

    def holds(self, position: int, raw_id: bytes) -> bool:
        """Whether the event at a position has this id."""
        place = self._find(position)
        return place is not None and self._id(place) == raw_id

    def _find(self, position: int) -> int | None:
        place = bisect_left(self._positions, position)
        return place if place < len(self._positions) and self._positions[place] == position else None

    def _id(self, place: int) -> bytes:
        return bytes(self._ids[place * ID_BYTES : (place + 1) * ID_BYTES])

    def epochs_differ(self, chain: Chain) -> str | None:
        """What the head says of the epochs, against what was met: a sentence where they differ."""
        ends = [start.first for start in chain[1:]] + [self.limit + 1]
        expected = []
        for start, end in zip(chain, ends, strict=False):
            place = bisect_left(self._positions, start.first)
            if place < len(self._positions) and self._positions[place] < end:
                expected.append((start.epoch, self._positions[place]))
        if expected == self._chain:
            return None
        said, met = next(pair for pair in zip_longest(expected, self._chain) if pair[0] != pair[1])
        return f"the head says {_begin(said)}, the log has {_begin(met)}"

    # ---- streams ----

    def _version(self, entry: Entry) -> None:
        stream, version = entry.stream, entry.version
        at = self.streams.get(stream)
        if at is None:
            at = self.streams[stream] = array("Q")
            self._home(stream)
        if version == len(at) + 1:
            at.append(entry.position)
        elif stream not in self._told:
            self._odd_version(at, entry)

    def _home(self, stream: str) -> None:
        home = partition_of(stream, self._partitions)
        if home != self.partition:
            self.say("home", 2, stream, f"this stream belongs to partition {home}, and has events in {self.partition}")

    def _odd_version(self, at: "array[int]", entry: Entry) -> None:
        version, known = entry.version, len(at)
        if known < version <= known + MAX_MISSING_VERSIONS:
            at.extend([0] * (version - known - 1))
            at.append(entry.position)
        elif version > known:
            self._tell(entry.stream, f"version {known} is followed by version {version}, at position {entry.position}")
        elif version > 0 and at[version - 1]:
            twice = f"at position {at[version - 1]} and again at {entry.position}"
            self._tell(entry.stream, f"version {version} is there {twice}")
        else:
            self._tell(entry.stream, f"version {version} comes behind version {known}, at position {entry.position}")

    def _tell(self, stream: str, detail: str) -> None:
        """One sentence a stream: whatever else differs there follows from it, or shows when that is mended."""
        self._told.add(stream)
        self.say("versions", 2, stream, detail)

    def index(self, stream: str, listed: "array[int]") -> None:
        """What the index lists for a stream: positions of version 1, 2, ... up to the limit."""
        at = self.streams.get(stream, array("Q"))
        if stream in self._told or (at == listed and 0 not in at):
            return
        for version, (seen, said) in enumerate(zip_longest(at, listed), 1):
            if (seen and seen == said) or (not seen and said is not None and self.covers(said)):
                continue
            self._tell(stream, _differs(version, seen, said))
            return

    def snapshot(self, stream: str, version: int, epoch: int, position: int) -> None:
        """Where a stream's snapshot was made."""
        at = self.streams.get(stream, array("Q"))
        if stream in self._told or self.covers(position):
            return
        its_epoch = next((number for number, first in reversed(self._chain) if first <= position), 0)
        if 1 <= version <= len(at) and (at[version - 1], its_epoch) == (position, epoch):
            return
        place = f"version {version} at {epoch}-{position}"
        self.say("snapshot", 2, stream, f"its snapshot is of {place}, which is not in the log: it is put aside")


def _begin(start: tuple[int, int] | None) -> str:
    return "no further epoch" if start is None else f"epoch {start[0]} from position {start[1]}"


def _differs(version: int, seen: int | None, said: int | None) -> str:
    if said is None:
        if seen:
            return f"version {version}, at position {seen}, is not in the index"
        return f"version {version} is neither in the log nor in the index"
    if not seen:
        return f"the index has version {version} at position {said}, where another event or none is"
    return f"version {version} is at position {seen}, the index says {said}"
