"""Writers, a subscriber and readers on one log, and what must be true of it when they have ended.

Each writer repeats an append unchanged until it is acknowledged: that it was refused or that its outcome is unknown is
counted, and is never a loss or a double. Where a failover has taken acknowledged events away (which the test has to
allow), it goes on at the version that it finds.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import anyio
from msgspec import Struct

from eventstore import (
    DurabilityNotReached,
    EventsMissing,
    EventStore,
    Expected,
    NewEvent,
    OutcomeUnknown,
    Receipt,
    RecordedEvent,
    Unavailable,
    WrongExpectedVersion,
    audit,
)
from eventstore.codec import Entry
from eventstore.cursor import Place
from eventstore.epochs import LostEvents
from eventstore.partitions import partition_of
from eventstore.read import Order
from tests.support.servers import tries, until
from tests.support.stores import Noted

if TYPE_CHECKING:
    from eventstore.subscribe import Subscription

WRITERS = 8
APPEND_SECONDS = 1.0
Allowed = Collection[tuple[int, int]]
ORDERS: tuple[Order, ...] = ("partition", "total")


class Append(Struct, frozen=True):
    """One that was acknowledged."""

    events: tuple[NewEvent, ...]
    receipt: Receipt

    @property
    def ids(self) -> tuple[UUID, ...]:
        return tuple(event.id for event in self.events if event.id is not None)


class Load:
    """What was written and seen. `refused` counts the errors that a writer met and went on after."""

    def __init__(self, store: EventStore, *, seed: int) -> None:
        self.store = store
        self.appended: list[Append] = []
        self.refused: Counter[str] = Counter()
        self.seen: dict[str, list[RecordedEvent]] = {}
        self.followers: list[Subscription] = []
        self.reads = 0
        self.stop = False
        self._seed = seed

    async def wrote(self, more: int, seconds: float = 30) -> None:
        """Until so many more appends have been acknowledged."""
        wanted = len(self.appended) + more
        await until(lambda: len(self.appended) >= wanted, seconds)

    async def write(self, writer: int) -> None:
        """Now to streams of its own at an exact version, now to shared ones at any, now to new ones."""
        chance = random.Random(f"{self._seed}-{writer}")
        versions: Counter[str] = Counter()
        while not self.stop:
            kind, n = chance.choice(["own", "shared", "new"]), chance.randint(1, 3)
            if kind == "own":
                stream = f"own-{writer}-{chance.randrange(8)}"
                try:
                    versions[stream] = (await self.append(stream, n, versions[stream])).version
                except WrongExpectedVersion as error:
                    self.refused["WrongExpectedVersion"] += 1
                    versions[stream] = error.actual
            elif kind == "shared":
                await self.append(f"shared-{chance.randrange(8)}", n, Expected.ANY)
            else:
                await self.append(f"new-{uuid4().hex[:8]}", n, Expected.ANY if chance.random() < 0.5 else 0)

    async def append(self, stream: str, n: int, expected: int | Expected) -> Receipt:
        """Once, however often it must be tried."""
        events = tuple(NewEvent(id=uuid4(), data=Noted(i)) for i in range(n))
        while True:
            try:
                receipt = await self.store.append(stream, events, expected=expected, timeout_seconds=APPEND_SECONDS)
            except (OutcomeUnknown, Unavailable, DurabilityNotReached) as error:
                self.refused[type(error).__name__] += 1
                await anyio.sleep(0.01)
                continue
            self.appended.append(Append(events, receipt))
            return receipt

    async def follow(self, order: Order) -> None:
        mine = self.seen.setdefault(order, [])
        async with aclosing(self.store.subscribe(order=order, observer=order)) as subscription:
            self.followers.append(subscription)
            async for event in subscription:
                mine.append(event)

    async def reach_the_end(self, seconds: float = 30) -> None:
        """Until every subscriber has had the last event; the end may still move, for they report what was lost."""
        async for _ in tries(seconds):
            heads = (await self.store.heads()).places
            if all(follower.cursor.places == heads for follower in self.followers):
                return

    def position(self, order: Order, partition: int) -> int:
        """How far a subscriber has come in a partition."""
        return self.followers[ORDERS.index(order)].cursor.places[partition][1]

    async def read(self) -> None:
        """Whole reads, one after the other: none shows a gap. While a failover is under way one may be refused."""
        while not self.stop:
            try:
                last: Counter[int] = Counter()
                async for event in self.store.read_all():
                    assert event.position > last[event.partition]
                    last[event.partition] = event.position
            except (Unavailable, EventsMissing) as error:  # the latter when the log has lost what was being read
                self.refused[f"read: {type(error).__name__}"] += 1
                await anyio.sleep(0.01)
            else:
                self.reads += 1

    async def reports(self) -> list[LostEvents]:
        """What the subscribers have reported as lost, each report once."""
        found = [entry.data async for entry in audit.entries(self.store) if entry.data.what == "LostEvents"]
        reports = [LostEvents(entry.who, **entry.facts) for entry in found]
        assert len({report.id for report in reports}) == len(reports)
        return reports

    def check(
        self,
        entries: Sequence[Entry],
        *,
        lost: Collection[LostEvents] = (),
        allowed: Allowed = (),
        final: bool = True,
    ) -> None:
        """Every acknowledged append is there once, where its receipt says, and nothing else is there; each subscriber
        saw each event once, in its order, and what it saw that is no longer there is what it reported. Of the appends
        by their numbers, those of `allowed` may have been lost. `final`: also the total order was kept."""
        assert (self.refused["WrongExpectedVersion"], self.refused["read: EventsMissing"]) == (0, 0) or lost
        at = {(entry.partition, entry.position): entry for entry in entries}
        for partition in {entry.partition for entry in entries}:
            positions = [entry.position for entry in entries if entry.partition == partition]
            assert positions == list(range(1, len(positions) + 1))
        users = [entry for entry in entries if entry.stream[0] != "$"]
        assert len({entry.id for entry in entries}) == len(entries)
        kept = [append for append in self.appended if _is_there(append, at)]
        gone = {i for i, append in enumerate(self.appended) if not _is_there(append, at)}
        assert gone <= {i for first, last in allowed for i in range(first, last)}
        assert len(users) == sum(len(append.events) for append in kept)
        for order, events in self.seen.items():
            mine = [report for report in lost if report.observer == order]
            _check_seen(events, users, mine, self.store.log.partitions, total=order == "total" and final)


@asynccontextmanager
async def loaded(load: Load, *, writers: int = WRITERS, readers: int = 1) -> AsyncIterator[None]:
    """Load on the log while the block runs. On leaving the writers end, and the subscribers come to the last event."""
    async with anyio.create_task_group() as following:
        for order in ORDERS:
            following.start_soon(load.follow, order)
        async with anyio.create_task_group() as writing:
            for writer in range(writers):
                writing.start_soon(load.write, writer)
            for _ in range(readers):
                writing.start_soon(load.read)
            yield
            load.stop = True
        await load.reach_the_end()
        following.cancel_scope.cancel()


def _is_there(append: Append, at: Mapping[Place, Entry]) -> bool:
    """Whether the events of an append are where its receipt says."""
    receipt, n = append.receipt, len(append.events)
    for i, event in enumerate(append.events):
        entry = at.get((receipt.partition, receipt.position - n + 1 + i))
        if entry is None or (entry.id, entry.epoch) != (event.id, receipt.epoch):
            return False
        assert (entry.stream, entry.version) == (receipt.stream, receipt.version - n + 1 + i)
        assert entry.recorded_at == receipt.recorded_at
    return True


def _check_seen(
    events: Sequence[RecordedEvent],
    entries: Sequence[Entry],
    lost: Sequence[LostEvents],
    partitions: int,
    *,
    total: bool,
) -> None:
    there = {(entry.partition, entry.epoch, entry.position, entry.id) for entry in entries}
    kept = [event for event in events if (event.partition, event.epoch, event.position, event.id) in there]
    gone = [event for event in events if (event.partition, event.epoch, event.position, event.id) not in there]
    assert sorted(map(_place, kept)) == sorted(map(_place, entries))
    for partition in {event.partition for event in kept}:
        mine = [event.position for event in kept if event.partition == partition]
        assert mine == sorted(mine)
    if total:
        assert list(map(_total, kept)) == sorted(map(_total, kept))
    reported = Counter((report.partition, at) for report in lost for at in range(report.first, report.last + 1))
    unseen = reported - Counter(map(_place, gone))  # entries of system streams, which are read and not delivered
    assert Counter(map(_place, gone)) - reported == Counter()
    assert {partition for partition, _ in unseen} <= {partition_of(audit.STREAM, partitions)}


def _place(event: RecordedEvent | Entry) -> tuple[int, int]:
    return event.partition, event.position


def _total(event: RecordedEvent | Entry) -> tuple[int, int, int]:
    return event.recorded_at, event.partition, event.position
