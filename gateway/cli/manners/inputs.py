"""Arguments that several commands take, from text to value."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway.errors import BadRequest

if TYPE_CHECKING:
    from msgspec import Struct


def read_file(path: str, *, field: str, remedy: str | None = None) -> bytes:
    """The bytes of a file, or of stdin for `-`. `remedy` is for a file that is not there."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        there = not isinstance(error, FileNotFoundError)
        remedy = "name a file that you may read" if there else remedy
        raise BadRequest(f"{path} cannot be read: {error.strerror}", field=field, remedy=remedy) from error


def parse_headers(pairs: list[str] | None) -> dict[str, str]:
    """`K=V`, several times."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        name, given, value = pair.partition("=")
        if not given or not name:
            raise BadRequest(f"{pair!r} is not K=V", field="--header", remedy="such as --header tenant=acme")
        if name in found:
            raise BadRequest(f"header {name!r} is given twice", field="--header", remedy="give it once")
        found[name] = value
    return found


def types_of(module: str | None) -> "list[type[Struct]]":
    """The event types that a module defines: its Structs. A path of a module as in `import`."""
    if module is None:
        return []
    from gateway.modules import event_types_of

    return event_types_of(module)


def positive(number: int | None, *, field: str) -> int | None:
    """A count that was given must be at least 1."""
    if number is not None and number < 1:
        raise BadRequest(f"{number} is not a count", field=field, remedy="a whole number from 1")
    return number


def uuid_of(text: str, *, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise BadRequest(f"{text!r} is not a UUID", field=field, remedy="such as one that uuidgen prints") from error


def as_data(text: str) -> Any:
    """DATA: JSON, or `-` for JSON from stdin."""
    from eventstore.errors import InvalidEvent
    from eventstore.wire import strict_json

    no_option(text)
    try:
        return strict_json(read_file("-", field="DATA") if text == "-" else text)
    except InvalidEvent as error:
        remedy = error.remedy or "single quotes around, double quotes within: '{\"total\": 99}'; or - reads stdin"
        raise InvalidEvent(error.detail, field="data", remedy=remedy) from error


def no_option(text: str) -> None:
    """An argument that may begin with a hyphen takes a misspelt flag as well: it is not meant."""
    if text.startswith("-") and text != "-" and not text[1:2].isdigit():
        raise BadRequest(f"there is no flag {text.partition('=')[0]} here", field=text, remedy="see --help")
