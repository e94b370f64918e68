"""Events that are replayed, and whose turn it is not yet by the rate of the replay; all others go on."""

from collections import deque
from collections.abc import Callable

from consumers.deliveries import Delivery
from consumers.holder import Holder
from consumers.pace import Pace


class HeldBack:
    """Of one partition. What is here has been taken from the holder, so its stream waits for it."""

    def __init__(self, holder: Holder, pace: Pace) -> None:
        self._holder, self._pace = holder, pace
        self._events: deque[Delivery] = deque()

    def __len__(self) -> int:
        return len(self._events)

    def take(self, now_ms: Callable[[], int]) -> Delivery | None:
        """The next event that may be handled now."""
        if self._events and self._pace.now_or_later():
            return self._events.popleft()
        while (event := self._holder.take(now_ms)) is not None:
            if not self._holder.is_replay(event) or (not self._events and self._pace.now_or_later()):
                return event
            self._events.append(event)
        return None
