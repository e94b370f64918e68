"""One group in one partition: what contradicts the log, and what contradicts itself.

The hash of the group and its rows are the truth, all else shows them: where both can be told apart, a finding says how
the rest is made anew from them.
"""

from math import inf
from typing import NamedTuple

from consumers.errors import EventStoreError
from consumers.failure import Failure
from consumers.keys import GroupKeys
from consumers.orders import open_orders
from consumers.replay.places import Question, Standing, standings
from consumers.scope import Scope
from consumers.scripted import place
from consumers.state import Row, RowState
from consumers.verify.stored import StoredGroup
from eventstore.epochs import epoch_at, parse
from eventstore.errors import LogDamaged
from eventstore.log import Log
from eventstore.verify import Findings
from infrastructure.patience import replies

FAILURES_AT_ONCE = 100
_NUMBERS = ("term", "until", "number", "epoch")
_SHOWN_AS = {RowState.RETRYING: "retrying", RowState.PARKED: "parked"}


class Part(NamedTuple):
    """What is stored, and who collects what is wrong with it."""

    keys: GroupKeys
    stored: StoredGroup
    findings: Findings

    def say(self, kind: str, invariant: int, what: str, detail: str) -> None:
        """`what` is a stream, a key or a field of the group."""
        self.findings.add(kind, invariant, self.keys.partition, f"group {self.keys.group}, {what}", detail)

    @property
    def anew(self) -> str:
        group = self.keys.group
        return f"restore a backup, or eventstore groups delete {group}, and create it where it shall begin"

    @property
    def mended(self) -> str:
        return f"rows count, this only shows them: XGROUP DESTROY {self.keys.log} {self.keys.group} has it made anew"


async def check_part(log: Log, part: Part) -> None:
    """Nothing, where there is nothing of the group. Raises Unavailable."""
    stored = part.stored
    for key, why in stored.damaged.items():
        part.say("type", 3, key, f"it is not of our making: {why}; {part.anew}")
    if not stored.control:
        return
    for key in stored.missing:
        part.say("missing", 3, key, f"this key of it does not exist: no worker takes the partition; {part.anew}")
    _check_control(part)
    _check_shown_offset(part)
    rows = _rows(part)
    await _check_places(log, part, rows)
    _check_pending(part, rows)
    _check_due(part, rows)
    await _check_failures(log, part, rows)
    _check_orders(part)


# ---- the hash of the group ----


def _check_control(part: Part) -> None:
    control = part.stored.control
    for name in _NUMBERS:
        if not control.get(name, "").isdecimal():
            part.say("control", 3, name, f"it reads {control.get(name)!r}, which is no number; {part.anew}")
    offset, fin = (_check_place(part, name) for name in ("offset", "fin"))
    if offset is not None and fin is not None and fin < offset:
        part.say("control", 3, "fin", f"it had come to {fin} before, and its offset is {offset}; {part.anew}")
    try:
        Scope.parse(control.get("replay", ""))
    except LogDamaged as error:
        part.say("control", 3, "replay", f"{error.detail}; HSET {part.keys.control} replay ''")


def _check_place(part: Part, name: str) -> int | None:
    """The position, if the log has it."""
    stored, text = part.stored, part.stored.control.get(name, "")
    try:
        epoch, position = place(text.encode())
        chain = parse(stored.epochs)
    except (ValueError, LogDamaged):
        part.say("control", 3, name, f"it reads {text!r}, which is no place of a log; {part.anew}")
        return None
    if position > stored.head:
        part.say("control", 3, name, f"it is {text}, and the log ends at {stored.head}; {part.anew}")
        return None
    expected = epoch_at(chain, position) if position else 0
    if epoch != expected:
        part.say("control", 3, name, f"it is {text}, and the log has {expected}-{position}; {part.anew}")
    return position


def _check_shown_offset(part: Part) -> None:
    shown, offset = part.stored.shown, part.stored.control.get("offset", "")
    if shown is None:
        part.say("shown", 3, part.keys.log, "there is no Redis group of its name; a worker makes it at its next commit")
        return
    position = int(offset.rpartition("-")[2]) if offset[-1:].isdecimal() else None
    if (shown.offset, shown.entries_read) != (offset, position):
        said = f"the Redis group says {shown.offset} and {shown.entries_read} read, the offset is {offset}"
        part.say("shown", 3, "offset", f"{said}; a worker mends that at its next commit")


# ---- rows of detached streams ----


def _rows(part: Part) -> dict[str, Row]:
    """Those that can be read."""
    found: dict[str, Row] = {}
    for stream, packed in part.stored.rows.items():
        try:
            found[stream] = Row.parse(packed)
        except LogDamaged as error:
            part.say("row", 6, stream, f"{error.detail}; {part.anew}")
    return found


async def _check_places(log: Log, part: Part, rows: dict[str, Row]) -> None:
    questions = {stream: Question(stream, row.next, part.stored.head) for stream, row in rows.items()}
    try:
        found = await standings(log, part.keys, questions.values())
    except LogDamaged:  # an index that cannot be read: the check of the log tells which
        return
    for stream, row in rows.items():
        if wrong := _misplaced(row, found[questions[stream]], part.stored.head):
            part.say("row", 6, stream, f"{wrong}; {part.anew}")


def _misplaced(row: Row, standing: Standing, head: int) -> str | None:
    if not 1 <= row.next <= standing.first_above:
        return f"its row stands at version {row.next}, and the stream has {standing.first_above - 1}"
    if row.fin > head:
        return f"its row had come to position {row.fin}, and the log ends at {head}"
    if row.state is RowState.CLEAN:
        return f"its row is clean, and names the entry {row.pending}" if row.pending else None
    if standing.at is None:
        return f"its row fails at version {row.next}, which the stream has not"
    if not row.pending.endswith(f"-{standing.at}"):
        return f"its row fails at version {row.next}, position {standing.at}, and names the entry {row.pending!r}"
    return None


def _check_pending(part: Part, rows: dict[str, Row]) -> None:
    if part.stored.shown is None:
        return
    failing = {stream: row for stream, row in rows.items() if row.state is not RowState.CLEAN}
    expected = {row.pending: (stream, _SHOWN_AS[row.state], row.attempts) for stream, row in failing.items()}
    for entry_id, (stream, name, attempts) in expected.items():
        shown = part.stored.shown.pending.get(entry_id)
        if shown is None:
            part.say("pending", 6, stream, f"the pending list lacks its entry {entry_id}, {name}; {part.mended}")
        elif shown != (name, attempts):
            said = f"the pending list shows its entry {entry_id} as {shown[0]}, {shown[1]} times"
            part.say("pending", 6, stream, f"{said}, and it is {name}, {attempts} times; {part.mended}")
    for entry_id in part.stored.shown.pending.keys() - expected.keys():
        part.say(
            "pending", 6, f"entry {entry_id}", f"the pending list shows it, and nothing fails there; {part.mended}"
        )


def _check_due(part: Part, rows: dict[str, Row]) -> None:
    if part.keys.due in part.stored.damaged:
        return
    retrying = {stream: float(row.due_ms) for stream, row in rows.items() if row.state is RowState.RETRYING}
    for stream in sorted(retrying.keys() | part.stored.due.keys()):
        expected, due_ms = retrying.get(stream, inf), part.stored.due.get(stream, inf)
        if expected != due_ms:
            said = "it is not retrying" if expected == inf else f"its next attempt is due at {expected:.0f}"
            mended = (
                f"ZREM {part.keys.due} {stream}" if expected == inf else f"ZADD {part.keys.due} {expected:.0f} {stream}"
            )
            noted = "does not have it" if due_ms == inf else f"has {due_ms:.0f}"
            part.say("due", 6, stream, f"{said}, and :due {noted}; {mended}")


# ---- why they fail, and what operators want ----


async def _check_failures(log: Log, part: Part, rows: dict[str, Row]) -> None:
    failing = {stream for stream, row in rows.items() if row.state is not RowState.CLEAN}
    for stream in sorted(part.stored.failing - failing - (part.stored.rows.keys() - rows.keys())):
        part.say("failure", 6, stream, f"why it fails is noted, and it does not; HDEL {part.keys.errors} {stream}")
    noted = sorted(part.stored.failing & failing)
    for at in range(0, len(noted), FAILURES_AT_ONCE):
        some = noted[at : at + FAILURES_AT_ONCE]
        (packed,) = await replies(log.redis, part.keys.errors, ("HMGET", part.keys.errors, *some))
        for stream, failure in zip(some, packed, strict=True):
            _check_failure(part, stream, failure)


def _check_failure(part: Part, stream: str, packed: bytes | None) -> None:
    if packed is None:  # it fails no more
        return
    try:
        Failure.parse(packed)
    except LogDamaged as error:
        part.say("failure", 6, stream, f"{error.detail}; the next attempt writes it anew")


def _check_orders(part: Part) -> None:
    for order_id, order in part.stored.orders.items():
        try:
            open_orders([order_id.encode(), order])
            outcome, _, at = order.decode().partition(" ")
            is_known = order[:1] != b"=" or (outcome in ("=done", "=late") and at.isdecimal())
        except (EventStoreError, ValueError):
            is_known = False
        if not is_known:
            part.say("order", 6, f"order {order_id}", f"it reads {order[:80]!r}; HDEL {part.keys.orders} {order_id}")
