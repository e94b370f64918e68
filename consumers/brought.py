"""What finished events bring with them, effects and returned events, until the commit that makes them finished."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from consumers.deliveries import Delivery
from consumers.state import Effect, Outgoing

MOST_EVENTS, MOST_BYTES = 8_192, 8 << 20
"""Events that bring something, and the bytes of it. Checked before an event is taken, so what is in hands then comes on
top."""
EFFECT_BYTES = 200
"""What an effect takes beside its words."""


class Brought(NamedTuple):
    """By one event."""

    event: Delivery
    out: tuple[Outgoing, ...]
    effects: tuple[Effect, ...]

    @property
    def size(self) -> int:
        total = EFFECT_BYTES * len(self.effects)
        for returned in self.out:
            total += len(returned.packed)
        for effect in self.effects:
            total += _bytes_of(effect.args)
        return total


class Bringing:
    """All that waits. `is_laden`: so much has come since the commit before was prepared that nothing more should be
    begun until the next is. `is_much`: so much waits for the offset that nothing beyond should be read."""

    def __init__(self) -> None:
        self.is_laden = False
        self._waiting: list[tuple[Brought, int]] = []
        self._bytes = 0
        self._new_events = self._new_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_much(self) -> bool:
        return len(self._waiting) >= MOST_EVENTS or self._bytes >= MOST_BYTES

    def add(self, brought: Brought) -> None:
        size = brought.size
        self._waiting.append((brought, size))
        self._bytes += size
        self._new_events += 1
        self._new_bytes += size
        self.is_laden = self._new_events >= MOST_EVENTS or self._new_bytes >= MOST_BYTES

    def taken_along(self, is_finished: Callable[[Delivery], bool]) -> list[Brought]:
        """What the commit that is being prepared takes along."""
        if not self._waiting:
            return []
        taken: list[Brought] = []
        kept: list[tuple[Brought, int]] = []
        for each, size in self._waiting:
            if is_finished(each.event):
                taken.append(each)
            else:
                kept.append((each, size))
        self._waiting = kept
        self._bytes = sum(size for _, size in kept)
        self._new_events = self._new_bytes = 0
        self.is_laden = False
        return taken


def _bytes_of(words: Iterable[Any]) -> int:
    """About. Changes of rows have their values one level down, and objects of JSON deeper."""
    total = 0
    for word in words:
        kind = type(word)  # most are of these three, and it is asked for each event
        if kind is int:
            continue
        if kind is str:
            total += len(word)
        elif kind is tuple:
            total += _bytes_of(word)
        elif isinstance(word, str | bytes):
            total += len(word)
        elif isinstance(word, tuple | list):
            total += _bytes_of(word)
        elif isinstance(word, dict):
            total += _bytes_of(word.values())
    return total
