"""A small model of one group in one partition: what the scripts of groups must answer and leave behind, in plain Python
(PROTOCOLS 1, 2, 4 and 6).

Nothing here knows Redis. Time and the identity of the server process are arguments. A position is 1.. in the partition,
a version 1.. in a stream. What is finished is told by what is stored alone:

    finished(stream, version)   the stream has a row:  version < row.next
                                it has none:           its position <= offset
"""

from collections.abc import Mapping
from copy import deepcopy

from consumers.state import Commit, Committed, Order, Outgoing, Rewind, Row, RowState, Token
from tests.property.effects_model import Stored as Effects
from tests.property.effects_model import check_and_run

TAG_DIGITS = 5  # of the replid, which make an epoch unlike the one that another history makes in the same moment
SHOWN_AS = {RowState.RETRYING: "retrying", RowState.PARKED: "parked"}


class NotHeld(Exception):
    """The token of a call is not that of the lease, or what it asks for contradicts the log."""


class Refused(Exception):
    """What a handler brought cannot be carried out."""


class PartitionModel:
    """The log of the partition, as the scripts of groups see it. Whoever numbers, and meets another server process than
    the one that is noted, fixes the number of a new epoch; the first event notes where that begins."""

    def __init__(self, process: str) -> None:
        self.process = process
        self.replid, self.number = "", 0
        self.epochs: list[tuple[int, int]] = []
        self.events: list[tuple[str, int]] = []
        self.index: dict[str, list[int]] = {}
        self.archived = 0  # positions up to here are in neither log nor index

    @property
    def head(self) -> int:
        return len(self.events)

    @property
    def is_of_this_process(self) -> bool:
        return self.process == self.replid

    def fix_epoch(self, now_us: int) -> None:
        if not self.is_of_this_process:
            self.number = max(self.number, now_us) + 1 + int(self.process[:TAG_DIGITS], 16)
            self.replid = self.process

    def append(self, stream: str, now_us: int) -> None:
        self.fix_epoch(now_us)
        positions = self.index.setdefault(stream, [])
        self.events.append((stream, len(positions) + 1))
        positions.append(self.head)
        if not self.epochs or self.epochs[-1][0] != self.number:
            self.epochs.append((self.number, self.head))

    def position(self, stream: str, version: int) -> int | None:
        """0 for version 0, None for one that is not appended yet."""
        positions = self.index.get(stream, [])
        if version == 0:
            return 0
        return positions[version - 1] if version <= len(positions) else None

    def epoch_of(self, position: int) -> int:
        return next((number for number, first in reversed(self.epochs) if first <= position), 0)

    def entry_id(self, position: int) -> str:
        return f"{self.epoch_of(position)}-{position}"


class MirrorModel:
    """The Redis group: where it stands, and its pending list (entry id -> consumer, delivery count). What an outsider
    has moved is mended by the next commit, and has no exact lag until then."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.moved = False
        self.pending: dict[str, tuple[str, int]] = {}

    def show(self, log: PartitionModel, old: Row | None, new: Row) -> None:
        """What is claimed of a trimmed entry leaves the list."""
        shown = new.pending if new.state is not RowState.CLEAN else ""
        before = old.pending if old else ""
        if before and before != shown:
            self.pending.pop(before, None)
        if shown and not (old and (before, old.state, old.attempts) == (shown, new.state, new.attempts)):
            if int(shown.split("-")[1]) <= log.archived:
                self.pending.pop(shown, None)
            else:
                self.pending[shown] = (SHOWN_AS[new.state], new.attempts)


class GroupModel:
    """Everything that is stored of the group, and its mirror (None: somebody has destroyed it)."""

    def __init__(self, log: PartitionModel, start: int) -> None:
        self.log = log
        self.owner, self.term, self.until, self.number, self.epoch, self.replid = "", 0, 0, 0, 0, ""
        self.offset = self.fin = start
        self.mute, self.paused, self.moved, self.replay = False, "", "", ""
        self.lapsed: int | None = None  # until somebody has taken the lease
        self.table: dict[str, Row] = {}
        self.failures: dict[str, bytes] = {}
        self.orders: dict[str, Order | str] = {}  # or what became of it
        self.out: list[tuple[int, Outgoing]] = []  # with the epoch of the lease
        self.effects: Effects = {}
        self.mirror: MirrorModel | None = MirrorModel(start)
        self.rings = ["made"]

    # ---- the lease ----

    def acquire(self, member: str, lease_ms: int, now_us: int, now_ms: int, *, force: bool) -> Token | None:
        """None: somebody has it."""
        log = self.log
        log.fix_epoch(now_us)
        free = self.owner in ("", member) or self.until < now_ms or self.until > now_ms + 2 * lease_ms
        free = free or (self.epoch, self.replid) != (log.number, log.replid)
        if not free and not force:
            return None
        if not free:
            self.rings.append("taken")
        is_over = self.owner not in ("", member) and self.until < now_ms and self.epoch == log.number
        self.lapsed = 0 if self.owner == "" else (self.lapsed or 0) + is_over
        self.owner, self.term, self.until, self.number = member, max(self.term + 1, now_ms), now_ms + lease_ms, 0
        self.epoch, self.replid = log.number, log.replid
        self._mirror({})
        return Token(member, self.term, self.epoch)

    def renew(self, token: Token, lease_ms: int, now_ms: int) -> str:
        self._check(token)
        self.until = now_ms + lease_ms
        return self.paused

    def release(self, token: Token) -> bool:
        if not self.is_held_by(token):
            return False
        self.owner, self.until = "", 0
        return True

    def is_held_by(self, token: Token) -> bool:
        log = self.log
        stored = Token(self.owner, self.term, self.epoch)
        return token == stored and log.is_of_this_process and (self.epoch, self.replid) == (log.number, log.replid)

    def _check(self, token: Token) -> None:
        if not self.is_held_by(token):
            raise NotHeld

    # ---- commit ----

    def commit(self, call: Commit, now_ms: int) -> Committed:
        self._check(call.token)
        if call.number == self.number:  # the acknowledgement was lost
            self._mirror({})
            return self._committed(call, now_ms)
        if call.number != self.number + 1 or call.offset[1] < self.offset or not self._is_place(call.offset):
            raise NotHeld
        effects = deepcopy(self.effects)
        wrong = check_and_run(effects, call.effects)
        if wrong is not None:
            raise Refused("effect", wrong)
        self.number, self.offset, self.effects = call.number, call.offset[1], effects
        self.fin = max(self.fin, self.offset)
        self._write_rows(call.rows, call.failures, keep_all=False)
        self.out += [(self.epoch, event) for event in call.out]
        for order_id, carried_out in call.taken.items():
            if isinstance(self.orders.get(order_id), Order):
                self.orders[order_id] = f"={'done' if carried_out else 'late'} {now_ms}"
        return self._committed(call, now_ms)

    def reattaches(self, stream: str, row: Row) -> bool:
        """The main pass goes on with the stream exactly where the row stands, and says the same of replays."""
        before, after = self.log.position(stream, row.next - 1), self.log.position(stream, row.next)
        if row.state is not RowState.CLEAN or before is None:
            return False
        if after is not None and after <= self.log.archived:
            return False
        if before > self.offset or (0 < before <= self.log.archived and self.offset < self.log.archived):
            return False
        return after is None or (after > self.offset and (row.fin == self.fin or after > max(row.fin, self.fin)))

    def _committed(self, call: Commit, now_ms: int) -> Committed:
        return Committed(
            gone=frozenset(call.rows.keys() - self.table.keys()),
            orders=tuple(
                order for order in self.orders.values() if isinstance(order, Order) and order.id not in call.taken
            ),
            fin=self.fin,
            paused=self.paused,
            now_ms=now_ms,
            head=self.log.head,
            largest=None,
        )

    def _is_place(self, place: tuple[int, int]) -> bool:
        epoch, position = place
        return position <= self.log.head and epoch == self.log.epoch_of(position)

    def _write_rows(self, rows: Mapping[str, Row], failures: Mapping[str, bytes], *, keep_all: bool) -> None:
        changes: dict[str, tuple[Row | None, Row]] = {}
        for stream, row in rows.items():
            changes[stream] = self.table.pop(stream, None), row
            if keep_all or not self.reattaches(stream, row):
                self.table[stream] = row
            if row.state is RowState.CLEAN:
                self.failures.pop(stream, None)
            elif stream in failures:
                self.failures[stream] = failures[stream]
        self._mirror(changes)

    def _drop_row(self, stream: str) -> None:
        """What a projection's database has no row for, though Redis had."""
        before = self.table.pop(stream, None)
        self.failures.pop(stream, None)
        if before is not None:
            self._mirror({stream: (before, Row(0))})

    def _mirror(self, changes: Mapping[str, tuple[Row | None, Row]]) -> None:
        """A mirror that is gone is made anew from what is stored."""
        if self.mirror is None:
            self.mirror = MirrorModel(self.offset)
            changes = {stream: (None, row) for stream, row in self.table.items()}
        self.mirror.position, self.mirror.moved = self.offset, False
        for old, new in changes.values():
            self.mirror.show(self.log, old, new)

    # ---- what operators do ----

    def rewind(self, call: Rewind) -> None:
        (epoch, position), token = call.offset, call.token
        this = f"{token.owner} {token.term} {token.epoch} {epoch}-{position} {call.fin} {int(call.mute)}"
        if self.moved == this:
            return
        self._check(call.token)
        fin = max(self.fin, call.fin, call.offset[1])
        if not self._is_place(call.offset) or fin > self.log.head:
            raise NotHeld
        self.owner, self.term, self.until, self.number = "", self.term + 1, 0, 0
        self.offset, self.fin, self.mute, self.moved = call.offset[1], fin, call.mute, this
        self.replay = call.replay
        self.rings.append("moved")
        self._write_rows({stream: row for stream, row in call.rows.items() if row is not None}, {}, keep_all=True)
        for stream in [each for each, row in call.rows.items() if row is None]:
            self._drop_row(stream)

    def give(self, order: Order, now_ms: int = 0) -> Row | None:
        rivals = [each for each in self.orders.values() if isinstance(each, Order) and each.id != order.id]
        is_late = any((each.stream, each.version) == (order.stream, order.version) for each in rivals)
        self.orders.setdefault(order.id, f"=late {now_ms}" if is_late else order)
        self.rings.append("order")
        return self.table.get(order.stream)

    def take_outcomes(self, order_ids: list[str]) -> dict[str, bool]:
        found = {each: text for each in order_ids if isinstance(text := self.orders.get(each), str)}
        for order_id in found:
            del self.orders[order_id]
        return {order_id: text.startswith("=done") for order_id, text in found.items()}

    def pause(self, why: str) -> None:
        self.paused = why
        self.rings.append("paused")

    def withdraw(self) -> None:
        """All orders that are there; outcomes were taken before."""
        if self.orders:
            self.rings.append("withdrawn")
        self.orders.clear()
