"""Keeps the calls of a group's handlers within its rate, evenly spread (the generic cell rate algorithm, ITU-T I.371).

Members do not talk about it: each has the share of the rate that it has of the partitions. So the group never calls
more often than it may, and somewhat less often while one member's partitions have all the events.
"""

from collections.abc import Callable

import anyio

from consumers.rate import Rate

CATCH_UP_SECONDS = 0.1


class Pace:
    """`share` is the part of the partitions that this member holds just now, above 0; `clock` gives seconds that never
    go back."""

    def __init__(self, rate: Rate, share: Callable[[], float], clock: Callable[[], float] = anyio.current_time) -> None:
        self._rate, self._share, self._clock = rate, share, clock
        self._next_at = 0.0

    async def turn(self) -> float:
        """Returns when one call may be made, with what gives the turn back."""
        at = max(self._next_at, self._clock())
        self._next_at = following = at + self._seconds
        try:
            await anyio.sleep(max(at - self._clock(), 0))
        except BaseException:
            self.give_back(following)
            raise
        return following

    def now_or_later(self) -> bool:
        """True if a call may be made now, which is used up by that. Who asks now and then, and not when it is time, may
        make good for what was missed in the last tenth of a second."""
        now = self._clock()
        at = max(self._next_at, now - CATCH_UP_SECONDS)
        if at > now:
            return False
        self._next_at = at + self._seconds
        return True

    def give_back(self, turn: float) -> None:
        """The call is not made after all. Who has asked since keeps waiting for a turn that lies behind this one, or it
        would come together with the next."""
        if turn == self._next_at:
            self._next_at -= self._seconds

    @property
    def _seconds(self) -> float:
        """Between two calls."""
        return self._rate.per_seconds / (self._rate.calls * max(self._share(), 1e-6))
