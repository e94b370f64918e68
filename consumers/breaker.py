"""The breaker of a group in one member: in an outage everything fails, and parking everything would help nobody.

    closed    failures count                20 in a row, of 10 streams or more, no success between -> open
    open      nothing is taken              its pause is over -> one event probes
    probing   one event is being handled    it succeeds -> closed; it fails -> open, its pause twice as long, to 60 s

An event that had failed before another one succeeded is poison, whatever the world does: its failures open nothing. And
for a moment only an event that has not failed before may probe, for one that is poison would say nothing of the world.

While it is open no failure counts: the event is put aside, with as many attempts as before. What was being handled when
it opened may still succeed, which closes it.
"""

from collections.abc import Callable
from uuid import UUID

import structlog

from consumers.failure import Failure

FAILURES = 20
STREAMS = 10
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
CHOOSY_SECONDS = 0.3
"""For so long only an event that has not failed before may probe: every partition has been asked for one by then."""
MOST_FAILED = 10_000

logger = structlog.get_logger(__name__)


class Breaker:
    """`clock` gives seconds that never go back."""

    def __init__(self, group: str, clock: Callable[[], float]) -> None:
        self.is_open = False
        self.failures = 0
        """In a row; also while it is open."""
        self.error = ""
        """What the last failure was that opened it, or kept it open; empty while it is closed."""
        self.succeeded_at = clock()
        """When what succeeded last began, or as if it had when this member began: what had failed by then tells
        nothing. Set for every event, by whoever has no more to say of it."""
        self._group, self._clock = group, clock
        self._streams: set[str] = set()
        self._failed: set[UUID] = set()  # events that have failed while it was open
        self._pause = FIRST_PAUSE_SECONDS
        self._opened_at = self._probe_at = 0.0
        self._is_probing = False

    @property
    def may_take(self) -> bool:
        """Whether an event may be taken now: any, or the one that probes."""
        return not self.is_open or (not self._is_probing and self._clock() >= self._probe_at)

    def is_choosy(self, event_id: UUID, *, is_failing: bool) -> bool:
        """Whether an event had better not probe yet."""
        is_early = self.is_open and self._clock() < self._probe_at + CHOOSY_SECONDS
        return is_early and (is_failing or event_id in self._failed)

    def taken(self) -> None:
        """An event was taken."""
        if self.is_open:
            self._is_probing = True

    def given_up(self) -> None:
        """An event that was taken has no outcome: it was interrupted, or its handler was not called."""
        self._is_probing = False

    def succeeded(self) -> None:
        if self.is_open:
            logger.warning("breaker_closed", group=self._group, seconds=round(self._clock() - self._opened_at, 1))
        self.is_open = self._is_probing = False
        self.failures, self._pause = 0, FIRST_PAUSE_SECONDS
        self.succeeded_at, self.error = self._clock(), ""
        self._streams.clear()
        self._failed.clear()

    def failed(self, stream: str, failure: Failure) -> bool:
        """Whether the failure counts."""
        if self.is_open:
            self._failed_again(failure)
            return False
        if self._is_poison(failure):
            return True
        self.failures += 1
        if len(self._streams) < STREAMS:
            self._streams.add(stream)
        if self.failures >= FAILURES and len(self._streams) >= STREAMS:
            self._opened_at = self._clock()
            self.error = failure.in_line
            logger.error(
                "breaker_open",
                group=self._group,
                failures=self.failures,
                error=self.error,
                remedy="it closes by itself, when an event succeeds",
            )
            self._open(FIRST_PAUSE_SECONDS)
        return True

    def _is_poison(self, failure: Failure) -> bool:
        """By ages, for another member may have noted when it failed first, and its clock may go back."""
        age_seconds = max(failure.failed_us - failure.first_failed_us, 0) / 1e6
        return self._clock() - age_seconds < self.succeeded_at

    def _failed_again(self, failure: Failure) -> None:
        if len(self._failed) < MOST_FAILED:
            self._failed.add(failure.event_id)
        pause = self._pause
        if self._is_probing:
            pause, self.error = min(2 * pause, LONGEST_PAUSE_SECONDS), failure.in_line
            seconds = round(self._clock() - self._opened_at, 1)
            logger.warning("breaker_stays_open", group=self._group, seconds=seconds, next_in=pause, error=self.error)
        self._open(pause)

    def _open(self, pause: float) -> None:
        self.is_open, self._pause = True, pause
        self._probe_at = self._clock() + pause
        self._is_probing = False
