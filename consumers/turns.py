"""Whose turn it is: ready lanes by priority, so that what is urgent comes first and nothing waits for ever.

The four classes share the turns 8:4:2:1 (CRITICAL, HIGH, NORMAL, LOW), as far as they have something ready: what a
class has no use for falls to the others in the same proportion (smooth weighted round robin, as nginx chooses between
its upstreams). Within a class, who has waited longest comes first.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from eventstore.envelope import Priority

T = TypeVar("T")

CLASSES = {Priority.CRITICAL: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
NORMAL = CLASSES[Priority.NORMAL]
WEIGHTS = (8, 4, 2, 1)


class Turns(Generic[T]):
    """Things that wait, each in a class."""

    def __init__(self) -> None:
        self._queues: tuple[deque[T], ...] = tuple(deque() for _ in WEIGHTS)
        self._normal = self._queues[NORMAL]
        self._credit = [0] * len(WEIGHTS)
        self._others = 0  # in other classes than NORMAL: while there are none, choosing costs nothing

    @property
    def has_urgent(self) -> bool:
        """Whether anything above NORMAL waits."""
        return self._others > 0 and any(self._queues[:NORMAL])

    def __iter__(self) -> Iterator[T]:
        for queue in self._queues:
            yield from queue

    def add(self, thing: T, of_class: int = NORMAL) -> None:
        self._queues[of_class].append(thing)
        self._others += of_class != NORMAL

    def pop(self) -> T | None:
        """The next; None if there is nothing."""
        if not self._others:
            return self._normal.popleft() if self._normal else None
        ready = [i for i, queue in enumerate(self._queues) if queue]
        chosen = ready[0] if len(ready) == 1 else self._chosen(ready)
        self._others -= chosen != NORMAL
        return self._queues[chosen].popleft()

    def _chosen(self, ready: list[int]) -> int:
        credit = self._credit
        for i in ready:
            credit[i] += WEIGHTS[i]
        chosen = max(ready, key=credit.__getitem__)
        credit[chosen] -= sum(WEIGHTS[i] for i in ready)
        return chosen

    def remove(self, thing: T) -> None:
        """If it waits."""
        for of_class, queue in enumerate(self._queues):
            if thing in queue:
                queue.remove(thing)
                self._others -= of_class != NORMAL
                return
