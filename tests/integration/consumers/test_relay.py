"""Events that handlers return reach their streams exactly once: through run(store, [...]), on a real server."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import anyio
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from consumers.consumer import consumer
from consumers.context import To
from eventstore import EventStore, Metadata, RecordedEvent
from eventstore.errors import LogDamaged
from tests.support.returned import Paid, Placed, Shipped, commit_by_hand, found, placed, relayed, waiting
from tests.support.running import running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import forget_ids, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed, Paid, Shipped]) as one:
        yield one


@consumer("pay")
async def pay(event: Placed) -> Paid:
    return Paid(event.n)


@consumer("ledger")
async def ledger(event: Placed) -> list[To]:
    """To another stream for each, and twice to one that all share."""
    return [To(f"copy-{event.n}", Paid(event.n)), *(To("ledger-1", Shipped(2 * event.n + i)) for i in range(2))]


async def until_found(store: EventStore, kind: type[Struct], number: int) -> list[RecordedEvent]:
    async for _ in tries():
        if len(events := await found(store, kind)) >= number and not await waiting(store):
            break
    return events


def numbers(events: list[RecordedEvent]) -> list[int]:
    return sorted(event.data.n for event in events)


def assert_versions_are_gapless(events: list[RecordedEvent]) -> None:
    versions: dict[str, list[int]] = defaultdict(list)
    for event in events:
        versions[event.stream].append(event.version)
    assert all(each == list(range(each[0], each[0] + len(each))) for each in versions.values())


async def test_a_bare_event_goes_to_the_stream_of_its_cause(store: EventStore) -> None:
    await placed(store, 20)
    async with running(store, pay):
        paid = await until_found(store, Paid, 20)
    assert {event.stream: (event.version, event.data.n) for event in paid} == {f"order-{n}": (2, n) for n in range(20)}


async def test_what_goes_to_other_streams_is_there_once_in_the_order_of_each_handler(store: EventStore) -> None:
    await placed(store, 200)
    async with running(store, ledger):
        shipped = await until_found(store, Shipped, 400)
    assert numbers(shipped) == list(range(400))
    assert [event.version for event in shipped] == list(range(1, 401))
    places = {event.data.n: event.version for event in shipped}
    assert all(places[2 * n] < places[2 * n + 1] for n in range(200))
    assert {event.stream: event.data.n for event in await found(store, Paid)} == {f"copy-{n}": n for n in range(200)}


async def test_causes_come_before_what_they_bring_about_and_ids_tell_of_them(store: EventStore) -> None:
    """Across three partitions: a chain of two handlers."""

    @consumer("ship")
    async def ship(event: Paid) -> To:
        return To(f"parcel-{event.n}", Shipped(event.n))

    @consumer("pay-elsewhere")
    async def pay_elsewhere(event: Placed) -> To:
        return To(f"payment-{event.n}", Paid(event.n))

    await placed(store, 40, Metadata(correlation_id="transaction-7", traceparent="00-1-1-01"))
    async with running(store, pay_elsewhere, ship):
        shipped = await until_found(store, Shipped, 40)
    orders, paid = await found(store, Placed), await found(store, Paid)
    assert (numbers(shipped), numbers(paid)) == (list(range(40)), list(range(40)))
    assert len({(by_number(orders)[n].partition, by_number(shipped)[n].partition) for n in range(40)}) > 3
    for n in range(40):
        chain = [by_number(events)[n] for events in (orders, paid, shipped)]
        for cause, effect in pairwise(chain):
            assert cause.recorded_at < effect.recorded_at
            assert effect.metadata.causation_id == str(cause.id)
        assert {event.metadata.correlation_id for event in chain} == {"transaction-7"}
        assert {event.metadata.traceparent for event in chain} == {"00-1-1-01"}
        assert [event.metadata.actor for event in chain[1:]] == ["pay-elsewhere", "ship"]


def by_number(events: list[RecordedEvent]) -> dict[int, RecordedEvent]:
    return {event.data.n: event for event in events}


async def test_a_returned_event_can_be_read_within_moments(store: EventStore) -> None:
    async with running(store, pay), aclosing(store.subscribe()) as subscription:
        for n in range(50):
            await store.append(f"order-{n}", [Placed(n)])
            with anyio.fail_after(1):
                assert [(await anext(subscription)).data for _ in range(2)] == [Placed(n), Paid(n)]


async def test_a_worker_that_stops_leaves_nothing_behind(store: EventStore) -> None:
    handled: list[int] = []

    @consumer("stops")
    async def handle(event: Placed) -> To:
        handled.append(event.n)
        return To(f"copy-{event.n}", Paid(event.n))

    await placed(store, 300)
    async with running(store, handle):
        await until(lambda: len(handled) >= 100)
    assert await waiting(store) == 0
    assert len(await found(store, Paid)) >= 100
    assert numbers(await found(store, Paid)) == sorted(handled)


async def test_what_a_worker_that_died_has_left_the_next_one_carries_on(store: EventStore) -> None:
    """Died between the commit and the relay, or between the append and the removal, as long ago as you like."""
    await placed(store, 60)
    await commit_by_hand(store, "ledger", ledger)
    assert await waiting(store) == 180
    await relayed(store, 5)  # taken, not removed
    assert await waiting(store) == 180
    assert 0 < len(await found(store, Paid)) < 60
    await forget_ids(store)  # C19: the duplicate window has passed
    async with running(store, ledger):
        shipped = await until_found(store, Shipped, 120)
    assert await waiting(store) == 0
    assert numbers(shipped) == list(range(120))
    assert numbers(await found(store, Paid)) == list(range(60))
    assert_versions_are_gapless(await found(store, Struct))


async def test_workers_that_carry_on_the_same_do_so_once(store: EventStore) -> None:
    handled: list[int] = []

    @consumer("shared")
    async def handle(event: Placed) -> list[To]:
        handled.append(event.n)
        return [To(f"copy-{event.n}", Paid(event.n)), To("ledger-1", Shipped(event.n))]

    await placed(store, 1_000)
    async with running(store, handle), running(store, handle), running(store, pay):
        await until_found(store, Paid, 2_000)
    paid = await found(store, Paid)
    assert Counter(numbers(paid)) == dict.fromkeys(range(1_000), 2)
    assert numbers(await found(store, Shipped)) == list(range(1_000))
    assert len({event.id for event in paid}) == 2_000
    assert_versions_are_gapless(await found(store, Struct))


async def test_out_of_memory_what_was_returned_waits_and_the_worker_can_still_leave(server: Server) -> None:
    async with open_store(server, types=[Placed, Paid, Shipped]) as store:
        await placed(store, 60)
        await commit_by_hand(store, "pay", pay)
        with capture_logs() as logs:
            server.admin("CONFIG", "SET", "maxmemory", 1)
            try:
                with anyio.fail_after(8):
                    async with running(store, pay):
                        await until(lambda: any(each["event"] == "relay_waits" for each in logs))
            finally:
                server.admin("CONFIG", "SET", "maxmemory", 0)
        assert await waiting(store) == 60
        assert await found(store, Paid) == []
        async with running(store, pay):
            assert numbers(await until_found(store, Paid, 60)) == list(range(60))


async def test_room_is_made_again(server: Server, store: EventStore) -> None:
    await placed(store, 800)
    await commit_by_hand(store, "ledger", ledger)
    keys = [store.log.keys.outgoing(p) for p in range(4)]
    before = sum(server.admin("MEMORY", "USAGE", key) for key in keys)
    async with running(store, ledger):
        await until_found(store, Paid, 800)
    assert sum(server.admin("MEMORY", "USAGE", key) for key in keys) < before / 20


async def test_a_strange_entry_ends_the_worker_and_is_named(store: EventStore) -> None:
    out = store.log.keys.outgoing(2)
    await store.log.redis.execute(out, "XADD", out, "7-7", "q", "9", "s", "x", "e", "x", "c", "1", "l", "N")
    with pytest.raises(LogDamaged, match="7-7"), anyio.fail_after(10):
        async with running(store, pay):
            await anyio.sleep_forever()


async def test_handlers_of_several_groups_return_to_one_stream(store: EventStore) -> None:
    returned: dict[str, Any] = {"a": 0, "b": 1, "c": 2}

    def group(name: str) -> Any:
        async def handle(event: Placed) -> To:
            return To("ledger-1", Shipped(3 * event.n + returned[name]))

        return consumer(name)(handle)

    await placed(store, 300)
    async with running(store, *(group(name) for name in returned)):
        shipped = await until_found(store, Shipped, 900)
    assert numbers(shipped) == list(range(900))
    assert_versions_are_gapless(shipped)
