"""A replica is detached and promoted with less data, twice in a row, under appends and readers of both orders: nothing
is skipped, what was lost is reported once by each reader, and a clock that is behind changes nothing of that."""

from contextlib import aclosing

import anyio
import pytest

from eventstore import EventStore, OutcomeUnknown, Receipt, RecordedEvent, Unavailable, audit
from eventstore.codec import Entry
from eventstore.read import Order
from eventstore.verify import verify
from infrastructure.server_program import find_program
from infrastructure.settings import RedisSettings
from tests.support.clocks import clock_off_by
from tests.support.logs import attach, stream_in
from tests.support.pairs import Pair, pair
from tests.support.recorded import is_at_its_place, recorded
from tests.support.servers import until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

WRITERS = 8
ORDERS: tuple[Order, ...] = ("partition", "total")
Lost = tuple[int, int, int]  # partition, first, last


class Reader:
    """Keeps what it is given, as a read model does: an event at a position that is taken replaces all from there on."""

    def __init__(self, order: Order) -> None:
        self.order, self.name = order, f"reader-{order}"
        self.kept: list[list[RecordedEvent]] = [[] for _ in range(4)]
        self.lost: list[Lost] = []
        self.skipped: list[RecordedEvent] = []

    async def follow(self, store: EventStore) -> None:
        async with aclosing(store.subscribe(order=self.order, observer=self.name, system=True)) as following:
            async for event in following:
                kept = self.kept[event.partition]
                if event.position <= len(kept):
                    self.lost.append((event.partition, event.position, len(kept)))
                    del kept[event.position - 1 :]
                if event.position != len(kept) + 1:
                    self.skipped.append(event)
                kept.append(event)

    @property
    def count(self) -> int:
        return sum(map(len, self.kept))


class Writers:
    """Eight tasks that append, each to a stream of its own."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.going = True

    async def write(self, store: EventStore, number: int) -> None:
        n, stream = 0, stream_in(number % 4, 4, f"writer{number}")
        while self.going:
            n += 1
            try:
                self.receipts.append(await store.append(stream, [Noted(n)]))
            except (OutcomeUnknown, Unavailable):  # the server is being changed: what became of it, the log tells
                continue


@pytest.mark.parametrize(
    ("program", "off_by"), [("redis-server", 0.0), (find_program(), 0.0), (find_program(), -3600.0)]
)
async def test_two_lossy_promotions_in_a_row(program: str, off_by: float) -> None:
    writers, readers = Writers(), [Reader(order) for order in ORDERS]
    clock = clock_off_by(off_by) if off_by else {}
    async with pair(program, clock) as servers:
        settings = RedisSettings(sentinels=(servers.watcher.address,))
        async with open_store(settings) as store, anyio.create_task_group() as tasks:
            for number in range(WRITERS):
                tasks.start_soon(writers.write, store, number)
            for reader in readers:
                tasks.start_soon(reader.follow, store)
            for _ in range(2):
                await _lose_some(servers, readers)
                await attach(servers.other, servers.primary)
            writers.going = False
            await _quiet(servers, store, readers)
            tasks.cancel_scope.cancel()
        await _nothing_was_skipped(servers, writers, readers, settings)


async def _lose_some(servers: Pair, readers: list[Reader]) -> None:
    """A promotion after which every reader had read events that are gone. Returns when each has reported what it lost
    in every partition: it does so before it gives out what came instead."""
    await _more(readers, 200)
    servers.detach()
    await _more(readers, 200)
    before = max(kept[-1].epoch for reader in readers for kept in reader.kept)
    servers.switch()
    await until(lambda: all(kept[-1].epoch > before for reader in readers for kept in reader.kept))


async def _more(readers: list[Reader], events: int) -> None:
    wanted = [reader.count + events for reader in readers]
    await until(lambda: all(reader.count >= n for reader, n in zip(readers, wanted, strict=True)))


async def _quiet(servers: Pair, store: EventStore, readers: list[Reader]) -> None:
    """Until the readers have all that the log holds: their own reports too."""

    def all_read() -> bool:
        heads = [len(servers.primary.admin("XRANGE", store.log.keys.events(p), "-", "+")) for p in range(4)]
        return all([len(kept) for kept in reader.kept] == heads for reader in readers)

    await until(all_read)


async def _nothing_was_skipped(servers: Pair, writers: Writers, readers: list[Reader], settings: RedisSettings) -> None:
    async with open_store(settings) as store:
        surviving = recorded(servers.primary, store.log)
        for reader in readers:
            assert reader.skipped == []
            for partition, kept in enumerate(reader.kept):
                assert [_place(e) for e in kept] == [_place(e) for e in surviving if e.partition == partition]
        await _each_loss_is_reported_once(store, readers)
        assert len({entry.id for entry in surviving}) == len(surviving)
        newest = max(entry.epoch for entry in surviving)
        of_now = [receipt for receipt in writers.receipts if receipt.epoch >= newest]
        assert [receipt for receipt in of_now if not is_at_its_place(receipt, surviving)] == []
        assert await verify(store.log) == []


async def _each_loss_is_reported_once(store: EventStore, readers: list[Reader]) -> None:
    reports = [entry async for entry in audit.entries(store)]
    for reader in readers:
        own = [entry.data.facts for entry in reports if entry.data.who == reader.name]
        assert sorted((f["partition"], f["first"], f["last"]) for f in own) == sorted(reader.lost)
        assert len({partition for partition, _, _ in reader.lost}) > 1, "nothing to see: too little was lost"


def _place(event: RecordedEvent | Entry) -> tuple[int, int, object, int]:
    return event.epoch, event.position, event.id, event.recorded_at
