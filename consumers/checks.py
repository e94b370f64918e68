"""What is given to a consumer or a policy, looked at where it comes in: InvalidConsumer says what to give instead."""

import math

from consumers.errors import InvalidConsumer
from infrastructure.durations import LONGEST_SECONDS, format_duration, parse_duration


def duration(name: str, value: str | float, *, shortest: float = 0.0) -> float:
    """Seconds, of a duration as it is written ("200ms") or of a number of them."""
    try:
        seconds = parse_duration(value) if isinstance(value, str) else number(name, value)
    except ValueError as error:
        raise refused(name, value, str(error), 'such as "200ms", "5s", "2h", or a number of seconds') from error
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise refused(name, value, "out of range", "0 seconds to ten years")
    if seconds < shortest:
        raise refused(name, value, "too little", f"at least {format_duration(shortest)}")
    return seconds


def whole(name: str, value: int, lowest: int, highest: int, remedy: str | None = None) -> int:
    """A whole number within bounds."""
    if type(value) is not int or not lowest <= value <= highest:
        expected = f"a whole number from {lowest:,} to {highest:,}"
        raise refused(name, value, "", f"{expected}; {remedy}" if remedy else expected)
    return value


def fraction(name: str, value: float) -> float:
    """A number from 0 to 1."""
    if not 0 <= number(name, value) <= 1:
        raise refused(name, value, "", "a number from 0 to 1")
    return value


def number(name: str, value: float) -> float:
    """A number that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise refused(name, value, "", "a number")
    return value


def flag(name: str, value: bool) -> bool:
    """True or False: any text would count as true, `"false"` too."""
    if not isinstance(value, bool):
        raise refused(name, value, "", "True or False")
    return value


def refused(name: str, value: object, why: str, remedy: str) -> InvalidConsumer:
    what = repr(value) if isinstance(value, str | int | float | None) else f"of type {type(value).__name__}"
    return InvalidConsumer(f"{name} is {what[:80]}{f' ({why})' if why else ''}", field=name, remedy=remedy)
