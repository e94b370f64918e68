"""What is urgent comes first, streams keep their order, and LOW moves on; on a real server."""

from collections import defaultdict

import anyio.lowlevel
import pytest

from consumers.consumer import consumer
from eventstore import EventStore, Metadata, NewEvent, Priority, RecordedEvent
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.running import lag, running
from tests.support.servers import tries, until
from tests.support.stores import Noted

pytestmark = pytest.mark.anyio
server = server_fixture(scope="module")
store = store_fixture(partitions=1)


def noted(number: int, priority: Priority) -> list[NewEvent]:
    return [NewEvent(data=Noted(n), metadata=Metadata(priority=priority)) for n in range(number)]


async def handled_in_order(store: EventStore, concurrency: int = 1, turns_of_low: int = 0) -> list[RecordedEvent]:
    """All that is in the log, in the order in which one worker came to it. The handler takes so many turns of the event
    loop for an event of LOW."""
    total = sum(place[1] for place in (await store.heads()).places)
    seen: list[RecordedEvent] = []

    @consumer("by-priority", concurrency=concurrency)
    async def handle(event: RecordedEvent) -> None:
        if event.metadata.priority is Priority.LOW:
            for _ in range(turns_of_low):
                await anyio.lowlevel.checkpoint()
        seen.append(event)

    async with running(store, handle):
        await until(lambda: len(seen) >= total)
        async for _ in tries():
            if await lag(store, "by-priority") == 0:
                break
    assert len(seen) == total
    by_stream: dict[str, list[int]] = defaultdict(list)
    for event in seen:
        by_stream[event.stream].append(event.version)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in by_stream.values())
    return seen


async def test_within_the_window_urgent_streams_get_most_turns_and_the_others_some(store: EventStore) -> None:
    for n in range(40):
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL):
            await store.append(f"{priority.value.lower()}-{n}", noted(5, priority))
    seen = await handled_in_order(store)
    first = [event.metadata.priority for event in seen[:150]]
    counts = [first.count(p) for p in (Priority.CRITICAL, Priority.HIGH, Priority.NORMAL, Priority.LOW)]
    assert counts == [80, 40, 20, 10]


async def test_what_is_urgent_beyond_the_window_is_handled_before_the_backlog(store: EventStore) -> None:
    for n in range(40):
        await store.append(f"low-{n}", noted(500, Priority.LOW))
    await store.append("vip-1", [*noted(3, Priority.LOW), *noted(1, Priority.CRITICAL)])
    seen = await handled_in_order(store, turns_of_low=20)
    places = [place for place, event in enumerate(seen) if event.stream == "vip-1"]
    assert places[-1] < 10_000, "it waited for the backlog"


async def test_an_urgent_event_brings_its_predecessors_with_it(store: EventStore) -> None:
    await store.append("vip-1", noted(3, Priority.LOW))
    for n in range(30):
        await store.append(f"low-{n}", noted(500, Priority.LOW))
    await store.append("vip-1", [*noted(40, Priority.LOW), *noted(1, Priority.HIGH), *noted(4, Priority.LOW)])
    await handled_in_order(store, concurrency=4)
