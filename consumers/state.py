"""What is stored of a group in one partition, and the calls that change it (PROTOCOLS.md sections 1 to 4).

    offset   the place up to which the main pass has finished everything that has no row
    row      a stream that left the main pass: all below `next` is finished, from `next` on only its own lane delivers
    fin      "finished before, up to this position": an event at or below it is a replay. The group's holds for streams
             without a row, a row's for its stream
    mute     replays are passed over without a call: a replay was cancelled

Finished is an event, by this state alone: its stream has a row and its version is below `next`, or it has none and its
position is not above the offset.
"""

import enum
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from eventstore.cursor import Place
from eventstore.errors import LogDamaged

OrderKind = Literal["retry", "discard"]


class RowState(enum.Enum):
    """Of the version `next` of a detached stream."""

    CLEAN = "c"
    RETRYING = "r"
    PARKED = "p"


class Row(Struct, frozen=True):
    """A detached stream. `attempts` and `due_ms` (the server's clock) are those of `next`, 0 if it has not failed.
    `pending` is the id of its entry, under which the group's pending list shows the failure; empty for a clean row."""

    next: int
    state: RowState = RowState.CLEAN
    attempts: int = 0
    due_ms: int = 0
    fin: int = 0
    pending: str = ""

    def pack(self) -> str:
        return f"{self.next} {self.state.value} {self.attempts} {self.due_ms} {self.fin} {self.pending or '-'}"

    @classmethod
    def parse(cls, text: str | bytes) -> "Row":
        """Raises LogDamaged for what is no row of ours."""
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        try:
            number, state, attempts, due_ms, fin, pending = plain.split(" ")
            kept = "" if pending == "-" else pending
            return cls(int(number), RowState(state), int(attempts), int(due_ms), int(fin), kept)
        except ValueError as error:
            raise LogDamaged(f"a detached stream of a group has the row {plain[:80]!r}") from error


def due_now(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Of a replay that was cancelled: nothing of it is worth waiting for, it is only passed over."""
    return {stream: replace(row, due_ms=0) if _fails_as_replay(row) else row for stream, row in rows.items()}


def _fails_as_replay(row: Row) -> bool:
    return row.state is RowState.RETRYING and int(row.pending.partition("-")[2] or 0) <= row.fin


class Token(Struct, frozen=True):
    """Who holds a lease. Every script compares it with what is stored; no two leases of a group in a partition have
    the same term, which is also the fencing token of what lies outside of Redis. It holds in one epoch of the log."""

    owner: str
    term: int
    epoch: int


class Order(Struct, frozen=True):
    """What an operator wants done with one version of a stream. It is carried out between two handlings of it."""

    id: str
    kind: OrderKind
    stream: str
    version: int


class Outgoing(Struct, frozen=True):
    """An event that a handler returned, on its way to its partition. `packed` is what append.lua stores behind the
    version; `recorded_at` of the cause, microseconds; `letter` of its priority (. N H C as in append.lua)."""

    partition: int
    stream: str
    packed: bytes
    cause_recorded_at: int
    letter: str


class Effect(Struct, frozen=True):
    """A command on a key of the partition's slot, which the commit runs when it finishes the event. Of a projection
    whose truth lies elsewhere: a change of its rows, and `key` the table."""

    command: str
    key: str
    args: tuple[Any, ...] = ()


class Stored(Struct, frozen=True):
    """All that is stored, as seen by who has just taken the lease. `epoch` is the one that the lease numbers in;
    `head`, `epochs` and `largest` are the partition's last position, its chain of epochs and the bytes of its largest
    event (None: not known); `bell` is the id of the last entry of the group's bell; `replay` is what the last
    replay wants (scope.py), empty if there was none; `lapsed` is how many holders in a row have let their time pass, as
    one does that dies."""

    term: int
    epoch: int
    offset: Place
    fin: int
    mute: bool
    paused: str
    rows: dict[str, Row]
    orders: tuple[Order, ...]
    now_ms: int
    head: int
    epochs: bytes
    largest: int | None
    bell: str = "0-0"
    replay: str = ""
    lapsed: int = 0

    def token(self, owner: str) -> Token:
        """The token of whoever has taken this lease."""
        return Token(owner, self.term, self.epoch)


class Commit(Struct, frozen=True):
    """One call of the commit script. `rows` are those that changed and those that may re-attach; `failures` say why a
    row is retrying or parked; `taken` are the orders carried out by these rows (False: it came too late)."""

    token: Token
    number: int
    offset: Place
    rows: Mapping[str, Row] = field(default_factory=dict)
    failures: Mapping[str, bytes] = field(default_factory=dict)
    taken: Mapping[str, bool] = field(default_factory=dict)
    out: tuple[Outgoing, ...] = ()
    effects: tuple[Effect, ...] = ()


class Rewind(Struct, frozen=True):
    """What a replay, a skip or a cancel makes of a group in one partition; `rows` are those that change (None: the
    stream has none any more), `replay` is kept for who takes the lease next (scope.py). The lease ends with it: nobody
    goes on from what was before."""

    token: Token
    offset: Place
    fin: int
    mute: bool = False
    rows: Mapping[str, Row | None] = field(default_factory=dict)
    replay: str = ""


class Committed(Struct, frozen=True):
    """The answer. `gone` are the sent rows that have re-attached, `orders` those that wait to be carried out."""

    gone: frozenset[str]
    orders: tuple[Order, ...]
    fin: int
    paused: str
    now_ms: int
    head: int
    largest: int | None
