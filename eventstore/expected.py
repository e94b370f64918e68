"""What the caller expects of the stream before an append."""

import enum

from eventstore.errors import InvalidRequest


class Expected(enum.Enum):
    """ANY takes the stream as it is; EXISTS wants at least one event; a number wants exactly that version (0: new)."""

    ANY = "any"
    EXISTS = "exists"


ExpectedVersion = Expected | int
MAX_VERSION = 2**48 - 1


def checked(expected: ExpectedVersion, field: str = "expected") -> ExpectedVersion:
    if isinstance(expected, Expected):
        return expected
    if isinstance(expected, bool) or not isinstance(expected, int) or not 0 <= expected <= MAX_VERSION:
        raise InvalidRequest(
            f"expected version {expected!r} is not a version",
            field=field,
            remedy="give Expected.ANY, Expected.EXISTS, 0 for a new stream, or the version last seen",
        )
    return expected


def parse(text: str) -> ExpectedVersion:
    """`any`, `exists` or a number, as the command line and HTTP spell it."""
    if text in {"any", "exists"}:
        return Expected(text)
    if text.isascii() and text.isdigit():
        return checked(int(text))
    raise InvalidRequest(f"{text!r} is not any, exists or a version", field="expected", remedy="e.g. --expected 3")
