"""Writers, a subscriber and readers on one log, and what must be true of it when they have ended.

Each writer repeats an append unchanged until it is acknowledged: that it was refused or that its outcome is unknown is
counted, and is never a loss or a double.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import anyio
from msgspec import Struct

from eventstore import (
    DurabilityNotReached,
    EventStore,
    Expected,
    NewEvent,
    OutcomeUnknown,
    Receipt,
    RecordedEvent,
    Unavailable,
)
from eventstore.codec import Entry
from eventstore.cursor import Place
from eventstore.read import Order
from tests.support.servers import until
from tests.support.stores import Noted

if TYPE_CHECKING:
    from eventstore.subscribe import Subscription

WRITERS = 8
APPEND_SECONDS = 1.0
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
                receipt = await self.append(stream, n, versions[stream])
                versions[stream] = receipt.version
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
        """Until every subscriber has had the last event."""
        heads = (await self.store.heads()).places
        await until(lambda: all(follower.cursor.places == heads for follower in self.followers), seconds)

    async def read(self) -> None:
        """Whole reads, one after the other: none shows a gap. While a failover is under way one may be refused."""
        while not self.stop:
            try:
                last: Counter[int] = Counter()
                async for event in self.store.read_all():
                    assert event.position > last[event.partition]
                    last[event.partition] = event.position
            except Unavailable as error:
                self.refused[f"read: {type(error).__name__}"] += 1
                await anyio.sleep(0.01)
            else:
                self.reads += 1

    def check(self, entries: Sequence[Entry]) -> None:
        """Every acknowledged append is there once, where its receipt says, and nothing else is there; each subscriber
        saw each event once, in its order."""
        at = {(entry.partition, entry.position): entry for entry in entries}
        for partition in {entry.partition for entry in entries}:
            positions = [entry.position for entry in entries if entry.partition == partition]
            assert positions == list(range(1, len(positions) + 1))
        for append in self.appended:
            assert _found(append.receipt, at) == append.ids
        users = [entry for entry in entries if entry.stream[0] != "$"]
        assert len({entry.id for entry in entries}) == len(entries)
        assert len(users) == sum(len(append.events) for append in self.appended)
        for order, events in self.seen.items():
            _check_seen(order, events, users)


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


def _found(receipt: Receipt, at: Mapping[Place, Entry]) -> tuple[UUID, ...]:
    """The ids of the events where a receipt says that they are."""
    n = len(receipt.ids)
    found = []
    for i in range(n):
        entry = at[receipt.partition, receipt.position - n + 1 + i]
        assert (entry.stream, entry.version) == (receipt.stream, receipt.version - n + 1 + i)
        assert (entry.recorded_at, entry.epoch) == (receipt.recorded_at, receipt.epoch) or i < n - 1
        found.append(entry.id)
    return tuple(found)


def _check_seen(order: str, events: Sequence[RecordedEvent], entries: Sequence[Entry]) -> None:
    assert sorted(map(_place, events)) == sorted(map(_place, entries))
    if order == "total":
        assert list(map(_total, events)) == sorted(map(_total, events))
    else:
        for partition in {event.partition for event in events}:
            mine = [event.position for event in events if event.partition == partition]
            assert mine == sorted(mine)


def _place(event: RecordedEvent | Entry) -> tuple[int, int]:
    return event.partition, event.position


def _total(event: RecordedEvent | Entry) -> tuple[int, int, int]:
    return event.recorded_at, event.partition, event.position
