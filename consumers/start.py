"""Where a group begins that is new: at the first event, behind the last, or at a time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from consumers.checks import refused
from infrastructure.durations import parse_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPECTED = 'earliest, latest, a time in RFC 3339 (2026-11-23T08:00:00Z), or "-15m" for 15 minutes ago'


class Start(Struct, frozen=True):
    """One of the ends of the log; or a time: `time_us` (since 1970), or `ago_seconds` before the group is made."""

    end: Literal["earliest", "latest"] | None
    time_us: int | None = None
    ago_seconds: float = 0.0

    def time(self, now_us: int) -> int:
        """Microseconds since 1970, for a start at a time: events recorded before it are not handled."""
        return max(now_us - round(self.ago_seconds * 1e6), 0) if self.time_us is None else self.time_us


def parse_start(text: str) -> Start:
    """Raises InvalidConsumer."""
    match text:
        case "earliest" | "latest":
            return Start(text)
        case str() if text.startswith("-"):
            return Start(None, ago_seconds=_ago(text))
    try:
        moment = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
    except msgspec.ValidationError as error:
        raise refused("start", text, "", _EXPECTED) from error
    return Start(None, max((moment - _EPOCH) // timedelta(microseconds=1), 0))


def _ago(text: str) -> float:
    try:
        return parse_duration(text[1:])
    except ValueError as error:
        raise refused("start", text, str(error), _EXPECTED) from error
