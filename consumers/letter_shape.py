"""How a dead letter is shown, which of them are meant, and what all of them are together."""

from typing import Any, Literal

from msgspec import Struct

from consumers.failure import Failure
from consumers.state import Row, RowState
from eventstore.arguments import may_be, not_empty
from eventstore.names import category_of
from eventstore.wire import Envelope, rfc3339

LetterState = Literal["parked", "retrying"]


class Where(Struct, frozen=True):
    """Which letters are meant; all that is given must hold. `error` is the class of the exception, `type` that of the
    event, `category` the stream's name up to the first hyphen, `prefix` any beginning of it. `older_than_seconds`
    counts from when it was parked; what is still retrying was not."""

    error: str | None = None
    type: str | None = None
    category: str | None = None
    prefix: str | None = None
    older_than_seconds: float | None = None

    def __post_init__(self) -> None:
        texts = {"error": self.error, "type": self.type, "category": self.category, "prefix": self.prefix}
        may_be(str, "text, or leave it out", **texts)
        not_empty(**texts)

    def may_match(self, stream: str) -> bool:
        """What the name alone tells."""
        return (self.prefix is None or stream.startswith(self.prefix)) and (
            self.category is None or category_of(stream) == self.category
        )

    def matches(self, letter: "Letter") -> bool:
        age = letter.parked_seconds
        return (
            self.may_match(letter.stream)
            and (self.error is None or letter.error == self.error)
            and (self.type is None or letter.type == self.type)
            and (self.older_than_seconds is None or (age is not None and age >= self.older_than_seconds))
        )


class LetterShape(Struct, frozen=True):
    """An event that fails, at most one of a stream in a group; `waiting` events of the stream are behind it. Parked, it
    waits for an operator since `parked_at`; retrying, for its next attempt at `due_at`. `where` is the line of the
    handler."""

    group: str
    stream: str
    version: int
    partition: int
    state: LetterState
    type: str
    event_id: str | None
    correlation_id: str | None
    attempts: int
    waiting: int
    error: str
    message: str
    where: str
    member: str
    first_failed_at: str | None
    failed_at: str | None
    parked_at: str | None
    due_at: str | None


class LetterDetail(LetterShape, frozen=True, kw_only=True):
    """And the last attempt's traceback, and the first of the stream's events that are not handled, in order of version:
    the letter itself, and those behind it."""

    traceback: str
    events: tuple[Envelope, ...]


class Share(Struct, frozen=True):
    """`parked` letters, the oldest parked so long ago; `waiting` events behind them; `retrying` streams beside them."""

    parked: int
    waiting: int
    retrying: int
    oldest_seconds: float | None


class LetterStats(Share, frozen=True, kw_only=True):
    """All, and by group, by type of the event and by class of the exception."""

    by_group: dict[str, Share]
    by_type: dict[str, Share]
    by_error: dict[str, Share]


class Letter(Struct, frozen=True):
    """A row that fails, and why; `stream_version` and the time are those of the same moment."""

    group: str
    stream: str
    partition: int
    row: Row
    failure: Failure | None
    stream_version: int
    now_us: int

    @property
    def is_parked(self) -> bool:
        return self.row.state is RowState.PARKED

    @property
    def version(self) -> int:
        return self.row.next

    @property
    def type(self) -> str:
        return self.failure.event_type if self.failure else "unknown"

    @property
    def error(self) -> str:
        return self.failure.type if self.failure else "unknown"

    @property
    def waiting(self) -> int:
        """Events of the stream behind this one."""
        return max(self.stream_version - self.row.next, 0)

    @property
    def parked_seconds(self) -> float | None:
        if not self.is_parked or self.failure is None:
            return None
        return max(self.now_us - self.failure.failed_us, 0) / 1e6

    def shape(self) -> LetterShape:
        return LetterShape(**self._told())

    def detail(self, events: tuple[Envelope, ...]) -> LetterDetail:
        return LetterDetail(**self._told(), traceback=self.failure.traceback if self.failure else "", events=events)

    def _told(self) -> dict[str, Any]:
        failure, row = self.failure, self.row
        failed_at = None if failure is None else rfc3339(failure.failed_us)
        return {
            "group": self.group,
            "stream": self.stream,
            "version": row.next,
            "partition": self.partition,
            "state": "parked" if self.is_parked else "retrying",
            "type": self.type,
            "event_id": None if failure is None else str(failure.event_id),
            "correlation_id": None if failure is None else failure.correlation_id,
            "attempts": row.attempts,
            "waiting": self.waiting,
            "error": self.error,
            "message": "why it fails is not stored" if failure is None else failure.message,
            "where": "" if failure is None else failure.where,
            "member": "" if failure is None else failure.member,
            "first_failed_at": None if failure is None else rfc3339(failure.first_failed_us),
            "failed_at": failed_at,
            "parked_at": failed_at if self.is_parked else None,
            "due_at": None if self.is_parked else rfc3339(row.due_ms * 1_000 or self.now_us),
        }
