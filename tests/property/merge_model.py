"""The total order over partitions as a model: one event at a time, each asked whether it is final.

Partitions have clocks that are wrong and jump, causes push times ahead. The rule under test is the batch of
`eventstore.merge`; the rule here is the one that it must equal: an event is final when every other partition has shown
its next event, or has promised that time and was read up to where it promised.
"""

from collections.abc import Callable

Item = tuple[int, int, int]  # recorded_at, partition, position


class Partition:
    def __init__(self, number: int, skew: int) -> None:
        self.number, self.skew, self.last = number, skew, 0
        self.log: list[Item] = []

    def append(self, now: int, cause: int, n: int) -> None:
        """One call: one time for all its events."""
        self.last = max(now + self.skew, self.last + 1, cause + 1)
        self.log += [(self.last, self.number, len(self.log) + 1 + i) for i in range(n)]

    def promise(self, time: int) -> tuple[int, int]:
        self.last = max(self.last, time)
        return len(self.log), self.last


class ModelReader:
    def __init__(self, partitions: int) -> None:
        self.at = [0] * partitions
        self.held: list[list[Item]] = [[] for _ in range(partitions)]
        self.promises: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
        self.out: list[Item] = []

    def show(self, p: int, items: list[Item]) -> None:
        self.at[p] += len(items)
        self.held[p] += items
        self.emit()

    def promised(self, p: int, head: int, time: int) -> None:
        self.promises[p].append((head, time))
        self.emit()

    def emit(self) -> None:
        while shown := [held[0] for held in self.held if held]:
            item = min(shown)
            if not all(self._covers(p, item[0]) for p in range(len(self.held)) if p != item[1]):
                return
            self.out.append(self.held[item[1]].pop(0))

    def _covers(self, p: int, time: int) -> bool:
        return bool(self.held[p]) or any(t >= time and self.at[p] >= head for head, t in self.promises[p])


def without_promises(reader: ModelReader) -> Callable[[], None]:
    """The rule that loses: emit the lowest that was seen. For a test that the test bites."""

    def emit() -> None:
        while shown := [held[0] for held in reader.held if held]:
            reader.out.append(reader.held[min(shown)[1]].pop(0))

    return emit
