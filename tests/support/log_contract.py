"""What a log promises its callers, whatever server it lives on: one function a promise, on a store that is new.

The store has four partitions and knows the types of TYPES. `CONTRACT` has them all; tests run them on every kind of
server, and as users with few rights.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from uuid import UUID

import anyio
import pytest

from eventstore import (
    Cursor,
    DifferentPartitions,
    EventStore,
    Expected,
    Filter,
    IdConflict,
    InvalidRequest,
    Metadata,
    NewEvent,
    Priority,
    Receipt,
    RecordedEvent,
    StreamAppend,
    WrongExpectedVersion,
    audit,
    jobs,
)
from eventstore.read import Order
from eventstore.verify import verify
from tests.support.accounts import ACCOUNT, BANK, Account, Deposit, Deposited, Insufficient, Withdraw, Withdrawn
from tests.support.logs import collect, numbers
from tests.support.stores import Noted

TYPES = (Noted, Deposited, Withdrawn)


async def what_is_expected_decides(store: EventStore) -> None:
    assert (await store.append("order-1", [Noted(1), Noted(2)], expected=0)).version == 2
    assert (await store.append("order-1", [Noted(3)], expected=2)).version == 3
    assert (await store.append("order-1", [Noted(4)], expected=Expected.EXISTS)).version == 4
    assert (await store.append("order-1", [Noted(5)])).version == 5
    wrong: list[tuple[str, int | Expected, int]] = [
        ("order-1", 4, 5),
        ("order-1", 0, 5),
        ("order-1", 6, 5),
        ("new-1", Expected.EXISTS, 0),
        ("new-1", 5, 0),
    ]
    for stream, expected, actual in wrong:
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.append(stream, [Noted(9)], expected=expected)
        assert refused.value.actual == actual
    with pytest.raises(InvalidRequest):
        await store.append("$audit", [Noted(9)])
    assert [event.data.n async for event in store.read("order-1")] == [1, 2, 3, 4, 5]


async def a_repeat_gives_the_first_receipt(store: EventStore) -> None:
    expectations: list[int | Expected] = [0, Expected.ANY, Expected.EXISTS]
    for place, expected in enumerate(expectations):
        stream, first_id = f"order-{place}", 100 * place
        if expected is Expected.EXISTS:
            await store.append(stream, [Noted(0)])
        events = [NewEvent(data=Noted(n), id=UUID(int=first_id + n)) for n in range(1, 4)]
        first = await store.append(stream, events, expected=expected)
        await store.append(stream, [Noted(9)])
        assert await store.append(stream, events, expected=expected) == first
        for other in ([NewEvent(data=Noted(8), id=events[0].id)], [events[1], events[0]]):
            with pytest.raises(IdConflict):
                await store.append(stream, other, expected=expected)
        with pytest.raises(IdConflict):
            await store.append(f"{{{stream}}}", events)  # another stream of that partition
        assert await store.version(stream) == first.version + 1


async def concurrent_writers_lose_and_double_nothing(store: EventStore) -> None:
    async def write(n: int) -> None:
        await store.append(f"order-{n % 3}", [Noted(n)])

    async with anyio.create_task_group() as tasks:
        for n in range(150):
            tasks.start_soon(write, n)
    for stream in range(3):
        events = [event async for event in store.read(f"order-{stream}")]
        assert [event.version for event in events] == list(range(1, 51))
        assert sorted(numbers(events)) == list(range(stream, 150, 3))


async def several_streams_are_written_and_checked_at_once(store: EventStore) -> None:
    await store.append("order-{7}", [Noted(1)])
    both = [
        StreamAppend("order-{7}", [NewEvent(data=Noted(2), id=UUID(int=1))], 1),
        StreamAppend("payment-{7}", [NewEvent(data=Noted(3), id=UUID(int=2), metadata=URGENT)], 0),
    ]
    order, payment = await store.append_many(both, checks={"ship-{7}": 0})
    assert (order.version, payment.version, order.recorded_at) == (2, 1, payment.recorded_at)
    assert await store.append_many(both, checks={"ship-{7}": 0}) == (order, payment)
    with pytest.raises(WrongExpectedVersion) as refused:
        await store.append_many(
            [StreamAppend("order-{7}", [Noted(9)], 5), StreamAppend("payment-{7}", [Noted(9)], 0)],
            checks={"ship-{7}": Expected.EXISTS},
        )
    assert [(f.stream, f.actual) for f in refused.value.failed] == [
        ("order-{7}", 2),
        ("payment-{7}", 1),
        ("ship-{7}", 0),
    ]
    with pytest.raises(DifferentPartitions):
        await store.append_many([StreamAppend(f"order-{n}", [Noted(n)]) for n in range(9)])
    assert await _all(store, "total") == [1, 2, 3]


async def all_ways_of_reading_agree(store: EventStore) -> None:
    causes: list[Receipt] = []
    for n in range(60):
        metadata = Metadata(correlation_id=f"c-{n % 3}", priority=Priority.HIGH if n % 7 == 0 else Priority.NORMAL)
        causes = [await store.append(f"order-{n % 11}", [Noted(n)], causes=causes, metadata=metadata)]
    total = [event async for event in store.read_all(order="total")]
    assert numbers(total) == list(range(60))
    assert [event async for event in store.read_all(order="total", backwards=True)] == total[::-1]
    assert {event.id async for event in store.read_all()} == {event.id for event in total}
    for partition in range(4):
        there = [event for event in total if event.partition == partition]
        assert [event async for event in store.read_partition(partition)] == there
        assert [event async for event in store.read_partition(partition, backwards=True, limit=3)] == there[:-4:-1]
    stream = [event for event in total if event.stream == "order-3"]
    assert [event async for event in store.read("order-3", from_version=2, limit=3)] == stream[1:4]
    assert [event async for event in store.read("order-3", backwards=True)] == stream[::-1]
    assert (await store.heads()).places == tuple(
        max(((e.epoch, e.position) for e in total if e.partition == p), default=(0, 0)) for p in range(4)
    )
    await _filters_and_times(store, total)


async def _filters_and_times(store: EventStore, total: list[RecordedEvent]) -> None:
    some = [event async for event in store.read_all(order="total", where=Filter(correlation_id="c-1"))]
    assert some == [event for event in total if event.metadata.correlation_id == "c-1"]
    middle = total[30].recorded_at
    late = [event async for event in store.read_all(order="total", where=Filter(since=middle))]
    assert late == total[30:]
    cursor = await store.position_at(middle - 1)
    assert [event async for event in store.read_all(order="total", cursor=cursor)] == total[30:]
    assert Cursor.parse(str(cursor)) == cursor


async def a_subscription_goes_from_history_to_live_and_resumes(store: EventStore) -> None:
    orders: tuple[Order, ...] = ("partition", "total")
    for turn, order in enumerate(orders):
        first = 100 * turn
        start = await store.heads()
        await store.append("order-1", [Noted(first + n) for n in range(5)])
        found: list[RecordedEvent] = []
        async with aclosing(store.subscribe(order=order, cursor=start)) as following:
            with anyio.fail_after(20):
                while len(found) < 8:
                    found.append(await anext(following))
                    if len(found) >= 5:
                        await store.append(f"order-{len(found)}", [Noted(first + len(found))], causes=[found[-1]])
            cursor = following.cursor
        assert numbers(found) == list(range(first, first + 8))
        async with aclosing(store.subscribe(order=order, cursor=cursor)) as following:
            with anyio.fail_after(20):
                assert (await anext(following)).data.n == first + 8


async def the_audit_stream_and_jobs_are_kept(store: EventStore) -> None:
    first = await audit.record(store, "ada", "replay", "a wrong rule", {"group": "totals"}, id=UUID(int=1))
    await audit.record(store, "bob", "pause")
    assert await audit.record(store, "ada", "replay", "a wrong rule", {"group": "totals"}, id=UUID(int=1)) == first
    assert [entry.data.who async for entry in audit.entries(store)] == ["ada", "bob"]
    assert await audit.check_chain(store) is None
    async with jobs.running(store, "rebuild", "ada", total=2) as job:
        await job.progress(1)
        assert (await jobs.get_job(store, job.id)).state == "running"
    assert [job.state for job in await jobs.list_jobs(store)] == ["done"]


async def a_decision_is_made_on_the_state_and_the_state_is_kept(store: EventStore) -> None:
    async with store.writing("account-1", ACCOUNT) as writing:
        writing.append(Deposited(5))
    await store.decide("account-1", BANK, Deposit(3))
    with pytest.raises(Insufficient):
        await store.decide("account-1", BANK, Withdraw(9))
    assert await store.snapshot("account-1", ACCOUNT) == 2
    await store.decide("account-1", BANK, Withdraw(1))
    loaded = await store.load("account-1", ACCOUNT)
    assert (loaded.state, loaded.version, loaded.snapshot_version) == (Account(7, 3), 3, 2)


URGENT = Metadata(priority=Priority.CRITICAL)
CONTRACT: tuple[Callable[[EventStore], Awaitable[None]], ...] = (
    what_is_expected_decides,
    a_repeat_gives_the_first_receipt,
    concurrent_writers_lose_and_double_nothing,
    several_streams_are_written_and_checked_at_once,
    all_ways_of_reading_agree,
    a_subscription_goes_from_history_to_live_and_resumes,
    the_audit_stream_and_jobs_are_kept,
    a_decision_is_made_on_the_state_and_the_state_is_kept,
)


async def holds(promise: Callable[[EventStore], Awaitable[None]], store: EventStore) -> None:
    """The promise, and the invariants of the log afterwards."""
    await promise(store)
    assert await verify(store.log) == []


async def _all(store: EventStore, order: Order) -> list[int]:
    found: list[RecordedEvent] = []
    await collect(store.read_all(order=order), found)
    return numbers(found)
