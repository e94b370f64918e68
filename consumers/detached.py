"""The streams of one partition that left the main pass, each with a lane of its own.

A stream leaves because its next event failed, because its handler is slow, because it was pulled forward or because an
operator replays it. From then on its row (state.py) tells where it stands, and the main pass, which sees its events
fly by, passes them over. The lane goes on from `next`, with events that the main pass saw as long as there is no gap,
else with what is read through the stream's index. A stream comes back only in a commit, whose script judges by what is
stored (`reattaches` in rows.lua); here is what the holder of the lease knows.

    row        what its lane does
    clean      runs, as fast as its events come
    retrying   waits until it is due, then tries `next` again
    parked     waits for an operator
"""

from collections import deque
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from consumers.deliveries import Delivery
from consumers.state import Order, Row, RowState
from consumers.turns import CLASSES, NORMAL, Turns
from consumers.weights import Weights

KEPT_EVENTS = 64
"""Of one lane in memory; what follows is read when it is needed."""
KEPT_IN_ALL, KEPT_BYTES = 8_192, 8 << 20
"""Of all lanes, and what their heavy events weigh. With so much, no more is read for lanes while others have events."""
_FIRST_PATIENCE, _MOST_PATIENCE = 256, 65_536


class DetachedLane(Struct):
    """`events` are those from `next` on, without a gap. `tail` is the highest version known to exist, `seen` the place
    of the last event that the main pass has passed over. `judged` is the offset up to which it need not be asked again
    whether the stream may come back. Up to version `urgent_up_to` it counts as `urgent_class` (turns.py). `is_stored`
    is false for one that was pulled forward and has not moved yet: in the table it would re-attach at once."""

    row: Row
    events: deque[Delivery]
    tail: float = inf
    seen_version: int = 0
    seen_position: int = 0
    last_position: int = 0
    running: bool = False
    queued: bool = False
    is_stored: bool = True
    urgent_class: int = NORMAL
    urgent_up_to: int = 0
    judged: int = -1
    patience: int = _FIRST_PATIENCE

    @property
    def end(self) -> int:
        """The version behind the last event in memory."""
        return self.row.next + len(self.events)


class Detached:
    """The lanes by stream, the turns they get, and which of their rows changed since they were last sent."""

    def __init__(self, rows: Mapping[str, Row], kept_in_all: int = KEPT_IN_ALL) -> None:
        self.kept = 0
        """Events in memory."""
        self.weights = Weights()
        self._kept_in_all = kept_in_all
        self._is_empty_handed = False  # no lane that may run has events: some must be read, however full memory is
        self.lanes = {stream: DetachedLane(row, deque()) for stream, row in rows.items()}
        self.changed: set[str] = set()
        self._clean = {stream for stream, row in rows.items() if row.state is RowState.CLEAN}
        self.turns: Turns[str] = Turns()
        """Lanes that may run, or that must be asked whether they may."""
        self._wanting: set[str] = set()
        self._due: list[tuple[int, str]] = []
        for stream, lane in self.lanes.items():
            self._offer(stream, lane)

    def __len__(self) -> int:
        return len(self.lanes)

    # ---- turns ----

    def take(self, now_ms: int) -> Delivery | None:
        """The next event of a lane that may run, which stands still until it is advanced, failed or put back."""
        self._wake_due(now_ms)
        while (stream := self.turns.pop()) is not None:
            lane = self.lanes[stream]
            lane.queued = False
            if lane.running or lane.row.state is RowState.PARKED:
                continue
            if lane.events:
                lane.running = True
                return lane.events[0]
            self._wanting.add(stream)
        self._is_empty_handed = bool(self._wanting)
        return None

    def _wake_due(self, now_ms: int) -> None:
        while self._due and self._due[0][0] <= now_ms:
            due_ms, stream = heappop(self._due)
            lane = self.lanes.get(stream)
            if lane and lane.row.state is RowState.RETRYING and lane.row.due_ms == due_ms:
                self._enqueue(stream, lane)

    @property
    def next_due_ms(self) -> int | None:
        """When the next retry is due, by the server's clock."""
        return self._due[0][0] if self._due else None

    @property
    def has_urgent(self) -> bool:
        """Whether a lane above NORMAL waits for its turn."""
        return self.turns.has_urgent

    @property
    def wants_events(self) -> bool:
        return bool(self._wanting)

    def want(self, stream: str) -> None:
        """A lane has come to its turn without events."""
        if stream in self.lanes:
            self._wanting.add(stream)

    def wanting(self, most: int) -> list[tuple[str, int]]:
        """Lanes whose events must be read: stream, and the version to begin with. Each is named once, until `read`.
        None while memory is full, as long as there is a lane that may run and has events: these make room."""
        if self._is_full(2) and not self._is_empty_handed:
            return []
        self._is_empty_handed = False
        chosen = [self._wanting.pop() for _ in range(min(most, len(self._wanting)))]
        return [(stream, self.lanes[stream].end) for stream in chosen if stream in self.lanes]

    def read(self, stream: str, events: Sequence[Delivery], tail: int, sizes: Mapping[int, int] | None = None) -> None:
        """What the index had from the version asked for, and the version of the stream at that moment; `sizes` of the
        heavy ones by position. What there is no room for is read again."""
        lane = self.lanes.get(stream)
        if lane is None:
            return
        lane.tail = max(tail, lane.seen_version)
        for event in events:
            if event.version == lane.end and not (lane.events and self._is_full()):
                self._keep(lane, event, (sizes or {}).get(event.position, 0))
        if lane.events:
            self._wanting.discard(stream)
        self._offer(stream, lane, due=True)

    def _is_full(self, parts: int = 1) -> bool:
        """Of so many parts of memory, whether one is full."""
        return parts * self.kept >= self._kept_in_all or parts * self.weights.bytes >= KEPT_BYTES

    def _keep(self, lane: DetachedLane, event: Delivery, size: int) -> None:
        lane.events.append(event)
        self.kept += 1
        self.weights.add(event.position, size)

    def _forget(self, event: Delivery) -> int:
        self.kept -= 1
        return self.weights.drop(event.position)

    def pass_over(self, event: Delivery, size: int = 0) -> None:
        """The main pass has come to an event of a detached stream; `size` if it is a heavy one."""
        lane = self.lanes[event.stream]
        lane.seen_version, lane.seen_position = event.version, event.position
        if lane.tail != inf:
            lane.tail = max(lane.tail, event.version)
        if not lane.is_stored:  # from now on the offset may pass it, so the table must have it
            self._set(event.stream, lane, lane.row)
        is_clean = lane.row.state is RowState.CLEAN
        if is_clean and event.version == lane.end and len(lane.events) < KEPT_EVENTS and not self._is_full():
            self._keep(lane, event, size)
        if is_clean:
            self._offer(event.stream, lane)

    # ---- what becomes of a row ----

    def detach(
        self, stream: str, row: Row, events: Sequence[tuple[Delivery, int]], *, running: bool, has_gaps: bool
    ) -> None:
        """A stream leaves the main pass with the events of it that were read there, and what heavy ones weigh.
        `has_gaps`: some may have been left out between them and behind them. A lane goes by versions, so it reads those
        again through the index."""
        lane = DetachedLane(row, deque(), running=running)
        if events:
            last, _ = events[-1]
            lane.seen_version, lane.seen_position = last.version, last.position
        if not has_gaps:
            lane.tail = lane.seen_version
        for event, size in events[:KEPT_EVENTS]:
            if event.version == lane.end and not (lane.events and self._is_full()):
                self._keep(lane, event, size)
        self.lanes[stream] = lane
        self._set(stream, lane, row)

    def pull(self, stream: str, of_class: int, up_to: int, new: Row | None = None) -> None:
        """The lane counts as so urgent until version `up_to` is finished. `new` is its row if there is no such lane."""
        if new is not None:
            lane = self.lanes[stream] = DetachedLane(new, deque(), is_stored=False)
            self._clean.add(stream)
            self._wanting.add(stream)  # at once: it is in a hurry
        lane = self.lanes[stream]
        if up_to > lane.urgent_up_to or of_class < lane.urgent_class:
            lane.urgent_class, lane.urgent_up_to = of_class, max(up_to, lane.urgent_up_to)
            if lane.queued:
                self.turns.remove(stream)
                self.turns.add(stream, stream, self._class_of(lane))

    def advance(self, event: Delivery) -> None:
        """Version `next` is finished, or passed over."""
        lane = self.lanes[event.stream]
        lane.running = False
        lane.last_position = event.position
        self._next(event.stream, lane)

    def fail(self, stream: str, row: Row) -> None:
        """Version `next` has failed: `row` is retrying or parked."""
        lane = self.lanes[stream]
        lane.running = False
        while lane.events:  # ten thousand of them wait: what they wait for is read when it is due
            self._forget(lane.events.popleft())
        self._set(stream, lane, row)

    def put_back(self, stream: str) -> None:
        """The head was not handled after all."""
        lane = self.lanes[stream]
        lane.running = False
        self._enqueue(stream, lane)

    def obey(self, order: Order) -> bool | None:
        """Carries out an order. False if it comes too late; None if the version is being handled just now."""
        lane = self.lanes.get(order.stream)
        if lane is None or lane.row.next != order.version or lane.row.state is RowState.CLEAN:
            return False
        if lane.running:
            return None
        if order.kind == "retry":
            self._set(order.stream, lane, replace(lane.row, state=RowState.RETRYING, attempts=0, due_ms=0))
        else:
            lane.last_position = int(lane.row.pending.partition("-")[2] or 0)
            self._next(order.stream, lane)
        return True

    # ---- back to the main pass ----

    def candidates(self, offset: int, read_up_to: int, most: int, *, at_head: bool) -> list[str]:
        """Clean rows that may re-attach at this offset as far as can be known here. One that was refused is asked again
        when the offset has moved on by far, or has come to the head."""
        chosen: list[str] = []
        for stream in self._clean:
            lane = self.lanes[stream]
            if not lane.is_stored:
                continue
            again = lane.judged < offset if at_head else lane.judged + lane.patience <= offset or lane.judged < 0
            if again and lane.last_position <= offset and self.fits(stream, offset, read_up_to):
                chosen.append(stream)
                if len(chosen) == most:
                    break
        return chosen

    def fits(self, stream: str, offset: int, read_up_to: int) -> bool:
        """Whether the main pass, which has read beyond the offset, could go on with the stream: whatever it has passed
        over is in memory, and nothing that it has not come to is being handled."""
        lane = self.lanes[stream]
        if lane.events and (
            lane.events[0].position <= offset or (lane.running and lane.events[0].position > read_up_to)
        ):
            return False
        return lane.seen_position <= offset or lane.end > lane.seen_version

    def refused(self, stream: str, offset: int) -> None:
        """It may not re-attach at this offset."""
        lane = self.lanes[stream]
        lane.judged, lane.patience = offset, min(2 * lane.patience, _MOST_PATIENCE)

    def leave(self, stream: str) -> tuple[list[tuple[Delivery, int]], bool]:
        """The stream has re-attached: its events in memory, what heavy ones weigh, and if the first is in hands."""
        self._clean.discard(stream)
        self._wanting.discard(stream)
        self.turns.remove(stream)
        lane = self.lanes.pop(stream)
        return [(event, self._forget(event)) for event in lane.events], lane.running

    # ---- helpers ----

    def _next(self, stream: str, lane: DetachedLane) -> None:
        if lane.events:
            self._forget(lane.events.popleft())
        self._set(stream, lane, Row(lane.row.next + 1, fin=lane.row.fin))

    def _set(self, stream: str, lane: DetachedLane, row: Row) -> None:
        lane.row, lane.is_stored = row, True
        lane.judged, lane.patience = -1, _FIRST_PATIENCE
        self.changed.add(stream)
        (self._clean.add if row.state is RowState.CLEAN else self._clean.discard)(stream)
        self._offer(stream, lane)

    def _offer(self, stream: str, lane: DetachedLane, *, due: bool = False) -> None:
        """The lane gets a turn if it may have one; `due` for one whose events have come because it had one."""
        if lane.running:
            return
        if lane.row.state is RowState.RETRYING and not due:
            heappush(self._due, (lane.row.due_ms, stream))
        elif lane.row.state is not RowState.PARKED and (lane.events or lane.row.next <= lane.tail):
            self._enqueue(stream, lane)

    def _enqueue(self, stream: str, lane: DetachedLane) -> None:
        if not lane.queued:
            lane.queued = True
            self.turns.add(stream, stream, self._class_of(lane))

    @staticmethod
    def _class_of(lane: DetachedLane) -> int:
        pulled = lane.urgent_class if lane.row.next <= lane.urgent_up_to else NORMAL
        if not lane.events:
            return pulled
        head = CLASSES[lane.events[0].metadata.priority]
        return min(head, pulled) if lane.row.next <= lane.urgent_up_to else head
