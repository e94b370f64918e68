"""What a relay knows of the returned events that wait in one partition's `:out`; no IO (PROTOCOLS.md section 5).

For each partition that they go to there is a flow. An event goes on only behind the one that was taken there last, so a
flow must know two things: the mark (the id taken last, which the target tells) and what follows it in `:out`. The
target takes what is sent only where its mark is still that one. What is believed here may therefore be of the past, or
somebody else's relay may do the same work: then nothing is taken, the answer tells the mark, and the flow begins again.

    no mark        the first event for the target has been seen: ask for the mark
    unplaced       read `:out` from its beginning, after the mark was told. If the mark is still there, what comes
                   behind it follows; if it is not, the oldest entry does
    placed         what is read on follows by itself, for nothing is ever put between two entries

Removed is what was taken, each flow's in order and without a gap, and only from the server process that it was read
from: of what is still there and was taken the mark must be the last, or all of it would be sent again. Another process
means that entries may be back: everything is read again.
"""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from consumers.state import Outgoing
from eventstore.cursor import Place

START: Place = (0, 0)
"""As a mark: nothing was taken yet. As a place to read on behind: the beginning."""
CALL_EVENTS, CALL_BYTES = 256, 512 << 10
QUEUE_EVENTS, QUEUE_BYTES = 512, 512 << 10
"""Of one flow. The page that fills it may bring it above."""


class Waiting(Struct, frozen=True, gc=False):
    """A returned event, and the id of its entry in `:out`."""

    id: Place
    event: Outgoing


class Page(Struct, frozen=True):
    """`there` tells for each mark that was asked about whether its entry is still in `:out`; `process` is the server's
    replid."""

    process: bytes
    entries: Sequence[Waiting]
    more: bool
    there: Sequence[bool] = ()


class Reading(Struct, frozen=True):
    """The next page: behind which entry it begins, and the flows whose marks are asked about."""

    after: Place
    flows: tuple["Flow", ...]
    turn: int

    @property
    def marks(self) -> list[Place]:
        return [flow.mark for flow in self.flows if flow.mark is not None]


class Call(Struct, frozen=True):
    """What is sent to a target. Without entries it asks for the mark."""

    expect: Place
    entries: tuple[Waiting, ...]


class Flow:
    """From one partition to another. Changed by its Outbox alone."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.mark: Place | None = None
        self.is_placed = False
        self.fails = False
        """The target cannot be reached at present: it holds up nobody but itself."""
        self.is_carried = False
        """Somebody makes its calls, one at a time."""
        self.is_behind = False
        """There was no room for some that have been read."""
        self.seen: Place = START
        self._taken_up_to: Place = START
        self._queue: deque[Waiting] = deque()
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= QUEUE_EVENTS or self._bytes >= QUEUE_BYTES

    @property
    def call(self) -> Call | None:
        """The next one, if there is something to ask or to send."""
        if self.mark is None:
            return Call(START, ())
        if not self._queue:
            return None
        entries, size = [], 0
        for each in self._queue:
            entries.append(each)
            size += len(each.event.packed)
            if len(entries) == CALL_EVENTS or size >= CALL_BYTES:
                break
        return Call(self.mark, tuple(entries))

    def unplace(self) -> None:
        self.is_placed = self.is_behind = False
        self._queue.clear()
        self._bytes = 0

    def place(self, *, is_there: bool) -> None:
        """What is read from now on comes from the beginning of `:out`."""
        self.is_placed, self.seen = True, START
        self._taken_up_to = self.mark if is_there and self.mark is not None else START

    def offer(self, entry: Waiting) -> bool:
        """Whether it was taken before, by what the target says."""
        if not self.is_placed or self.is_behind or entry.id <= self.seen:
            return False
        if self.is_full and self.fails:
            self.is_behind = True
            return False
        self.seen = entry.id
        if entry.id <= self._taken_up_to:
            return True
        self._queue.append(entry)
        self._bytes += len(entry.event.packed)
        return False

    def answered(self, mark: Place) -> list[Place]:
        """What has been taken of those that wait here."""
        if not self.is_placed or (mark != self.mark and all(each.id != mark for each in self._queue)):
            self.unplace()
            self.mark = mark
            return []
        taken = []
        while self.mark != mark:
            first = self._queue.popleft()
            self._bytes -= len(first.event.packed)
            self.mark = first.id
            taken.append(first.id)
        return taken


class Outbox:
    """All flows from one partition."""

    def __init__(self) -> None:
        self.process: bytes | None = None
        self.flows: dict[int, Flow] = {}
        self.taken: list[Place] = []
        """Entries that may be removed. What is told of them must be as durable as the log promises."""
        self._cursor: Place = START
        self._has_more = False
        self._turn = 0

    def tell(self) -> None:
        """There may be more than was read."""
        self._has_more = True

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be done."""
        return not self._has_more and not self.taken and all(flow.call is None for flow in self.flows.values())

    def next_reading(self) -> Reading | None:
        """The next page to be read: `read` it, or `tell` that it is still to be read. None also while a target that can
        be reached has enough: it will have room soon."""
        if not self._has_more or any(flow.is_full and not flow.fails for flow in self.flows.values()):
            return None
        self._has_more = False
        lost = [flow for flow in self.flows.values() if flow.mark is not None and not flow.is_placed]
        return Reading(self._cursor, tuple(lost) if self._cursor == START else (), self._turn)

    def read(self, reading: Reading, page: Page) -> None:
        """The page that was asked for, once it is as durable as the log promises."""
        if self.process is None:
            self.process = page.process
        if page.process != self.process:
            self._begin_again(page.process)
        if reading.turn != self._turn:
            return
        for flow, is_there in zip(reading.flows, page.there, strict=True):
            flow.place(is_there=is_there)
        for entry in page.entries:
            target = entry.event.partition
            if target not in self.flows:
                self.flows[target] = Flow(target)
            if self.flows[target].offer(entry):
                self.taken.append(entry.id)
        self._cursor = page.entries[-1].id if page.entries else self._cursor
        self._has_more |= page.more

    def answered(self, flow: Flow, mark: Place) -> None:
        """What a target has answered, once it is as durable as the log promises."""
        flow.fails = False
        self.taken += flow.answered(mark)
        if not flow.is_placed:
            self._read_behind(START)
        elif flow.is_behind and not flow.is_full:
            flow.is_behind = False
            self._read_behind(flow.seen)

    def removed(self, ids: Sequence[Place], process: bytes) -> None:
        """The first of `taken` were removed, if it was still the same process."""
        if process == self.process:
            del self.taken[: len(ids)]
        else:
            self._begin_again(process)

    def _begin_again(self, process: bytes) -> None:
        self.process = process
        self.taken.clear()
        for flow in self.flows.values():
            flow.unplace()
        self._read_behind(START)

    def _read_behind(self, place: Place) -> None:
        """Pages that are under way are of no use then."""
        self._cursor, self._has_more = min(self._cursor, place), True
        self._turn += 1
