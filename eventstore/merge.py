"""The total order over partitions: by (recorded_at, partition, position), the same for every reader.

Each partition is a lane, sorted in itself. A lane *knows* its events up to some key: those it has shown, and what it
has promised (PROTOCOLS.md section 8). What lies at or below the key that all lanes know is final: nothing can come
between any more. So a batch is cut at that horizon and sorted, instead of one comparison of all lanes for each event.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable

from eventstore.codec import Entry

Key = tuple[int, int, int]
_FAR = 1 << 63
NOTHING: Key = (-_FAR, 0, 0)
EVERYTHING: Key = (_FAR, 0, 0)


def ascending(entry: Entry) -> Key:
    return entry.recorded_at, entry.partition, entry.position


def descending(entry: Entry) -> Key:
    return -entry.recorded_at, -entry.partition, -entry.position


def promised(time: int) -> Key:
    """The key up to which a lane is known that will have no more events recorded at or before `time`."""
    return time, _FAR, 0


class Lane:
    """What one partition has shown and is not emitted yet."""

    def __init__(self, key: Callable[[Entry], Key] = ascending) -> None:
        self.entries: list[Entry] = []
        self.known = NOTHING
        self._key = key

    def show(self, entries: Iterable[Entry]) -> None:
        """The partition's next entries, in its order."""
        self.entries += entries
        if self.entries:
            self.known = max(self.known, self._key(self.entries[-1]))

    def promise(self, time: int) -> None:
        """All events recorded at or before `time` have been shown."""
        self.known = max(self.known, promised(time))

    def take(self, horizon: Key) -> list[Entry]:
        n = len(self.entries)
        if n and self._key(self.entries[-1]) > horizon:
            n = bisect_right(self.entries, horizon, key=self._key)
        taken, self.entries = self.entries[:n], self.entries[n:]
        return taken


def take(lanes: Iterable[Lane], key: Callable[[Entry], Key] = ascending) -> list[Entry]:
    """What is final, in order; it leaves the lanes."""
    lanes = list(lanes)
    horizon = min((lane.known for lane in lanes), default=NOTHING)
    batch = [entry for lane in lanes if lane.entries for entry in lane.take(horizon)]
    batch.sort(key=key)
    return batch


def newest(lanes: Iterable[Lane]) -> Key:
    """The highest key of what is shown and not emitted; NOTHING if nothing is."""
    return max((ascending(lane.entries[-1]) for lane in lanes if lane.entries), default=NOTHING)
