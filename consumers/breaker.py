"""The breaker of a group in one member: in an outage everything fails, and parking everything would help nobody.

    closed    failures count                20 in a row, of 10 streams or more, no success between -> open
    open      nothing is taken              its pause is over -> one event probes
    probing   one event is being handled    it succeeds -> closed; it fails -> open, its pause twice as long, to 60 s

While it is open no failure counts: the event is put aside, with as many attempts as before. What was being handled when
it opened may still succeed, which closes it.
"""

from collections.abc import Callable

import structlog

FAILURES = 20
STREAMS = 10
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0

logger = structlog.get_logger(__name__)


class Breaker:
    """`clock` gives seconds that never go back."""

    def __init__(self, group: str, clock: Callable[[], float]) -> None:
        self.is_open = False
        self.failures = 0
        """In a row; also while it is open."""
        self._group, self._clock = group, clock
        self._streams: set[str] = set()
        self._pause = FIRST_PAUSE_SECONDS
        self._opened_at = self._probe_at = 0.0
        self._is_probing = False

    @property
    def may_take(self) -> bool:
        """Whether an event may be taken now: any, or the one that probes."""
        return not self.is_open or (not self._is_probing and self._clock() >= self._probe_at)

    def taken(self) -> None:
        """An event was taken."""
        if self.is_open:
            self._is_probing = True

    def given_up(self) -> None:
        """An event that was taken has no outcome: it was interrupted."""
        self._is_probing = False

    def succeeded(self) -> None:
        if self.is_open:
            logger.warning("breaker_closed", group=self._group, seconds=round(self._clock() - self._opened_at, 1))
        self.is_open = self._is_probing = False
        self.failures, self._pause = 0, FIRST_PAUSE_SECONDS
        self._streams.clear()

    def failed(self, stream: str) -> bool:
        """Whether the failure counts."""
        if self.is_open:
            self._open(min(2 * self._pause, LONGEST_PAUSE_SECONDS) if self._is_probing else self._pause)
            return False
        self.failures += 1
        if len(self._streams) < STREAMS:
            self._streams.add(stream)
        if self.failures >= FAILURES and len(self._streams) >= STREAMS:
            self._opened_at = self._clock()
            logger.error("breaker_open", group=self._group, failures=self.failures, remedy="it closes by itself")
            self._open(FIRST_PAUSE_SECONDS)
        return True

    def _open(self, pause: float) -> None:
        self.is_open, self._pause = True, pause
        self._probe_at = self._clock() + pause
        self._is_probing = False
