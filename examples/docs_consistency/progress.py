"""How far a long piece of work is: a bar on a terminal, else a line each 10 s; silent for work under a second."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_QUIET_SECONDS = 1.0
_BAR_SECONDS = 0.1
_LINE_SECONDS = 10.0
_WIDTH = 24


class Progress:
    """Counts one piece of work. `total` 0: unknown."""

    def __init__(
        self,
        what: str,
        unit: str,
        total: int = 0,
        *,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.unit, self.total, self.done = what, unit, total, 0
        self._out = out or sys.stderr
        self._clock = clock
        self._bar = self._out.isatty()
        self._began = clock()
        self._next = self._began + (_QUIET_SECONDS if self._bar else _LINE_SECONDS)
        self._shown = False

    def advance(self, count: int = 1) -> None:
        self.done += count
        if self._clock() >= self._next:
            self._show()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar and self._shown:
            self._out.write("\r\033[K")
            self._out.flush()

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    def _show(self) -> None:
        self._next = self._clock() + (_BAR_SECONDS if self._bar else _LINE_SECONDS)
        self._shown = True
        line = self._line()
        self._out.write(f"\r{line}\033[K" if self._bar else f"{line}\n")
        self._out.flush()

    def _line(self) -> str:
        rate = self.done / max(self.seconds, 1e-9)
        if not self.total:
            return f"{self.what}  {self.done:,} {self.unit}  {rate:,.0f}/s"
        share = min(1.0, self.done / self.total)
        left = _clock_text((self.total - self.done) / rate) if rate else "?"
        bar = f"[{'#' * int(share * _WIDTH):<{_WIDTH}}] " if self._bar else ""
        return f"{self.what}  {bar}{self.done:,}/{self.total:,} {self.unit}  {share:.0%}  {rate:,.0f}/s  ETA {left}"


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"
