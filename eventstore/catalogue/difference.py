"""One thing that differs between two schemas."""

from msgspec import Struct


class Difference(Struct, frozen=True):
    """`path` is the field, such as `lines[].price`; empty for the type itself. Whoever reads what was stored before
    meets an error, or misses something, if it is `breaking`."""

    path: str
    rule: str
    detail: str
    breaking: bool


def breaks(path: str, rule: str, detail: str) -> Difference:
    return Difference(path.removeprefix("."), rule, detail, breaking=True)


def note(path: str, rule: str, detail: str) -> Difference:
    return Difference(path.removeprefix("."), rule, detail, breaking=False)


def tighter(path: str, what: str, bound: object) -> Difference:
    return breaks(path, "constraint", f"now it must be {what} {bound!r}, and stored events may hold others")


GONE = breaks("", "type-changed", "")
"""Said of one of several alternatives; the field's whole types are told instead."""
