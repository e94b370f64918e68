"""Why an event failed: what operators are shown of a dead letter, and of a stream that waits for its next attempt."""

import traceback
from collections.abc import Iterator
from types import TracebackType
from uuid import UUID

import msgspec
from msgspec import Struct

from eventstore.errors import LogDamaged

MOST_MESSAGE = 2_000
MOST_TRACEBACK = 8_000
MOST_NAME = 200
MOST_IN_LINE = 300
_CALLERS = ("consumers", "anyio")
_encode = msgspec.json.Encoder().encode


class Failure(Struct, frozen=True, kw_only=True):
    """Of the last attempt. `where` is the handler's own line ("charge.py:31"), empty if it was never called; times are
    microseconds since 1970, by the clock of the member."""

    type: str
    message: str
    traceback: str
    where: str
    event_type: str
    event_id: UUID
    correlation_id: str | None
    version: int
    position: int
    first_failed_us: int
    failed_us: int
    parked: bool
    member: str

    def pack(self) -> bytes:
        """JSON."""
        return _encode(self)

    @property
    def in_line(self) -> str:
        """What it was and where, for a line of a log."""
        place = f" at {self.where}" if self.where else ""
        return f"{self.type}: {' '.join(self.message.split())[:MOST_IN_LINE]}{place}"

    @classmethod
    def parse(cls, packed: bytes) -> "Failure":
        """Raises LogDamaged for what is no failure of ours."""
        try:
            return _decode(packed)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LogDamaged(f"a failure of a group is stored as {packed[:80]!r}") from error


_decode = msgspec.json.Decoder(Failure).decode


def cause_of(error: BaseException) -> BaseException:
    """The one exception in a group of one: what a handler raised within a task group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def told(error: BaseException) -> tuple[str, str, str]:
    """Its class, what it says, and its traceback from the handler on: of bounded length, and surely text."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception as another:  # noqa: BLE001 - the user's exception is asked, and may raise anything
        said = f"its text cannot be had: {type(another).__name__}"
    lines = traceback.format_exception(type(error), error, _from_handler(error.__traceback__))
    return _text(name, MOST_NAME), _text(said, MOST_MESSAGE), _text("".join(lines), MOST_TRACEBACK, keep_end=True)


def place_of(error: BaseException, file: str) -> str:
    """The innermost line in the handler's file that the error came through; without one, the innermost of all."""
    places = [place for each in _chain(error) for place in traceback.walk_tb(each.__traceback__)]
    of_handler = [(frame, line) for frame, line in places if frame.f_code.co_filename == file]
    if not places:
        return ""
    frame, line = (of_handler or places)[-1]
    name = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return _text(f"{name}:{line}", MOST_NAME)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What caused it first, so that the error's own lines come last."""
    if error.__cause__ is not None and error.__cause__ is not error:
        yield error.__cause__
    yield error


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    """Without the lines of this package, which call every handler."""
    first = trace
    while first is not None and first.tb_frame.f_globals.get("__name__", "").partition(".")[0] in (
        "consumers",
        "anyio",
    ):
        first = first.tb_next
    return first or trace


def _text(text: str, most: int, *, keep_end: bool = False) -> str:
    """A lone surrogate is in no JSON."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= most:
        return text
    return f"[...]{text[5 - most :]}" if keep_end else f"{text[: most - 5]}[...]"
