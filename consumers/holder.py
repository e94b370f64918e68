"""What the holder of a lease keeps in memory of one partition, and when it may do what (PROTOCOLS.md section 3).

It neither waits nor talks to a server: the member (member.py) reads, handles and sends, and tells here what came of it.

    feed      events that the main pass has read, in order    -> queue, or the lane of a detached stream
    take      the next event that may be handled              -> succeeded, failed, postponed or put back, once each
    detach    a stream leaves the main pass: slow, or pulled forward
    obey      orders of operators, each between two handlings of its stream
    prepare   the one commit in flight                        -> committed, or this whole object is dropped

The offset passes an event that is finished, or whose stream has a row after the very call that moves the offset. What
an event brings with it (effects, returned events) travels in the call that makes it finished, never earlier.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.brought import Bringing, Brought
from consumers.deliveries import Delivery
from consumers.detached import KEPT_IN_ALL, Detached
from consumers.lanes import Lanes
from consumers.scope import Scope
from consumers.state import Commit, Committed, Effect, Order, Outgoing, Row, RowState, Stored, Token, due_now
from eventstore.cursor import Place
from eventstore.epochs import EpochStart, epoch_at, parse

BOUND = 10_000
"""Detached streams of a partition: with so many the main pass stands still, and nothing is dropped."""
CANDIDATES_PER_COMMIT = 500
REMEMBERED_ORDERS = 2_000
"""Twice as many as there may be of a group in one partition."""
AHEAD_EVENTS = 65_536
"""How far the main pass may be ahead of the offset: what is finished there is handled again after a crash."""


class Urgent(NamedTuple):
    """Version `version` of a stream is of this class (turns.py), and lies beyond what the main pass had read at a look;
    `first` is the first version of the stream that did, and `position` its place. `event` is it, if nothing precedes
    it there."""

    stream: str
    first: int
    position: int
    version: int
    of_class: int
    event: Delivery | None = None


class Holder:
    """One group's state in one partition, from acquiring the lease to losing it. `wanted` tells which events the group
    handles; None: all of them. `scope` is what the last replay wants of those that it had handled before."""

    def __init__(
        self,
        stored: Stored,
        token: Token,
        wanted: Callable[[Delivery], bool] | None = None,
        bound: int | None = None,
        scope: Scope | None = None,
        kept_in_all: int = KEPT_IN_ALL,
        *,
        tells_gone: bool = False,
    ) -> None:
        self.token = token
        self.offset = stored.offset
        self.cursor = stored.offset[1]
        """Position up to which the main pass has read."""
        self.fin = stored.fin
        self.head = stored.head
        self._chain = parse(stored.epochs)
        self._mute, self._wanted, self._bound = stored.mute, wanted, BOUND if bound is None else bound
        self.job = "" if scope is None else scope.job
        """The replay that those events belong to which are replayed."""
        self._left_out = None if scope is None else scope.left_out
        self._number = 0
        self.has_passed_over = False
        """Whether a lane has moved on without a handling: nobody else says that there is something to commit."""
        self._lanes = Lanes()
        self._detached = Detached(due_now(stored.rows) if stored.mute else stored.rows, kept_in_all)
        self._rows = self._detached.lanes
        self.ahead, self.others = self._lanes.ahead, self._detached.turns
        """What may be taken in order, as long as nothing of detached streams has a turn (in_order.py)."""
        self._postponed: list[Delivery] = []
        self.bringing = Bringing()
        self._failures: dict[str, bytes] = {}
        self._orders = {order.id: order for order in stored.orders}
        self._taken: dict[str, bool] = {}
        self._dealt_with: dict[str, None] = {}
        """Ids of orders that a commit has noted the outcome of: an answer that is older may still call them open."""
        self._sent: Commit | None = None
        self._sent_with: list[Brought] = []
        self._absent: set[str] = set()
        """Streams that have re-attached in the table, but whose lane goes on: the main pass, which has read beyond the
        offset, lacks events of them. Each commit has their rows, for it may move the offset beyond their next."""
        self._turn_of_detached = True
        self._tells_gone, self._has_gone = tells_gone, False
        """Whether a commit follows on one by which a stream has re-attached, for whoever keeps rows elsewhere."""

    # ---- reading and choosing ----

    @property
    def in_memory(self) -> int:
        """Events that the main pass has read and that hold up the offset."""
        return len(self._lanes)

    @property
    def bytes_in_memory(self) -> int:
        """Of the large ones of them."""
        return self._lanes.weights.bytes

    def is_far_ahead(self, read_up_to: int) -> bool:
        """Whether so much lies between there and the offset, or waits for it, that the main pass should read no
        further: the offset stands still, or commits take long."""
        return read_up_to - self.offset[1] > AHEAD_EVENTS or self.bringing.is_much

    @property
    def rows(self) -> Mapping[str, Row]:
        return {stream: lane.row for stream, lane in self._rows.items()}

    def feed(self, events: Sequence[Delivery], read_up_to: int, sizes: Mapping[int, int] | None = None) -> None:
        """The events that follow those fed before, up to a position: some of them may have been left out because
        nobody wants them. `sizes` are those of the heavy ones."""
        if self._rows or self._left_out is not None or (self._mute and self.cursor < self.fin):
            events = self._not_passed_over(events, sizes or {})
        self._lanes.feed(events if self._wanted is None else list(filter(self._wanted, events)))
        if sizes:
            self._lanes.weigh(sizes)
        self.cursor = read_up_to
        self.head = max(self.head, read_up_to)

    def _not_passed_over(self, events: Sequence[Delivery], sizes: Mapping[int, int]) -> list[Delivery]:
        """Those for the main pass: it passes over what lanes handle, and what a replay leaves out."""
        rows, left_out, fin = self._rows, self._left_out, self.fin
        passed = fin if self._mute else 0
        kept: list[Delivery] = []
        for event in events:
            if event.stream in rows:
                self._detached.pass_over(event, sizes.get(event.position, 0))
            elif event.position > passed and (left_out is None or event.position > fin or not left_out(event)):
                kept.append(event)
        return kept

    def take(self, now_ms: Callable[[], int]) -> Delivery | None:
        """The next event that may be handled; its stream then waits until the outcome is told."""
        if self.bringing.is_laden:
            return None
        if not self._rows:
            return self._lanes.take()
        self._turn_of_detached = not self._turn_of_detached
        if self._turn_of_detached:
            return self._take_detached(now_ms()) or self._lanes.take()
        return self._lanes.take() or self._take_detached(now_ms())

    def _take_detached(self, now_ms: int) -> Delivery | None:
        while (event := self._detached.take(now_ms)) is not None:
            if not self._is_passed_over(event):
                return event
            self._detached.advance(event)
            self.has_passed_over = True
        return None

    def _is_passed_over(self, event: Delivery) -> bool:
        if self._wanted is not None and not self._wanted(event):
            return True
        if not self._mute and self._left_out is None:
            return False
        return self.is_replay(event) and (self._mute or (self._left_out is not None and self._left_out(event)))

    def is_replay(self, event: Delivery) -> bool:
        """Whether the group has finished an event that was taken once before."""
        if not self._rows or (lane := self._rows.get(event.stream)) is None:
            return event.position <= self.fin
        return event.position <= lane.row.fin

    def attempts(self, event: Delivery) -> int:
        """How often the handler was called for it, up to the last commit before."""
        lane = self._rows.get(event.stream)
        return 0 if lane is None else lane.row.attempts

    @property
    def next_due_ms(self) -> int | None:
        """When the next retry is due, by the server's clock."""
        return self._detached.next_due_ms

    def wanting(self, most: int) -> list[tuple[str, int]]:
        """Detached streams whose events must be read through the index: stream, and first version."""
        return self._detached.wanting(most)

    @property
    def wants_events(self) -> bool:
        return self._detached.wants_events

    @property
    def finished_up_to(self) -> int:
        """The highest position with nothing unfinished of the main pass at or below it."""
        return self._lanes.finished_up_to(self.cursor)

    @property
    def has_urgent(self) -> bool:
        """Whether a stream above NORMAL waits for its turn."""
        return self._lanes.has_urgent or self._detached.has_urgent

    @property
    def has_priorities(self) -> bool:
        """Whether an event of the main pass has another one than NORMAL, so that all that was read should be fed."""
        return self._lanes.has_priorities

    def want_again(self, stream: str) -> None:
        """The events that were wanted could not be read."""
        self._detached.want(stream)

    def read(
        self, stream: str, events: Sequence[Delivery], version: int, sizes: Mapping[int, int] | None = None
    ) -> None:
        """The events from the version that was wanted, and the version of the stream then; `sizes` of heavy ones."""
        self._detached.read(stream, events, version, sizes)

    # ---- outcomes ----

    def succeeded(self, event: Delivery, out: tuple[Outgoing, ...] = (), effects: tuple[Effect, ...] = ()) -> None:
        if out or effects:
            self.bringing.add(Brought(event, out, effects))
        if event.stream in self._rows:
            self._detached.advance(event)
        else:
            self._lanes.finish(event)

    def failed(self, event: Delivery, calls: int, due_ms: int | None, failure: bytes) -> bool:
        """The handler was called so often and has failed; it is due again, or parked if `due_ms` is None. False at the
        bound: nothing is noted, the event is postponed."""
        stream = event.stream
        if not self.detach(event):
            self.postpone(event)
            return False
        before = self._rows[stream].row
        state = RowState.PARKED if due_ms is None else RowState.RETRYING
        pending = f"{event.epoch}-{event.position}"
        row = Row(before.next, state, before.attempts + calls, due_ms or 0, before.fin, pending)
        self._detached.fail(stream, row)
        self._failures[stream] = failure
        return True

    def postpone(self, event: Delivery) -> None:
        """It failed, but that does not count: it waits for `resume`."""
        self._postponed.append(event)

    def resume(self) -> None:
        """What was postponed may be taken again."""
        postponed, self._postponed = self._postponed, []
        for event in postponed:
            self.put_back(event)

    def put_back(self, event: Delivery) -> None:
        """It was not handled, and that is no failure: it was interrupted."""
        if event.stream in self._rows:
            self._detached.put_back(event.stream)
        else:
            self._lanes.put_back(event)

    def detach(self, event: Delivery) -> bool:
        """The stream of an event that is being handled leaves the main pass, if it has not yet. False at the bound."""
        if event.stream in self._rows:
            return True
        if len(self._rows) >= self._bound:
            return False
        events = self._lanes.take_out(event.stream, event)
        has_gaps = self._wanted is not None or self._left_out is not None
        self._detached.detach(event.stream, Row(event.version, fin=self.fin), events, running=True, has_gaps=has_gaps)
        return True

    def waits_for(self, event: Delivery, *, full: bool) -> bool:
        """Whether one in hands keeps the offset from what is finished behind it, or, if memory is `full`, reading."""
        finished = self.finished_up_to
        return event.position == finished + 1 and (full or self.cursor - finished > self.in_memory)

    def pull(self, urgent: Urgent) -> bool:
        """A stream with something urgent beyond what the main pass has read comes forward, with all that precedes it.
        False if it cannot: at the bound, or if the main pass has come to it since the look."""
        stream = urgent.stream
        if stream in self._lanes:
            self._lanes.boost(stream, urgent.of_class)
            return True
        new = None if stream in self._rows else Row(urgent.first, fin=self.fin)
        if new is not None and (urgent.position <= self.cursor or len(self._rows) >= self._bound):
            return False
        self._detached.pull(stream, urgent.of_class, urgent.version, new)
        if new is not None and urgent.event is not None:
            self._detached.read(stream, [urgent.event], urgent.version)
        return True

    def is_failing(self, stream: str) -> bool:
        """Whether the next event of a stream has failed before."""
        return stream in self._rows and self._rows[stream].row.state is not RowState.CLEAN

    def obey(self) -> list[Order]:
        """Carries out the orders that can be now; returns them without those that came too late."""
        obeyed: list[Order] = []
        for order in self._orders.values():
            if order.id not in self._taken and (done := self._detached.obey(order)) is not None:
                self._taken[order.id] = done
                if done:
                    obeyed.append(order)
        return obeyed

    # ---- committing ----

    def prepare(self) -> Commit | None:
        """The call to make, to be repeated unchanged until its outcome is known; None if there is nothing to commit.
        Until `committed` no other may be prepared."""
        if self._sent is not None:
            raise RuntimeError("the commit before has no outcome yet")
        offset = self.finished_up_to
        changed = self._detached.changed
        streams = {*changed, *self._candidates(offset)}
        brought = self.bringing.taken_along(lambda event: event.stream in self._rows or event.position <= offset)
        if offset == self.offset[1] and not (streams or self._taken or brought or self._has_gone):
            return None
        self._has_gone = False
        streams |= self._absent
        rows = {stream: self._rows[stream].row for stream in streams}
        failures = {stream: self._failures.pop(stream) for stream in changed & self._failures.keys()}
        self._sent_with = brought
        self._sent = Commit(
            self.token,
            self._number + 1,
            self._place(offset),
            rows,
            failures,
            dict(self._taken),
            tuple(out for each in brought for out in each.out),
            tuple(effect for each in brought for effect in each.effects),
        )
        changed.clear()
        return self._sent

    @property
    def brings_news(self) -> bool:
        """Whether the next commit does more than to move the offset."""
        return bool(self._detached.changed or self._taken or self.bringing)

    def bringer_of(self, what: str, index: int) -> Delivery:
        """The event that brought an effect or a returned event (`what`) of the call under way."""
        for each in self._sent_with:
            count = len(each.effects if what == "effect" else each.out)
            if index < count:
                return each.event
            index -= count
        raise IndexError(index)

    def committed(self, reply: Committed) -> None:
        """The answer to the call, the first or that of a repeat."""
        call, self._sent = self._sent, None
        if call is None:
            raise RuntimeError("no commit is under way")
        self._number, self.offset, self.fin = call.number, call.offset, reply.fin
        self.head = max(self.head, reply.head)
        for order_id in call.taken:
            del self._taken[order_id]
            self._orders.pop(order_id, None)
            self._dealt_with[order_id] = None
        while len(self._dealt_with) > REMEMBERED_ORDERS:
            del self._dealt_with[next(iter(self._dealt_with))]
        self._orders.update((order.id, order) for order in reply.orders if order.id not in self._dealt_with)
        for stream, row in call.rows.items():
            self._absent.discard(stream)
            if stream not in reply.gone:
                self._detached.refused(stream, call.offset[1])
            elif self._rows[stream].row != row:  # something has happened meanwhile: the row goes out again
                self._detached.changed.add(stream)
            elif self._detached.fits(stream, call.offset[1], self.cursor):
                self._reattach(stream)
                self._has_gone = self._tells_gone
            else:
                self._absent.add(stream)

    def learn(self, orders: Iterable[Order]) -> None:
        """All orders that are open, as seen by a look. What was open and is not among them was taken back, or it was
        given since: then the bell rings once more, for another look."""
        self._orders = {order.id: order for order in orders if order.id not in self._dealt_with}

    def _reattach(self, stream: str) -> None:
        events, is_running = self._detached.leave(stream)
        read = [(event, size) for event, size in events if event.position <= self.cursor]
        self._lanes.bring_back(read, running=is_running)

    def _candidates(self, offset: int) -> list[str]:
        at_head = offset >= self.head
        return self._detached.candidates(offset, self.cursor, CANDIDATES_PER_COMMIT, at_head=at_head)

    def _place(self, position: int) -> Place:
        if position == self.offset[1]:
            return self.offset
        return epoch_at(self._chain, position), position

    def begin_epoch(self, start: EpochStart) -> bool:
        """The log has begun an epoch. False if it is not the lease's own: then what is known here is of the past."""
        if start.epoch != self.token.epoch:
            return False
        self._chain = (*self._chain, start)
        return True
