"""A subscription over a failover that loses events: it says what was lost, goes back, and skips nothing."""

import signal
from contextlib import aclosing

import anyio
import pytest

from eventstore import Cursor, EventStore, RecordedEvent
from eventstore.epochs import LostEvents
from eventstore.merge import NOTHING, promised
from eventstore.subscribe import Subscription, _Source, subscribe
from infrastructure.settings import RedisSettings
from tests.support.fixtures import debuggable_fixture, own_store_fixture
from tests.support.logs import Failover, all_replicated, fill, numbers, stream_in
from tests.support.servers import Server, redis_server, sentinel, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
ORDERS = pytest.mark.parametrize("order", ["partition", "total"])
STREAM = stream_in(1, 4)


server = debuggable_fixture()
store = own_store_fixture()


class Reports:
    """An `on_lost` that notes what it is told, and where the subscription then was."""

    def __init__(self) -> None:
        self.lost: list[LostEvents] = []
        self.cursors: list[Cursor] = []
        self.subscription: Subscription | None = None
        self.failing = False

    async def __call__(self, lost: LostEvents) -> None:
        self.lost.append(lost)
        if self.subscription is not None:
            self.cursors.append(self.subscription.cursor)
        if self.failing:
            raise OSError("the audit stream is away")


def follow(store: EventStore, reports: Reports, order: str = "partition", cursor: Cursor | None = None) -> Subscription:
    reports.subscription = subscribe(
        store.log,
        order=order,  # type: ignore[arg-type]
        observer="totals",
        on_lost=reports,
        cursor=cursor,
    )
    return reports.subscription


async def take(subscription: Subscription, n: int) -> list[RecordedEvent]:
    with anyio.fail_after(20):
        return [await anext(subscription) for _ in range(n)]


@ORDERS
async def test_what_was_delivered_and_lost_is_reported_before_the_reader_goes_back(
    server: Server, store: EventStore, order: str
) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    lost = await fill(store, STREAM, 5, first=11)
    async with aclosing(follow(store, reports, order)) as subscription:
        assert numbers(await take(subscription, 15)) == list(range(1, 16))
        before = subscription.cursor
        failover.happen()
        await fill(store, STREAM, 9, first=101)
        assert numbers(await take(subscription, 9)) == list(range(101, 110))
        assert reports.lost == [LostEvents("totals", 1, lost.epoch, 11, 15)]
        assert reports.cursors == [before]
        assert subscription.cursor == await store.heads()


async def test_a_promise_of_a_shorter_log_does_not_count_for_what_was_read_before(
    server: Server, store: EventStore
) -> None:
    """What was lost lies in an epoch above the next, as when the clock of the server that takes over is behind: no call
    that waits tells of the new events."""
    failover, reports = Failover(server), Reports()
    here = await fill(store, STREAM, 10)
    failover.replicated()
    server.admin("HSET", store.log.keys.head(1), "number", here.epoch + 60_000_000)
    await fill(store, STREAM, 5, first=11)
    async with aclosing(follow(store, reports, "total")) as subscription:
        await take(subscription, 15)
        failover.happen()
        await fill(store, STREAM, 3, first=101)
        await fill(store, stream_in(2, 4), 1, first=201)
        assert numbers(await take(subscription, 4)) == [101, 102, 103, 201]
    assert [(lost.partition, lost.first, lost.last) for lost in reports.lost] == [(1, 11, 15)]


async def test_a_promise_that_a_failover_has_taken_along_is_asked_for_anew() -> None:
    """Given by the old primary at 5-12, it is still there when the reader has come to 6-20 of the new one's history."""
    source = _Source(0, (0, 0))
    source.observer.move(b"4:1", 10)
    source.take_promise((5, 12), 1_000)
    assert source.behind
    source.observer.move(b"4:1,6:11", 20)
    source.keep_promise()
    assert (source.lane.known, source.behind) == (NOTHING, False)
    source.take_promise((6, 20), 1_000)
    assert (source.lane.known, source.behind) == (promised(1_000), False)


async def test_a_shorter_log_is_noticed_before_anything_new_is_appended(server: Server, store: EventStore) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    await fill(store, STREAM, 5, first=11)
    async with aclosing(follow(store, reports)) as subscription:
        await take(subscription, 15)
        with anyio.move_on_after(0.05):
            await anext(subscription)
        failover.happen()
        server.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # as the old primary's end does
        with anyio.move_on_after(1):
            await anext(subscription)
        assert [(lost.first, lost.last) for lost in reports.lost] == [(11, 15)]
        assert subscription.cursor.places[1][1] == 10


async def test_a_restart_without_loss_is_no_loss(server: Server, store: EventStore) -> None:
    reports = Reports()
    async with aclosing(follow(store, reports)) as subscription:
        for i in range(10):
            await fill(store, STREAM, 3, first=10 * i)
            Failover(server).restart()
            assert numbers(await take(subscription, 3)) == [10 * i, 10 * i + 1, 10 * i + 2]
    assert reports.lost == []


@ORDERS
async def test_what_was_read_ahead_is_delivered_and_then_reported_with_the_rest(
    server: Server, store: EventStore, order: str
) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 2000)
    failover.replicated()
    await fill(store, STREAM, 1500, first=2001)
    async with aclosing(follow(store, reports, order)) as subscription:
        found = await take(subscription, 1100)  # a page of 1,024, and the beginning of the next
        failover.happen()
        await fill(store, STREAM, 1500, first=5001)
        found += await take(subscription, 948 + 1500)
    assert numbers(found) == [*range(1, 2049), *range(5001, 6501)]
    assert [(lost.first, lost.last) for lost in reports.lost] == [(2001, 2048)]


async def test_a_report_that_fails_is_repeated_and_nothing_is_skipped(server: Server, store: EventStore) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    await fill(store, STREAM, 5, first=11)
    async with aclosing(follow(store, reports)) as subscription:
        await take(subscription, 15)
        failover.happen()
        await fill(store, STREAM, 2, first=101)
        reports.failing = True
        before = subscription.cursor
        for _ in range(2):
            with pytest.raises(OSError, match="away"):
                await take(subscription, 1)
            assert subscription.cursor == before
        reports.failing = False
        assert numbers(await take(subscription, 2)) == [101, 102]
    assert len({lost.id for lost in reports.lost}) == 1
    assert len(reports.lost) == 3


async def test_a_cursor_beyond_the_end_of_its_epoch_is_a_loss(server: Server, store: EventStore) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    lost = await fill(store, STREAM, 5, first=11)
    cursor = Cursor.parse(str(await store.heads()))
    failover.happen()
    await fill(store, STREAM, 9, first=101)
    async with aclosing(follow(store, reports, cursor=cursor)) as subscription:
        assert numbers(await take(subscription, 9)) == list(range(101, 110))
    assert reports.lost == [LostEvents("totals", 1, lost.epoch, 11, 15)]


async def test_a_cursor_of_an_epoch_that_was_lost_whole_begins_anew(server: Server, store: EventStore) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    failover.restart()
    lost = await fill(store, STREAM, 5, first=11)
    cursor = await store.heads()
    failover.happen()
    await fill(store, STREAM, 1, first=101)
    async with aclosing(follow(store, reports, cursor=cursor)) as subscription:
        assert numbers(await take(subscription, 11)) == [*range(1, 11), 101]
    assert reports.lost == [LostEvents("totals", 1, lost.epoch, 1, 15)]


async def test_a_chain_knows_better_than_a_cursor_what_was_common(server: Server, store: EventStore) -> None:
    failover, reports = Failover(server), Reports()
    await fill(store, STREAM, 10)
    failover.replicated()
    failover.restart()
    await fill(store, STREAM, 5, first=11)
    async with aclosing(follow(store, reports)) as subscription:
        await take(subscription, 15)
        failover.happen()
        await fill(store, STREAM, 1, first=101)
        assert numbers(await take(subscription, 1)) == [101]
    assert [(lost.first, lost.last) for lost in reports.lost] == [(11, 15)]


async def test_a_real_promotion_of_a_replica_that_has_less() -> None:
    async with redis_server() as first, redis_server() as second:
        second.admin("REPLICAOF", "127.0.0.1", first.port)
        await until(lambda: b"master_link_status:up" in second.admin("INFO", "replication"))
        async with sentinel(first) as watcher:
            settings = RedisSettings(sentinels=(watcher.address,))
            reports = Reports()
            async with open_store(settings) as store, aclosing(follow(store, reports)) as subscription:
                await fill(store, STREAM, 10)
                await all_replicated(first, second)
                await take(subscription, 10)
                second.process.send_signal(signal.SIGSTOP)
                first.admin("CLIENT", "KILL", "TYPE", "replica")  # or the events would wait for it in its socket
                await fill(store, STREAM, 5, first=11)
                assert numbers(await take(subscription, 5)) == list(range(11, 16))
                first.process.kill()
                second.process.send_signal(signal.SIGCONT)
                await fill(store, STREAM, 7, first=101)
                assert numbers(await take(subscription, 7)) == list(range(101, 108))
                assert [(lost.first, lost.last) for lost in reports.lost] == [(11, 15)]
