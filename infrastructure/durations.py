"""Durations as people write them: `200ms`, `90s`, `15m`, `2h`, `7d`."""

import re

LONGEST_SECONDS = 3650 * 86_400.0

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_WRITTEN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|[smhd])?")


def parse_duration(text: str) -> float:
    """Seconds in `200ms`, `90s`, `15m`, `2h`, `7d`, or in a plain number of seconds. Raises ValueError."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ValueError("not a duration")
    seconds = float(written["number"]) * _UNITS_MS[written["unit"] or "s"] / 1_000
    if seconds > LONGEST_SECONDS:
        raise ValueError("longer than ten years")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back; `90s`, but `15m`."""
    ms = round(seconds * 1_000)
    if ms == 0 or ms / 1_000 != seconds:
        return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
    unit = next(unit for unit, size in _UNITS_MS.items() if ms % size == 0)
    return f"{ms // _UNITS_MS[unit]}{unit}"
