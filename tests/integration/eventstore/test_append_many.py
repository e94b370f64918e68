"""Appending to several streams of one partition: all or nothing, checks, repeats, and what is refused."""

import re
from typing import Any
from uuid import UUID

import anyio
import pytest

from eventstore import (
    DifferentPartitions,
    EventStore,
    Expected,
    IdConflict,
    InvalidRequest,
    LogDamaged,
    Metadata,
    NewEvent,
    Priority,
    RecordedEvent,
    StreamAppend,
    TooLarge,
    WrongExpectedVersion,
)
from eventstore.partitions import partition_of
from eventstore.verify import verify
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

ORDER, PAYMENT, CUSTOMER, BLOCKED = "order-{7}", "payment-{7}", "customer-{7}", "blocked-{7}"
BOTH = [StreamAppend(ORDER, [Noted(1), Noted(2)], 0), StreamAppend(PAYMENT, [Noted(3)])]


server = server_fixture(scope="module")
store = store_fixture()


async def read(store: EventStore, stream: str) -> list[RecordedEvent]:
    return [event async for event in store.read(stream)]


async def versions(store: EventStore) -> tuple[int, ...]:
    return tuple([await store.version(stream) for stream in (ORDER, PAYMENT, CUSTOMER)])


async def test_all_streams_get_their_events_at_one_time(store: EventStore) -> None:
    order, payment = await store.append_many(BOTH)
    events = [*await read(store, ORDER), *await read(store, PAYMENT)]
    assert [(e.stream, e.version, e.data.n) for e in events] == [(ORDER, 1, 1), (ORDER, 2, 2), (PAYMENT, 1, 3)]
    assert [e.id for e in events] == [*order.ids, *payment.ids]
    assert [(r.stream, r.version, r.position) for r in (order, payment)] == [(ORDER, 2, 2), (PAYMENT, 1, 3)]
    assert {e.recorded_at for e in events} == {order.recorded_at} == {payment.recorded_at}
    assert {e.metadata.correlation_id for e in events} == {str(order.ids[0])}, "one business transaction"
    assert await verify(store.log) == []


async def test_every_check_that_fails_is_told_and_nothing_is_written(store: EventStore) -> None:
    await store.append(CUSTOMER, [Noted(1)])
    appends = [StreamAppend(ORDER, [Noted(1)], Expected.EXISTS), StreamAppend(PAYMENT, [Noted(1)], 0)]
    with pytest.raises(WrongExpectedVersion) as caught:
        await store.append_many(appends, checks={CUSTOMER: 3, BLOCKED: 0})
    assert [(f.stream, f.expected, f.actual) for f in caught.value.failed] == [(ORDER, "exists", 0), (CUSTOMER, 3, 1)]
    assert f"{ORDER} is at version 0, expected to exist; {CUSTOMER} is at version 1, expected 3" in str(caught.value)
    assert await versions(store) == (0, 0, 1)


async def test_checks_that_hold_write_nothing_themselves(store: EventStore, server: Server) -> None:
    await store.append(CUSTOMER, [Noted(1)])
    await store.append_many(BOTH, checks={CUSTOMER: 1, BLOCKED: 0})
    assert await versions(store) == (2, 1, 1)
    assert server.admin("EXISTS", store.log.keys.index(partition_of(BLOCKED, 4), BLOCKED)) == 0


async def test_a_repeat_returns_the_first_receipts_although_the_checks_fail_by_now(store: EventStore) -> None:
    appends = [
        StreamAppend(ORDER, [NewEvent(id=UUID(int=1), data=Noted(1))], 0),
        StreamAppend(PAYMENT, [NewEvent(id=UUID(int=2), data=Noted(2))]),
    ]
    first = await store.append_many(appends, checks={CUSTOMER: 0})
    await store.append(CUSTOMER, [Noted(9)])
    await store.append(ORDER, [Noted(9)])
    assert await store.append_many(appends, checks={CUSTOMER: 0}) == first
    assert await versions(store) == (2, 1, 1)


async def test_a_part_that_is_stored_alone_is_a_conflict(store: EventStore) -> None:
    known = StreamAppend(PAYMENT, [NewEvent(id=UUID(int=2), data=Noted(2))])
    await store.append(PAYMENT, known.events)
    with pytest.raises(IdConflict, match="not together with the other streams") as caught:
        await store.append_many([StreamAppend(ORDER, [NewEvent(id=UUID(int=1), data=Noted(1))]), known])
    assert (caught.value.event_id, caught.value.stream, caught.value.version) == (UUID(int=2), PAYMENT, 1)
    assert await versions(store) == (0, 1, 0)


async def test_streams_of_other_partitions_are_all_named(store: EventStore) -> None:
    strangers = [name for name in ("a", "b", "c", "d", "e") if partition_of(name, 4) != partition_of(ORDER, 4)]
    appends = [StreamAppend(ORDER, [Noted(1)]), StreamAppend(strangers[0], [Noted(1)])]
    with pytest.raises(DifferentPartitions) as caught:
        await store.append_many(appends, checks={strangers[1]: 0, CUSTOMER: 0})
    assert caught.value.strangers == {name: partition_of(name, 4) for name in strangers[:2]}
    assert "braces" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("appends", "checks", "message"),
    [
        ([], {}, "nothing to append"),
        ("order", {}, "list of StreamAppend"),
        ([(ORDER, [Noted(1)])], {}, "list of StreamAppend"),
        ([StreamAppend(ORDER, [])], {}, "no event"),
        ([StreamAppend("$audit", [Noted(1)])], {}, "system stream"),
        ([*BOTH, StreamAppend(ORDER, [Noted(1)])], {}, "twice"),
        (BOTH, {ORDER: 0}, "twice"),
        (BOTH, {CUSTOMER: Expected.ANY}, "checks nothing"),
        (BOTH, {CUSTOMER: -1}, "not a version"),
        (BOTH, [CUSTOMER], "mapping"),
    ],
)
async def test_what_makes_no_sense_is_refused(store: EventStore, appends: Any, checks: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await store.append_many(appends, checks=checks)
    assert await versions(store) == (0, 0, 0)


async def test_one_id_in_two_streams_is_refused(store: EventStore) -> None:
    event = NewEvent(id=UUID(int=1), data=Noted(1))
    with pytest.raises(IdConflict, match="twice"):
        await store.append_many([StreamAppend(ORDER, [event]), StreamAppend(PAYMENT, [event])])


async def test_the_limits_are_those_of_the_whole_call(server: Server) -> None:
    async with open_store(server, max_call_events=3) as store:
        await store.append_many(BOTH)
        with pytest.raises(TooLarge, match="number of events"):
            await store.append_many([*BOTH, StreamAppend(CUSTOMER, [Noted(1)])])
        with pytest.raises(TooLarge, match="number of streams"):
            await store.append_many(BOTH, checks={CUSTOMER: 0, BLOCKED: 0})


async def test_a_damaged_stream_fails_the_whole_append_and_no_other(store: EventStore, server: Server) -> None:
    server.admin("SET", store.log.keys.index(partition_of(CUSTOMER, 4), CUSTOMER), "x")
    outcomes: list[object] = []

    async def append(appends: list[StreamAppend], checks: dict[str, int]) -> None:
        try:
            outcomes.append(await store.append_many(appends, checks=checks))
        except LogDamaged as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append, BOTH, {CUSTOMER: 0})
        tasks.start_soon(append, BOTH, {})
    (damaged,) = [outcome for outcome in outcomes if isinstance(outcome, LogDamaged)]
    assert damaged.detail.startswith(f"{CUSTOMER} cannot be appended to: WRONGTYPE")
    assert (await store.version(ORDER), await store.version(PAYMENT)) == (2, 1)


async def test_the_stream_that_is_damaged_is_named_wherever_it_is_noticed(store: EventStore, server: Server) -> None:
    first, second = [Noted(1)], [NewEvent(data=Noted(2), metadata=Metadata(priority=Priority.HIGH))]
    (kept, _) = await store.append_many([StreamAppend(ORDER, first), StreamAppend(PAYMENT, second)])
    keys = store.log.keys
    urgent, index = keys.urgent(kept.partition), keys.index(kept.partition, PAYMENT)
    server.admin("SET", urgent, "x")
    with pytest.raises(LogDamaged, match=re.escape(PAYMENT)):
        await store.append_many([StreamAppend(ORDER, first), StreamAppend(PAYMENT, second)])
    server.admin("DEL", urgent)
    server.admin("LSET", index, 1, 4711)  # its one event is nowhere
    with pytest.raises(LogDamaged, match=re.escape(PAYMENT)):
        await store.append_many([StreamAppend(ORDER, first), StreamAppend(PAYMENT, second, expected=0)])


async def test_urgent_events_of_every_part_are_indexed(store: EventStore, server: Server) -> None:
    urgent = NewEvent(data=Noted(3), metadata=Metadata(priority=Priority.CRITICAL))
    receipts = await store.append_many([StreamAppend(ORDER, [Noted(1)]), StreamAppend(PAYMENT, [urgent, Noted(4)])])
    index = server.admin("XRANGE", store.log.keys.urgent(receipts[0].partition), "-", "+")
    assert [entry_id.decode() for entry_id, _ in index] == [f"{receipts[1].epoch}-{receipts[1].position - 1}"]


async def test_concurrent_transfers_keep_the_sum(store: EventStore) -> None:
    """Each moves 1 from one account to another at the versions it has seen; a conflict begins again."""
    accounts = [f"account-{i}-{{bank}}" for i in range(4)]
    for account in accounts:
        await store.append(account, [Noted(100)])
    conflicts = 0

    async def transfer(source: str, target: str) -> None:
        nonlocal conflicts
        while True:
            seen = [(name, await store.version(name)) for name in (source, target)]
            moves = [StreamAppend(name, [Noted(n)], at) for (name, at), n in zip(seen, (-1, 1), strict=True)]
            try:
                await store.append_many(moves)
            except WrongExpectedVersion:
                conflicts += 1
            else:
                return

    async with anyio.create_task_group() as tasks:
        for i in range(40):
            tasks.start_soon(transfer, accounts[i % 4], accounts[(i + 1 + i // 8 % 3) % 4])
    events = [event for account in accounts for event in await read(store, account)]
    assert sum(event.data.n for event in events) == 400
    assert len(events) == 4 + 80
    assert conflicts > 0
