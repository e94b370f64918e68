"""Members of a group, made of the holder that the product uses and of a model of what the scripts do, under a random
schedule: appends, handlings that fail and succeed, slow streams, commits whose answers are lost, leases that are lost,
crashes, orders of operators, replays, skips, cancels and lossy failovers. After every step the rules of DESIGN.md
section 8 are looked at (3 and 6), and those of PROTOCOLS.md:

    what counts as finished has been handled, or passed over by somebody's order; its effect is written exactly once
    one event of a stream at a time, in order; within a lease never back; nothing skipped
    a replay is exactly what had been finished before; after a cancel no replay goes on
    once nothing fails any more everything drains, and whatever was to be replayed has been
"""

from collections import Counter
from copy import deepcopy
from random import Random
from typing import NamedTuple
from uuid import UUID

from consumers.deliveries import Delivery
from consumers.holder import Holder, Urgent
from consumers.state import Commit, Order, OrderKind, Outgoing, Rewind, Row, RowState, Stored, Token
from eventstore import Metadata, Priority, RecordedEvent
from eventstore.epochs import EpochStart
from tests.property.consumer_model import GroupModel, NotHeld, PartitionModel

Key = tuple[str, int]  # stream, version
FOR_EVER = 10**9
MOST_ATTEMPTS = 3
SNAPSHOTS = 12


class Wrong(AssertionError):
    """A rule does not hold."""


class InHands(NamedTuple):
    event: Delivery
    replaying: bool
    attempts: int


class Past(NamedTuple):
    """What a replica may have when it takes over."""

    log: PartitionModel
    group: GroupModel
    ids: list[int]
    ever: set[Key]
    handled: set[Key]
    passed: set[Key]


class HolderOf:
    """A member with a lease: its holder, what it has in hands, and the commit that it has sent."""

    def __init__(self, token: Token, holder: Holder, *, mute: bool, epochs: int) -> None:
        self.token, self.holder, self.mute, self.epochs = token, holder, mute, epochs
        self.hands: list[InHands] = []
        self.call: Commit | None = None


class World:
    """`choose` decides everything that is left open."""

    def __init__(self, choose: Random) -> None:
        self.choose = choose
        self.log = PartitionModel("a" * 40)
        self.log.fix_epoch(1)
        self.group = GroupModel(self.log, 0)
        self.now_ms = 1
        self.members: dict[str, HolderOf | None] = {"ada": None, "bob": None}
        self.bound = choose.choice([2, 3, 10_000])
        self.streams = "ABCDE"[: choose.randint(1, 5)]
        self.kept = 8_192 if len(self.streams) % 2 else 3
        self.ids: list[int] = []  # of the events by position: what a failover loses may come again as another
        self.handled: set[Key] = set()
        self.passed: set[Key] = set()  # discarded or skipped
        self.ever: set[Key] = set()  # finished once, as far as is stored
        self.due: dict[Key, int] = {}  # to be replayed, by a lease with at least this term
        self.is_quiet = self.has_replayed = False
        self.running: set[tuple[Token, str]] = set()
        self.last: dict[Token, dict[str, int]] = {}
        self.failures: dict[Key, int] = {}
        self.fails, self.fails_for_ever = choose.choice([0, 0.1, 0.3, 0.6]), choose.choice([0, 0.05, 0.2])
        self.past: list[Past] = []
        self.highest_term = 0
        names = ("rewind", "rewind_stream", "cancel", "skip", "order", "crash", "lose", "slow", "pull", "failover")
        self.wants_all = choose.random() < 0.5
        self.priorities = list(Priority) if choose.random() < 0.5 else [Priority.NORMAL]
        self.weights = {name: choose.choice([0, 1, 1, 3]) for name in names}
        self.rare = choose.choice([0.05, 0.12, 0.12, 0.6])

    # ---- one step ----

    def step(self) -> None:
        often = ["append", "append", "read", "read", *["start"] * 6, *["finish"] * 6, *["commit"] * 4, "obey", "resume"]
        for name, weight in self.weights.items():
            if name in ("order", "slow", "pull"):
                often += [name] * weight
            elif weight and self.choose.random() < self.rare:
                often.append(name)
        action = self.choose.choice(often)
        self.now_ms += self.choose.random() < 0.3
        self._remember()
        if action in ("append", "rewind", "rewind_stream", "cancel", "skip", "order", "failover"):
            getattr(self, f"_{action}")()
            return
        name = self.choose.choice(list(self.members))
        member = self.members[name]
        if member is None:
            if not self.group.owner or self.choose.random() < 0.15:
                self._acquire(name)
        elif action == "crash":
            self._drop(name)
        elif action == "lose":
            self._acquire("bob" if name == "ada" else "ada")
        else:
            getattr(self, f"_{action}")(name, member)

    def settle(self) -> None:
        """Nothing fails any more, operators retry what is parked: all must drain."""
        self.bound = 10_000
        for name in self.members:
            self._drop(name)
        member = self._acquire("ada")
        for round_ in range(700):
            self.now_ms += 100
            self._drain(member, all_succeed=round_ > 200)
            if self.members["ada"] is None:
                raise Wrong("the lease is lost, though nobody else takes it")
            if round_ == 200:
                self._check_only_its_own_stream_waits()
            if round_ > 200:
                self._retry_what_is_parked(member)
                if self.group.offset == self.log.head and not self.group.table and not self._open_orders():
                    break
        else:
            raise Wrong(f"does not drain: {self.group.offset} of {self.log.head}, {self.group.table}")
        if self._unfinished():
            raise Wrong("unfinished at the end")
        if self.due:
            raise Wrong(f"never replayed: {self.due}")

    # ---- what anybody may do ----

    def _append(self) -> None:
        self.log.append(self.choose.choice(self.streams), self.now_ms * 1_000)
        self.ids.append(max(self.ids, default=0) + 1)

    def _rewind(self) -> None:
        if self.group.offset:
            target = self.choose.randint(0, self.group.offset)
            self._move(target)
            self.has_replayed, self.is_quiet = True, False
            wanted = [key for key in self.log.events[target:] if self._is_wanted(key)]
            self.due = dict.fromkeys(wanted, self.group.term)
            self._check_stored()

    def _skip(self) -> None:
        if self.group.offset < self.log.head:
            target = self.choose.randint(self.group.offset + 1, self.log.head)
            self._move(target)
            written = self._effects()
            self.passed |= {key for key in self.log.events[:target] if key not in self.handled or key not in written}
            self.due, self.is_quiet = {}, False
            self._check_stored()

    def _move(self, target: int) -> None:
        group, rows = self.group, {}
        for stream, row in group.table.items():
            before, after = self._position(stream, row.next - 1) or 0, self._position(stream, row.next)
            fin = max(row.fin, before)
            if before > target and target <= group.offset:
                rows[stream] = Row(self._first_above(stream, target), fin=fin)
            elif after is not None and after <= target and target > group.offset:
                rows[stream] = Row(self._first_above(stream, target), fin=max(fin, target))
        self._write(target, max(group.fin, group.offset, target), rows, mute=False)

    def _rewind_stream(self) -> None:
        stream = self.choose.choice(self.streams)
        count = len(self.log.index.get(stream, []))
        if not count:
            return
        group, version = self.group, self.choose.randint(1, count)
        row = group.table.get(stream)
        if row:
            new = Row(min(version, row.next), fin=max(row.fin, self._position(stream, row.next - 1) or 0))
        else:
            new = Row(min(version, self._first_above(stream, group.offset)), fin=max(group.offset, group.fin))
        self._write(group.offset, group.fin, {stream: new}, mute=False)
        self.has_replayed, self.is_quiet = True, False
        keys = [(stream, each) for each in range(version, count + 1)]
        self.due |= {key: group.term for key in keys if self._is_wanted(key)}
        self._check_stored()

    def _cancel(self) -> None:
        if self.has_replayed:
            group = self.group
            self._write(max(group.offset, group.fin), group.fin, {}, mute=True)
            self.due, self.is_quiet = {}, True
            self._check_stored()

    def _write(self, offset: int, fin: int, rows: dict[str, Row], *, mute: bool) -> None:
        """By force, as operators' commands do."""
        token = self._token_for("operator")
        self.group.rewind(Rewind(token, (self.log.epoch_of(offset), offset), fin, mute, rows))

    def _order(self) -> None:
        waiting = [(stream, row) for stream, row in self.group.table.items() if row.state is not RowState.CLEAN]
        if waiting:
            stream, row = self.choose.choice(waiting)
            kind: OrderKind = "retry" if self.choose.random() < 0.5 else "discard"
            self.group.give(Order(str(len(self.group.orders)), kind, stream, row.next))

    def _failover(self) -> None:
        """Log and group go back together, to what a replica had; what is appended next is of a new epoch."""
        past = self.choose.choice(self.past)
        lost = set(self.log.events[past.log.head :])
        self.log, self.group = deepcopy((past.log, past.group))
        self.group.log = self.log
        self.ids, self.ever, self.passed = list(past.ids), set(past.ever), set(past.passed)
        self.handled -= lost
        self.log.process = f"{self.choose.getrandbits(160):040x}"
        self.now_ms += 1
        self.log.fix_epoch(self.now_ms * 1_000)
        self.due, self.is_quiet, self.has_replayed, self.past = {}, False, False, []
        self._remember()

    # ---- what a member does ----

    def _acquire(self, name: str) -> HolderOf:
        old = self.members[name]
        if old:
            self.running = {each for each in self.running if each[0] != old.token}
        token, group = self._token_for(name), self.group
        orders = tuple(order for order in group.orders.values() if isinstance(order, Order))
        place = (self.log.epoch_of(group.offset), group.offset)
        epochs = ",".join(f"{number}:{first}" for number, first in self.log.epochs).encode()
        stored = Stored(
            token.term,
            token.epoch,
            place,
            group.fin,
            group.mute,
            "",
            dict(group.table),
            orders,
            self.now_ms,
            self.log.head,
            epochs,
            None,
        )
        member = HolderOf(
            token,
            Holder(stored, token, None if self.wants_all else self._wants, bound=self.bound, kept_in_all=self.kept),
            mute=group.mute,
            epochs=len(self.log.epochs),
        )
        self.members[name] = member
        return member

    def _token_for(self, name: str) -> Token:
        """Terms are above all that were ever given, as the server's clock makes them."""
        self.now_ms = max(self.now_ms, self.highest_term) + 1
        token = self.group.acquire(name, 10, self.now_ms * 1_000, self.now_ms, force=True)
        assert token is not None
        self.highest_term = max(self.highest_term, token.term)
        return token

    def _drop(self, name: str) -> None:
        self.members[name] = None

    def _read(self, name: str, member: HolderOf, count: int = 0) -> None:
        if not self._is_of_this_log(member):
            self._drop(name)  # it would see another epoch
            return
        holder = member.holder
        end = min(holder.cursor + (count or self.choose.randint(1, 4)), self.log.head)
        for number, first in self.log.epochs[member.epochs :]:
            holder.begin_epoch(EpochStart(number, first))
        member.epochs = len(self.log.epochs)
        holder.feed([self._event(position) for position in range(holder.cursor + 1, end + 1)], end)

    def _start(self, name: str, member: HolderOf) -> None:
        holder = member.holder
        event = holder.take(lambda: self.now_ms)
        if not self._is_of_this_log(member):
            for stream, _ in holder.wanting(9):
                holder.want_again(stream)
        else:
            for stream, version in holder.wanting(3):
                found = self.log.index.get(stream, [])
                holder.read(stream, [self._event(p) for p in found[version - 1 : version + 1]], len(found))
        if event is not None:
            hands = InHands(event, holder.is_replay(event), holder.attempts(event))
            self._check_start(member, hands)
            member.hands.append(hands)

    def _finish(self, name: str, member: HolderOf, *, all_succeed: bool = False) -> None:
        if not member.hands:
            return
        event, replaying, attempts = member.hands.pop(self.choose.randrange(len(member.hands)))
        key = (event.stream, event.version)
        self.running.discard((member.token, event.stream))
        if key not in self.failures:
            some = self.choose.randint(1, 4) if self.choose.random() < self.fails else 0
            self.failures[key] = FOR_EVER if self.choose.random() < self.fails_for_ever else some
        if self.failures[key] and not all_succeed:
            self.failures[key] -= 1
            if self.choose.random() < 0.85:
                due = None if attempts + 1 >= MOST_ATTEMPTS else self.now_ms + 2**attempts
                member.holder.failed(event, 1, due, b"{}")
            else:
                member.holder.postpone(event)
            return
        if self._is_alive(event):
            self.handled.add(key)
            if self.due.get(key, FOR_EVER * FOR_EVER) <= member.token.term:
                del self.due[key]
        brought = () if replaying else (Outgoing(0, event.stream, str(event.version).encode(), 0, "N"),)
        member.holder.succeeded(event, brought)

    def _slow(self, name: str, member: HolderOf) -> None:
        if member.hands:
            member.holder.detach(self.choose.choice(member.hands).event)

    def _pull(self, name: str, member: HolderOf) -> None:
        """Something urgent lies beyond what was read."""
        cursor = max(member.holder.cursor - self.choose.choice([0, 0, 3]), 0)  # it may have read on since the look
        beyond = self.log.events[cursor:] if self._is_of_this_log(member) else []
        if beyond:
            stream, version = self.choose.choice(beyond)
            first = self._first_above(stream, cursor)
            position = self._position(stream, first) or 0
            event = self._event(position) if first == version and self.choose.random() < 0.7 else None
            member.holder.pull(Urgent(stream, first, position, version, self.choose.randint(0, 1), event))

    def _resume(self, name: str, member: HolderOf) -> None:
        member.holder.resume()

    def _obey(self, name: str, member: HolderOf) -> None:
        for order in member.holder.obey():
            if order.kind == "discard":
                self.passed.add((order.stream, order.version))
                self.due.pop((order.stream, order.version), None)

    def _commit(self, name: str, member: HolderOf, luck: float | None = None) -> None:
        luck = self.choose.random() if luck is None else luck
        member.call = member.call or member.holder.prepare()
        if member.call is None or luck < 0.15:
            return  # there is nothing, or it was sent and did not arrive
        try:
            reply = self.group.commit(member.call, self.now_ms)
        except NotHeld:
            self._drop(name)
            return
        self._check_stored()
        if luck >= 0.35:  # else the answer is lost, and the same call is made again
            member.call = None
            member.holder.committed(reply)

    # ---- what must be true ----

    def _check_stored(self) -> None:
        group = self.group
        if group.offset > self.log.head:
            raise Wrong("the offset is beyond the head")
        finished = set(self.log.events) - self._unfinished()
        if wrong := {key for key in finished - self.handled - self.passed if self._is_wanted(key)}:
            raise Wrong(f"finished, and never handled: {sorted(wrong)}")
        self.ever |= finished
        written = self._effects()
        if twice := [key for key, times in written.items() if times > 1]:
            raise Wrong(f"effects were written twice: {twice}")
        if missing := {key for key in finished - written.keys() - self.passed if self._is_wanted(key)}:
            raise Wrong(f"finished without its effect: {sorted(missing)}")

    def _check_start(self, member: HolderOf, hands: InHands) -> None:
        stream, version = key = (hands.event.stream, hands.event.version)
        if (member.token, stream) in self.running:
            raise Wrong(f"two at a time: {key}")
        if hands.replaying and member.mute:
            raise Wrong(f"a replay is muted, and {key} is handled")
        last = self.last.setdefault(member.token, {})
        before = last.get(stream)
        if before is not None and version < before:
            raise Wrong(f"{key} after {before} in one lease")
        skipped = range((before or version) + 1, version)
        done = self.handled | self.passed
        if not member.mute and any(self._is_wanted((stream, each)) for each in skipped if (stream, each) not in done):
            raise Wrong(f"{key} skips after {before}")
        if self.group.is_held_by(member.token):
            if hands.replaying and self.is_quiet:
                raise Wrong(f"a cancelled replay goes on: {key}")
            if hands.replaying != (key in self.ever):
                raise Wrong(f"replaying is {hands.replaying} for {key}, finished before: {key in self.ever}")
            before_it = [(stream, each) for each in range(1, version)]
            if any(self._is_wanted(each) for each in before_it if each not in done):
                raise Wrong(f"{key} is handled before one that precedes it")
        last[stream] = version
        self.running.add((member.token, stream))

    def _check_only_its_own_stream_waits(self) -> None:
        waiting = {stream for stream, row in self.group.table.items() if row.state is not RowState.CLEAN}
        if strangers := {stream for stream, _ in self._unfinished()} - waiting:
            raise Wrong(f"unfinished without a failure of their own: {strangers}")
        if self.group.offset != self.log.head:
            raise Wrong("the offset stands behind a parked stream")

    # ---- facts ----

    def _drain(self, member: HolderOf, *, all_succeed: bool) -> None:
        self._obey("ada", member)
        self._read("ada", member, 10)
        self._resume("ada", member)
        for _ in range(12):
            self._start("ada", member)
        while member.hands:
            self._finish("ada", member, all_succeed=all_succeed)
        self._commit("ada", member, 1.0)

    def _retry_what_is_parked(self, member: HolderOf) -> None:
        asked = {order.stream for order in self._open_orders()}
        for stream, row in self.group.table.items():
            if row.state is RowState.PARKED and stream not in asked:
                self.group.give(Order(str(len(self.group.orders)), "retry", stream, row.next))
        member.holder.learn(self._open_orders())

    def _open_orders(self) -> list[Order]:
        return [order for order in self.group.orders.values() if isinstance(order, Order)]

    def _unfinished(self) -> set[Key]:
        found = set()
        for position, (stream, version) in enumerate(self.log.events, 1):
            row = self.group.table.get(stream)
            if (version >= row.next) if row else (position > self.group.offset):
                found.add((stream, version))
        return found

    def _effects(self) -> Counter[Key]:
        return Counter((event.stream, int(event.packed)) for _, event in self.group.out)

    def _position(self, stream: str, version: int) -> int | None:
        return self.log.position(stream, version)

    def _first_above(self, stream: str, position: int) -> int:
        return sum(each <= position for each in self.log.index.get(stream, [])) + 1

    def _event(self, position: int) -> RecordedEvent:
        stream, version = self.log.events[position - 1]
        event_id = UUID(int=self.ids[position - 1])
        epoch = self.log.epoch_of(position)
        metadata = Metadata(priority=self.priorities[event_id.int % len(self.priorities)])
        return RecordedEvent(event_id, stream, version, 0, epoch, position, 0, "Noted", 1, None, metadata)

    def _wants(self, event: Delivery) -> bool:
        return event.id.int % 3 != 0

    def _is_wanted(self, key: Key) -> bool:
        """Whether the group handles the event: others are finished unseen."""
        position = self._position(*key)
        return self.wants_all or position is None or self.ids[position - 1] % 3 != 0

    def _is_alive(self, event: Delivery) -> bool:
        return self.log.head >= event.position and self.ids[event.position - 1] == event.id.int

    def _is_of_this_log(self, member: HolderOf) -> bool:
        return member.token.epoch == self.log.number

    def _remember(self) -> None:
        log, group = deepcopy((self.log, self.group))
        past = Past(log, group, list(self.ids), set(self.ever), set(self.handled), set(self.passed))
        self.past = [*self.past, past][-SNAPSHOTS:]
