"""What a member reads of one partition: pages of the main pass, events of lanes, and what is urgent beyond the window.

    pages     while the window has room and the log has more; else the listener (listen.py) brings what is new
    waiting   as they came from the server, until nothing else may run, or for UNPACK_SECONDS
    window    unpacked and in their lanes
    lanes     of detached streams: through their index, when their lane comes to its turn

An event is unpacked shortly before it is handled: it is still in the processor's cache then, and the garbage collector
never comes upon a whole window of them. Both together took a third of the time of a handler that does nothing. What is
read is unpacked at once where priorities choose among all of it, and soon where handlers take their time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import anyio
import msgspec

from consumers.deliveries import Deliveries
from consumers.errors import EventStoreError
from consumers.holder import Holder
from consumers.keys import GroupKeys
from consumers.look import first_failure
from consumers.urgent import urgent_beyond
from consumers.weights import HEAVY_BYTES, Weights, heavy_ones
from eventstore.entries import Run
from eventstore.envelope import Priority
from eventstore.epochs import Chain, epoch_at, parse
from eventstore.log import Log
from eventstore.pages import partition_page, stream_page
from eventstore.spans import NO_BOUND
from infrastructure.tasks import together

WINDOW_EVENTS = 1_024
WINDOW_BYTES = 8 << 20
UNPACKED_AT_ONCE = 64
UNPACK_SECONDS = 0.25
_NOT_NORMAL = tuple(msgspec.msgpack.encode(each.value) for each in Priority if each is not Priority.NORMAL)
"""How a stored event ends that has such a priority, but for one that has headers: it is found when it is unpacked, and
what is urgent also through its index."""
LANE_EVENTS = 64
LANES_AT_ONCE = 16
LOOK_FOR_URGENT_SECONDS, LOOK_AGAIN_SECONDS, LOOK_AGAIN_FOR_SECONDS = 0.05, 0.02, 10.0
"""How often what is urgent is looked for beyond the window, and how often for a while once some was found."""
OTHER_EPOCH = "the log goes on in another epoch"


class Reading:
    """For one Owned. `on_fed` is told when events have come into the window or may, `on_head` when the main pass has
    read to the end of the log, `on_lost` that what is known here is of the past."""

    def __init__(
        self,
        log: Log,
        keys: GroupKeys,
        holder: Holder,
        deliveries: Deliveries,
        epochs: bytes,
        *,
        on_fed: Callable[[], None],
        on_head: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.at_head = False
        self.is_ending = False
        """Nothing more is read."""
        self.largest = 0
        """Bytes of the partition's largest event, by the newest answer; 0: not known."""
        self.first_failed_us: dict[str, int] = {}
        """Of streams whose next event has failed, by this member's knowledge: when it did so first."""
        self._log, self._keys, self._holder, self._deliveries = log, keys, holder, deliveries
        self._on_fed, self._on_head, self._on_lost = on_fed, on_head, on_lost
        self._chain: Chain = parse(epochs)
        self._read_up_to = holder.cursor
        self._waiting: deque[tuple[float, Run]] = deque()  # with the time at which it was read
        self._waiting_events = 0
        self._waiting_weights = Weights()
        self._priority: bytes | None = b""
        self._mixed_up_to = 0
        self._room = asyncio.Event()  # something may be read
        self._behind = asyncio.Event()  # there is more in the log than in the window
        self._lanes = asyncio.Event()  # a lane wants events
        self._room.set()

    @property
    def last_id(self) -> str:
        """Id of the last entry that the main pass has read."""
        return self._id_at(self._read_up_to)

    def _id_at(self, position: int) -> str:
        return f"{epoch_at(self._chain, position)}-{position}"

    # ---- what was read ----

    def unpack(self) -> bool:
        """Brings the next of what waits into the window. False if nothing waits. Raises LogDamaged."""
        if not self._waiting:
            return False
        self._unpack_next()
        if self._is_mixed:
            self._unpack_all()
        return True

    def _unpack_all(self) -> None:
        while self._waiting:
            self._unpack_next()

    def _unpack_next(self) -> None:
        _, run = self._waiting.popleft()
        self._waiting_events -= len(run.values)
        weights = self._waiting_weights
        sizes = {position: weights.drop(position) for position in run.positions} if weights else None
        events = list(self._deliveries.of(self._keys.partition, (run,)))
        self._holder.feed(events, run.first + len(run.values) - 1, sizes)

    def unpack_old(self) -> None:
        """What has waited for long."""
        long_ago = time.monotonic() - UNPACK_SECONDS
        if self._waiting and self._waiting[0][0] < long_ago:
            while self._waiting and self._waiting[0][0] < long_ago:
                self._unpack_next()
            self._on_fed()

    @property
    def _is_mixed(self) -> bool:
        """Whether priorities choose, so that they should among all that was read: what is read and unfinished has more
        than one."""
        if self._priority == b"" and self._holder.has_priorities:  # of an event that has headers
            return True
        return self._mixed_up_to > self._holder.finished_up_to

    def turn_over(self) -> None:
        """Somebody has taken what there was, or has taken for long."""
        if self.has_room:
            self._room.set()
        if self._holder.wants_events:
            self._lanes.set()

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        holder = self._holder
        return (
            holder.in_memory + self._waiting_events <= WINDOW_EVENTS // 2
            and holder.bytes_in_memory + self._waiting_weights.bytes <= WINDOW_BYTES // 2
            and not holder.is_far_ahead(self._read_up_to)
        )

    def _feed(self, runs: Sequence[Run], largest: int = 0) -> None:
        """Consecutive runs behind what was read before. None of their events has more bytes than `largest`, if that is
        known."""
        at = time.monotonic()
        for run in runs:
            for i in range(0, len(run.values), UNPACKED_AT_ONCE):
                self._waiting.append((at, Run(run.epoch, run.first + i, 1, run.values[i : i + UNPACKED_AT_ONCE])))
            self._waiting_events += len(run.values)
            self._read_up_to += len(run.values)
        for position, size in heavy_ones(runs, largest):
            self._waiting_weights.add(position, size)
        before, self._priority = self._priority, _priority_of(runs) if runs else self._priority
        if self._priority is None or self._priority != before:
            self._mixed_up_to = self._read_up_to
        if self._is_mixed:
            self._unpack_all()
        self._on_fed()

    # ---- the main pass ----

    def heard(self, entries: Sequence[tuple[bytes, Sequence[bytes]]], *, all_of_them: bool) -> None:
        """What the listener has read behind the head that was known. If it does not follow, pages tell what is so."""
        epoch = self._chain[-1].epoch if self._chain else 0
        following = self._read_up_to + 1
        ids = [entry_id.split(b"-") for entry_id, _ in entries]
        expected = [(epoch, position) for position in range(following, following + len(ids))]
        if not self.at_head or [(int(e), int(p)) for e, p in ids] != expected:
            self.look_again()
            return
        self._feed([Run(epoch, following, 1, [fields[1] for _, fields in entries])])
        if not (all_of_them and self.has_room):
            self.look_again()

    def look_again(self) -> None:
        """There may be more in the log than was read."""
        self.at_head = False
        self._behind.set()
        self._room.set()

    async def read_on(self) -> None:
        """Pages, for ever."""
        bound = NO_BOUND
        while True:
            await self._room.wait()
            self._room.clear()
            while not self.is_ending and not self.at_head and self.has_room:
                page = await partition_page(
                    self._log,
                    self._keys.partition,
                    self._read_up_to + 1,
                    events=WINDOW_EVENTS,
                    size=WINDOW_BYTES // 2,
                    known=self._chain,
                    bound=bound,
                )
                bound, self.largest = page.bound, page.bound.size
                if page.epochs is not None and not self._follows(parse(page.epochs)):
                    return self._on_lost(OTHER_EPOCH)
                if page.head < self._read_up_to:
                    return self._on_lost("the log has lost events")
                self._feed(page.entries.runs, page.bound.size)
                self.at_head = self._read_up_to == page.head
                if self.at_head:
                    self._on_head()

    def _follows(self, chain: Chain) -> bool:
        """Whether nothing is new but the epoch of this lease."""
        if chain[:-1] == self._chain and chain and self._holder.begin_epoch(chain[-1]):
            self._chain = chain
        return self._chain == chain

    # ---- beside it ----

    async def read_lanes(self) -> None:
        """Events that lanes want, for ever."""
        while True:
            await self._lanes.wait()
            self._lanes.clear()
            while wanting := self._holder.wanting(LANES_AT_ONCE):
                await together([partial(self._read_lane, stream, version) for stream, version in wanting])
                self._on_fed()

    def look_at_lanes(self) -> None:
        """Some may want events."""
        self._lanes.set()

    async def _read_lane(self, stream: str, version: int) -> None:
        try:
            found = await stream_page(
                self._log,
                stream,
                self._keys.partition,
                version,
                0,
                backwards=False,
                events=LANE_EVENTS,
                size=WINDOW_BYTES // LANES_AT_ONCE,
                known=self._chain,
            )
        except EventStoreError:
            self._holder.want_again(stream)
            raise
        if found.page.epochs is not None and not self._follows(parse(found.page.epochs)):
            self._on_lost(OTHER_EPOCH)
            return
        if self._holder.is_failing(stream) and stream not in self.first_failed_us:
            self.first_failed_us[stream] = await first_failure(self._log, self._keys, stream)
        entries = found.page.entries
        sizes = {entry.position: len(entry.data) for entry in entries if len(entry.data) >= HEAVY_BYTES}
        self._holder.read(stream, [self._deliveries.one(entry) for entry in entries], found.version, sizes)

    async def pull_on(self) -> None:
        """While there is more than in the window, what is urgent comes forward; for ever."""
        after, looked_up_to = self._id_at(self._holder.cursor), self._holder.cursor
        often_until = 0.0
        while True:
            if self.at_head and not self._waiting:
                self._behind.clear()
                await self._behind.wait()
            often = time.monotonic() < often_until
            await anyio.sleep(LOOK_AGAIN_SECONDS if often else LOOK_FOR_URGENT_SECONDS)
            window_ends_at = self._holder.cursor
            if looked_up_to < window_ends_at:
                after, looked_up_to = self._id_at(window_ends_at), window_ends_at
            found, last = await urgent_beyond(self._log, self._keys.partition, after, window_ends_at, self._deliveries)
            pulled = [self._holder.pull(each) for each in found]
            if all(pulled):
                after, looked_up_to = last, int(last.partition("-")[2])
            if any(pulled):
                often_until = time.monotonic() + LOOK_AGAIN_FOR_SECONDS
                self._lanes.set()
                self._on_fed()


def _priority_of(runs: Sequence[Run]) -> bytes | None:
    """How all values end if they have one priority; empty for NORMAL, None for several."""
    first = runs[0].values[0]
    ending = next((each for each in _NOT_NORMAL if first.endswith(each)), b"")
    if ending:
        is_one = all(value.endswith(ending) for run in runs for value in run.values)
    else:
        is_one = not any(value.endswith(_NOT_NORMAL) for run in runs for value in run.values)
    return ending if is_one else None
