"""One order for all readers of a Cluster whose masters' clocks differ by seconds."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from eventstore import EventStore, NewEvent, Receipt, RecordedEvent
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.clocks import clock_off_by
from tests.support.cluster import cluster
from tests.support.stores import Noted, open_store

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.anyio

SECONDS = (0.0, 7.0, -5.0)
PARTITIONS = 6
WRITERS, APPENDS = 8, 60


@pytest.fixture
async def store() -> AsyncIterator[EventStore]:
    clocks = [clock_off_by(seconds) for seconds in SECONDS]
    async with (
        cluster(replicas=False, binary=find_program(), environments=clocks) as nodes,
        open_store(nodes.settings, partitions=PARTITIONS) as store,
    ):
        yield store


async def test_two_live_readers_are_given_the_same_order_with_causes_before_effects(store: EventStore) -> None:
    chance = random.Random(11)
    receipts: list[Receipt] = []
    causes: dict[UUID, UUID] = {}  # of each effect
    first: list[RecordedEvent] = []
    second: list[RecordedEvent] = []

    async def write(writer: int) -> None:
        for n in range(APPENDS):
            stream = f"order-{writer}-{chance.randrange(20)}"
            cause = chance.choice(receipts[-5:]) if receipts and chance.random() < 0.5 else None
            receipt = await store.append(stream, [NewEvent(data=Noted(n))] * 2, causes=[cause] if cause else [])
            receipts.append(receipt)
            if cause:
                causes.update(dict.fromkeys(receipt.ids, cause.ids[-1]))

    async def follow(found: list[RecordedEvent]) -> None:
        async with aclosing(store.subscribe(order="total")) as subscription:
            async for event in subscription:
                found.append(event)
                if len(found) == 2 * WRITERS * APPENDS:
                    return

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow, first)
            for writer in range(WRITERS):
                tasks.start_soon(write, writer)
            tasks.start_soon(follow, second)
    assert first == second
    assert first == [event async for event in store.read_all(order="total")]
    times = [(event.recorded_at, event.partition, event.position) for event in first]
    assert times == sorted(times)
    place = {event.id: n for n, event in enumerate(first)}
    assert place.keys() == {event_id for receipt in receipts for event_id in receipt.ids}
    assert [effect for effect, cause in causes.items() if place[cause] >= place[effect]] == []
    assert await verify(store.log) == []


async def test_a_clock_that_is_behind_does_not_hold_up_what_others_record(store: EventStore) -> None:
    async with aclosing(store.subscribe(order="total")) as subscription:
        for n in range(20):
            await store.append(f"order-{n}", [Noted(n)])
            with anyio.fail_after(
                4
            ):  # below the 5 s after which a reader looks unasked, and the 12 s between the clocks
                assert (await anext(subscription)).data.n == n
