"""What finished events bring with them, effects and returned events, until the commit that makes them finished."""

from collections.abc import Callable
from typing import NamedTuple

from consumers.deliveries import Delivery
from consumers.state import Effect, Outgoing

MOST_EVENTS, MOST_BYTES = 8_192, 8 << 20
"""Events that bring something, and the bytes of what they return. Checked before an event is taken, so what is in hands
then comes on top."""


class Brought(NamedTuple):
    """By one event."""

    event: Delivery
    out: tuple[Outgoing, ...]
    effects: tuple[Effect, ...]

    @property
    def size(self) -> int:
        return sum(len(each.packed) for each in self.out)


class Bringing:
    """All that waits. `is_laden`: so much has come since the commit before was prepared that nothing more should be
    begun until the next is. `is_much`: so much waits for the offset that nothing beyond should be read."""

    def __init__(self) -> None:
        self.is_laden = False
        self._waiting: list[Brought] = []
        self._bytes = 0
        self._new_events = self._new_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_much(self) -> bool:
        return len(self._waiting) >= MOST_EVENTS or self._bytes >= MOST_BYTES

    def add(self, brought: Brought) -> None:
        self._waiting.append(brought)
        size = brought.size
        self._bytes += size
        self._new_events += 1
        self._new_bytes += size
        self.is_laden = self._new_events >= MOST_EVENTS or self._new_bytes >= MOST_BYTES

    def taken_along(self, is_finished: Callable[[Delivery], bool]) -> list[Brought]:
        """What the commit that is being prepared takes along."""
        if not self._waiting:
            return []
        taken: list[Brought] = []
        kept: list[Brought] = []
        for each in self._waiting:
            (taken if is_finished(each.event) else kept).append(each)
        self._waiting = kept
        self._bytes = sum(each.size for each in kept)
        self._new_events = self._new_bytes = 0
        self.is_laden = False
        return taken
