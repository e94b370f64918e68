"""Whose turn it is: ready lanes by priority, so that what is urgent comes first and nothing waits for ever.

The four classes share the turns 8:4:2:1 (CRITICAL, HIGH, NORMAL, LOW), as far as they have something ready: what a
class has no use for falls to the others in the same proportion (smooth weighted round robin, as nginx chooses between
its upstreams). Within a class, who has waited longest comes first.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

from eventstore.envelope import Priority

T = TypeVar("T")

CLASSES = {Priority.CRITICAL: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
NORMAL = CLASSES[Priority.NORMAL]
WEIGHTS = (8, 4, 2, 1)


class Turns(Generic[T]):
    """Things that wait, each in a class, under the names of their streams: one of each."""

    def __init__(self) -> None:
        self._queues: tuple[OrderedDict[str, T], ...] = tuple(OrderedDict() for _ in WEIGHTS)
        self._normal = self._queues[NORMAL]
        self._credit = [0] * len(WEIGHTS)
        self.count = 0
        """How many wait."""
        self._others = 0  # in other classes than NORMAL: while there are none, choosing costs nothing

    @property
    def has_urgent(self) -> bool:
        """Whether anything above NORMAL waits."""
        return self._others > 0 and any(self._queues[:NORMAL])

    def add(self, stream: str, thing: T, of_class: int = NORMAL) -> None:
        """Behind all others of its class. It waits nowhere yet."""
        self._queues[of_class][stream] = thing
        self.count += 1
        self._others += of_class != NORMAL

    def pop(self) -> T | None:
        """The next; None if there is nothing."""
        if not self.count:
            return None
        self.count -= 1
        if not self._others:
            return self._normal.popitem(last=False)[1]
        ready = [i for i, queue in enumerate(self._queues) if queue]
        chosen = ready[0] if len(ready) == 1 else self._chosen(ready)
        self._others -= chosen != NORMAL
        return self._queues[chosen].popitem(last=False)[1]

    def _chosen(self, ready: list[int]) -> int:
        credit = self._credit
        for i in ready:
            credit[i] += WEIGHTS[i]
        chosen = max(ready, key=credit.__getitem__)
        credit[chosen] -= sum(WEIGHTS[i] for i in ready)
        return chosen

    def remove(self, stream: str) -> T | None:
        """If it waits, it does no longer."""
        for of_class, queue in enumerate(self._queues):
            if (thing := queue.pop(stream, None)) is not None:
                self.count -= 1
                self._others -= of_class != NORMAL
                return thing
        return None
