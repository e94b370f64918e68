"""What the log promises, on each server that it promises to run on."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID, uuid4

import anyio
import pytest
from msgspec import Struct

from eventstore import (
    EventStore,
    Expected,
    Filter,
    IdConflict,
    Metadata,
    NewEvent,
    Priority,
    Receipt,
    RecordedEvent,
    WrongExpectedVersion,
)
from eventstore.verify import verify
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


class Noted(Struct, frozen=True):
    n: int


@pytest.fixture
async def store(any_server: str) -> AsyncIterator[EventStore]:
    settings = Settings(
        redis=RedisSettings(url=SecretUrl(any_server)),
        eventstore=LogSettings(prefix=f"t-{uuid4().hex[:8]}", partitions=4, durability="memory"),
    )
    async with EventStore.open(settings=settings, types=[Noted]) as opened:
        yield opened
        assert await verify(opened.log) == []


async def test_what_was_expected_decides(store: EventStore) -> None:
    assert (await store.append("order-1", [Noted(1), Noted(2)], expected=0)).version == 2
    assert (await store.append("order-1", [Noted(3)], expected=2)).version == 3
    assert (await store.append("order-1", [Noted(4)], expected=Expected.EXISTS)).version == 4
    for stream, expected, actual in (
        ("order-1", 3, 4),
        ("order-1", 0, 4),
        ("new-1", Expected.EXISTS, 0),
        ("new-1", 5, 0),
    ):
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.append(stream, [Noted(9)], expected=expected)
        assert refused.value.actual == actual


@pytest.mark.parametrize("expected", [0, Expected.ANY])
async def test_a_repeat_gives_the_first_receipt(store: EventStore, expected: Expected | int) -> None:
    events = [NewEvent(data=Noted(n), id=UUID(int=n + 1)) for n in range(3)]
    first = await store.append("order-1", events, expected=expected)
    assert await store.append("order-1", events, expected=expected) == first
    with pytest.raises(IdConflict):
        await store.append("order-1", [NewEvent(data=Noted(9), id=UUID(int=1))], expected=expected)
    assert await store.version("order-1") == 3


async def test_concurrent_writers_of_one_stream_lose_nothing(store: EventStore) -> None:
    async def write(n: int) -> None:
        await store.append("order-1", [Noted(n)])

    async with anyio.create_task_group() as tasks:
        for n in range(200):
            tasks.start_soon(write, n)
    events = [event async for event in store.read("order-1")]
    assert [event.version for event in events] == list(range(1, 201))
    assert {event.data.n for event in events} == set(range(200))


async def test_all_ways_of_reading_agree(store: EventStore) -> None:
    causes: list[Receipt] = []
    for n in range(60):
        metadata = Metadata(correlation_id=f"c-{n % 3}", priority=Priority.HIGH if n % 7 == 0 else Priority.NORMAL)
        causes = [await store.append(f"order-{n % 11}", [Noted(n)], causes=causes, metadata=metadata)]
    total = [event async for event in store.read_all(order="total")]
    assert [event.data.n for event in total] == list(range(60))
    assert [event async for event in store.read_all(order="total", backwards=True)] == total[::-1]
    assert {event.id async for event in store.read_all(order="partition")} == {event.id for event in total}
    some = [event async for event in store.read_all(order="total", where=Filter(correlation_id="c-1"))]
    assert some == [event for event in total if event.metadata.correlation_id == "c-1"]
    assert [event async for event in store.read("order-3")] == [event for event in total if event.stream == "order-3"]


@pytest.mark.parametrize("order", ["partition", "total"])
async def test_a_subscription_goes_from_history_to_live(store: EventStore, order: str) -> None:
    await store.append("order-1", [Noted(n) for n in range(5)])
    found: list[RecordedEvent] = []
    async with aclosing(store.subscribe(order="total" if order == "total" else "partition")) as subscription:
        async for event in subscription:
            found.append(event)
            if len(found) == 5:
                await store.append("order-2", [Noted(5)], causes=[event])
            if len(found) == 6:
                break
    assert [event.data.n for event in found] == list(range(6))
