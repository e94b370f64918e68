"""Which events were handled, how often, and from when on: the same for all contestants."""

import time
from collections.abc import Sequence

import anyio
from msgspec import Struct

from benchmarks.contender import Meter
from benchmarks.measure import CountWrong, Sample

_LOOK_SECONDS = 0.005
_PATIENCE_SECONDS = 120.0


class Tally:
    """Of events that are numbered from 0. A handler does `tally.began or tally.begin()` and `tally.seen[number] += 1`:
    so little that it is the way there that is measured."""

    def __init__(self, events: int) -> None:
        self.seen = bytearray(events)
        self.began = 0.0
        self._cpu_seconds = 0.0

    def begin(self) -> None:
        """The first event is handled: what is made ready before does not count."""
        self.began, self._cpu_seconds = time.perf_counter(), time.process_time()

    async def all_seen(self, but: int = 0) -> None:
        """Until all events were handled but so many. Raises CountWrong after two minutes in which none was."""
        missing = len(self.seen)
        while missing > but:
            with anyio.move_on_after(_PATIENCE_SECONDS):
                while (now_missing := self.seen.count(0)) == missing:  # noqa: ASYNC110
                    await anyio.sleep(_LOOK_SECONDS)
            if now_missing == missing:
                raise CountWrong(f"{missing} of {len(self.seen)} events were never handled")
            missing = now_missing

    def check(self, what: str, failed: Sequence[int] = ()) -> None:
        """Raises CountWrong unless each event was handled exactly once, and those that `failed` never to the end."""
        wrong = [number for number, times in enumerate(self.seen) if times != (number not in failed)]
        if wrong:
            raise CountWrong(f"{what}: handled another time or never: {len(wrong)} events, the first {wrong[0]}")

    def stopped(self) -> "Span":
        """All is handled and acknowledged."""
        return Span(time.perf_counter() - self.began, time.process_time() - self._cpu_seconds)


class Span(Struct, frozen=True):
    """From the first event handled on."""

    seconds: float
    cpu_seconds: float


async def sampled(meter: Meter, used_before: float, events: int, span: Span) -> Sample:
    return Sample(events, span.seconds, await meter.cpu_seconds() - used_before, span.cpu_seconds)
