"""What large events in memory weigh. Small ones are bounded by their number, and cost nothing here."""

from collections.abc import Iterable, Iterator

from eventstore.entries import Run

HEAVY_BYTES = 8 << 10
"""With 1,024 events of less the window has its 8 MiB at the most."""


class Weights:
    """By position, in bytes as stored. One that is not known weighs nothing."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, position: int, size: int) -> None:
        if size:
            self.bytes += size - self._sizes.get(position, 0)
            self._sizes[position] = size

    def drop(self, position: int) -> int:
        """What it weighed; it is not in memory any more."""
        size = self._sizes.pop(position, 0)
        self.bytes -= size
        return size


def heavy_ones(runs: Iterable[Run], largest: int) -> Iterator[tuple[int, int]]:
    """Position and size of each heavy event. None is larger than `largest`; 0: not known."""
    if 0 < largest < HEAVY_BYTES:
        return
    for run in runs:
        for position, value in zip(run.positions, run.values, strict=True):
            if len(value) >= HEAVY_BYTES:
                yield position, len(value)
