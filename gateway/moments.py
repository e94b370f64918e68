"""Moments and durations as people give them and as they are shown to them."""

import re
import time
from datetime import UTC, datetime, timedelta

from gateway.errors import BadRequest
from infrastructure.durations import parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_LAST = 2**53 - 1
EXPECTED = "RFC 3339 with a zone (2026-11-23T08:00:00Z), epoch microseconds, or -15m for 15 minutes ago"
EXPECTED_AHEAD = "RFC 3339 with a zone (2026-11-23T08:00:00Z), or epoch microseconds"
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def now_us() -> int:
    return time.time_ns() // 1_000


def parse_moment(text: str, *, field: str, now: int | None = None) -> int:
    """Microseconds since 1970 of RFC 3339, of epoch microseconds, or of a duration before now (`-15m`)."""
    if text.isascii() and text.isdigit() and int(text) <= _LAST:
        return int(text)
    if text.startswith("-"):
        return max((now_us() if now is None else now) - round(seconds_of(text[1:], field=field) * 1e6), 0)
    written = _RFC3339.fullmatch(text)
    if written is None:
        raise BadRequest(f"{text!r} is not a time", field=field, remedy=EXPECTED)
    day, minute, second, fraction, zone = written.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{zone.upper().replace('Z', '+00:00')}")
        whole = (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{text!r} is not a time: {error}", field=field, remedy=EXPECTED) from error
    return max(whole + int((fraction or "0").ljust(6, "0")[:6]), 0)


def seconds_of(text: str, *, field: str) -> float:
    """Seconds in `200ms`, `90s`, `15m`, `7d`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"{text!r}: {error}", field=field, remedy="such as 200ms, 90s, 15m, 2h, 7d") from error


def spell_duration(seconds: float) -> str:
    """`0.4s`, `41s`, `18m 2s`, `2h 14m`, `3d 4h`: two units at most."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit in _STEPS:
        if whole >= size:
            rest = whole % size
            smaller, name = {"d": (3_600, "h"), "h": (60, "m"), "m": (1, "s")}[unit]
            below = f" {rest // smaller}{name}" if rest // smaller else ""
            return f"{whole // size}{unit}{below}"
    return f"{whole}s"


def spell_ago(time_us: int, now: int) -> str:
    """`now`, `41s ago`, `2h ago`; `in 5s` for a clock that runs ahead."""
    seconds = abs(now - time_us) // 1_000_000
    if seconds == 0:
        return "now"
    size, unit = next(((size, unit) for size, unit in _STEPS if seconds >= size), (1, "s"))
    amount = f"{seconds // size}{unit}"
    return f"{amount} ago" if now > time_us else f"in {amount}"
