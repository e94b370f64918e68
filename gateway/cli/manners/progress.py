"""How far long work is, on stderr: a bar on a terminal, else a line each 10 s; nothing for work under 1 s."""

import shutil
import sys
import time
from collections.abc import Callable

from gateway.cli.manners.text import cut
from gateway.moments import spell_duration

FIRST_SECONDS = 1.0
BAR_SECONDS, LINE_SECONDS = 0.1, 10.0
_CELLS = 24


class Progress:
    """One piece of work. `show` may be called as often as you like."""

    def __init__(self, what: str, *, enabled: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._enabled, self._clock = what, enabled, clock
        self._bar = enabled and sys.stderr.isatty()
        self._started = clock()
        self._next = self._started + (FIRST_SECONDS if self._bar else LINE_SECONDS)
        self._from: int | None = None
        self._drawn = False

    def show(self, done: int, total: int | None) -> None:
        """`done` of `total`, which is None where nobody knows it."""
        if self._from is None:
            self._from = done  # what an earlier run did is no part of this run's rate
        now = self._clock()
        if not self._enabled or now < self._next:
            return
        self._next = now + (BAR_SECONDS if self._bar else LINE_SECONDS)
        text = self._text(done, total, now)
        if self._bar:
            sys.stderr.write("\r\x1b[K" + cut(text, shutil.get_terminal_size().columns - 1))
            sys.stderr.flush()
            self._drawn = True
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the bar away, so that a line can be written; the next `show` draws it again."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False

    def _text(self, done: int, total: int | None, now: float) -> str:
        rate = (done - (self._from or 0)) / max(now - self._started, 1e-6)
        parts = [self._what]
        if total:
            share = min(done / total, 1.0)
            if self._bar:
                full = int(share * _CELLS)
                parts.append(f"[{'#' * full}{'.' * (_CELLS - full)}]")
            parts.append(f"{done:,}/{total:,}")
            parts.append(f"{share:.0%}")
        else:
            parts.append(f"{done:,}")
        parts.append(f"{rate:,.0f}/s")
        if total and rate > 0 and done < total:
            parts.append(f"ETA {spell_duration((total - done) / rate)}")
        return "  ".join(parts)
