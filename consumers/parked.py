"""Says in the worker's log which events were parked: one line for each, and for many at once how many more."""

from collections.abc import Callable
from shlex import quote

import structlog

from consumers.deliveries import Delivery
from consumers.failure import Failure

MOST_PER_SECOND = 10
"""Of a group in one worker. All are listed by `eventstore dlq list`."""

OnParked = Callable[[Delivery, Failure, int], None]
"""Is told of an event that is about to be parked, by which failure, and after how many calls of its handler."""
logger = structlog.get_logger(__name__)


class ParkedLines:
    """Of one group. `clock` gives seconds that never go back."""

    def __init__(self, group: str, clock: Callable[[], float]) -> None:
        self._group, self._clock = group, clock
        self._second_ends_at = 0.0
        self._told = self._left_out = 0

    def tell(self, event: Delivery, failure: Failure, attempts: int) -> None:
        """An event was parked after so many calls of its handler."""
        self.tell_rest()
        if self._clock() >= self._second_ends_at:
            self._second_ends_at, self._told = self._clock() + 1.0, 0
        if self._told == MOST_PER_SECOND:
            self._left_out += 1
            return
        self._told += 1
        logger.warning(
            "event_parked",
            group=self._group,
            at=f"{event.stream}@{event.version}",
            type=event.type,
            error=failure.in_line,
            attempts=attempts,
            remedy=f"eventstore dlq show {self._group} {quote(event.stream)}",
        )

    def tell_rest(self, *, at_once: bool = False) -> None:
        """How many were left out, when their second is over or `at_once`. To be called now and then."""
        if self._left_out and (at_once or self._clock() >= self._second_ends_at):
            logger.warning(
                "more_events_parked",
                group=self._group,
                events=self._left_out,
                remedy=f"eventstore dlq list {self._group}",
            )
            self._left_out = 0
