"""How often the handlers of a group may be called, such as "20/s" for an API that allows no more."""

import re

from msgspec import Struct

from consumers.checks import refused

_WRITTEN = re.compile(r"(?P<calls>[1-9][0-9]{0,8})\s*/\s*(?P<unit>s|m|h)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600}


class Rate(Struct, frozen=True):
    """So many calls in so many seconds, by all members of the group together."""

    calls: int
    per_seconds: int


def per_second(calls: float) -> Rate:
    """A rate that was given as a number, of which one below 1 is less than one call in a second."""
    return Rate(max(round(calls * 3_600), 1), 3_600)


def parse_rate(text: str) -> Rate:
    """Of `20/s`, `100/m` or `1000/h`. Raises InvalidConsumer."""
    written = _WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if written is None:
        raise refused("rate", text, "", "calls per second, minute or hour: 20/s, 100/m, 1000/h")
    return Rate(int(written["calls"]), _SECONDS[written["unit"]])
