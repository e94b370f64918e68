"""What may be the name of a stream, a group or an event type."""

import re
from collections.abc import Iterable

from eventstore.errors import InvalidRequest

MAX_STREAM_BYTES = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def stream_name(name: str) -> str:
    """The name, if a stream may be called so: UTF-8 of 1 to 512 bytes without control characters."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise _refused(name, "is not valid UTF-8") from error
    except AttributeError as error:
        raise _refused(name, "is not a string") from error
    if not 1 <= size <= MAX_STREAM_BYTES:
        raise _refused(name, f"has {size} bytes")
    if _CONTROL.search(name):
        raise _refused(name, "has control characters")
    return name


def publishable(name: str) -> str:
    """The name, if a publisher may append to that stream: names that begin with `$` are the system's own."""
    if stream_name(name).startswith("$"):
        raise InvalidRequest(
            f"stream {name!r} is a system stream", field="stream", remedy="choose a name that does not begin with $"
        )
    return name


def plain_name(name: str, what: str) -> str:
    """The name of a group, saga, projection or event type."""
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise InvalidRequest(f"{what} {name!r} is not usable", field=what, remedy="use letters, digits, _ . and -")
    return name


def category_of(stream: str) -> str:
    """The name up to the first hyphen."""
    return stream.partition("-")[0]


def in_categories(stream: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a stream is of one of the categories whose `prefixes_of` these are."""
    return f"{stream}-".startswith(prefixes)


def prefixes_of(categories: Iterable[str]) -> tuple[str, ...]:
    """For `in_categories`. A category may have hyphens here: `saga-ingestion` is that of `saga-ingestion-...`."""
    return tuple(f"{each}-" for each in categories)


def _refused(name: object, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"stream name {str(name)[:60]!a} {why}",
        field="stream",
        remedy=f"use 1 to {MAX_STREAM_BYTES} bytes of UTF-8 without control characters",
    )
