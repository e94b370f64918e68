"""The breaker of a group that works: what opens it, what probes, and what is told of it."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from consumers.consumer import consumer
from consumers.groups import describe_group
from consumers.keys import group_keys
from consumers.retry import Fixed
from consumers.state import Row, RowState
from eventstore import EventStore, RecordedEvent
from tests.support.replays import executed
from tests.support.running import control, running, until_lag
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
POISON = [f"poison-{i}" for i in range(12)]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


async def parked(store: EventStore, group: str) -> list[str]:
    found = []
    for partition in range(store.log.partitions):
        key = group_keys(store.log.keys, group, partition).detached
        flat = await store.log.redis.execute(key, "HGETALL", key)
        rows = dict(zip(flat[::2], flat[1::2], strict=True))
        found += [name.decode() for name, row in rows.items() if row and Row.parse(row).state is RowState.PARKED]
    return sorted(found)


async def append(store: EventStore, *streams: str) -> None:
    for stream in streams:
        await store.append(stream, [Noted(1)])


async def test_retries_of_poison_alone_open_no_breaker_and_end_in_dead_letters(store: EventStore) -> None:
    calls: Counter[str] = Counter()

    @consumer("poisoned", retry=Fixed("1s", attempts=3, immediate=1))
    async def handle(event: RecordedEvent) -> None:
        calls[event.stream] += 1
        if event.stream in POISON:
            raise ValueError("no")

    await append(store, *POISON)
    with capture_logs() as logs:
        async with running(store, handle):
            await until(lambda: len(calls) == len(POISON))
            await append(store, "order-1")
            async for _ in tries():
                if await parked(store, "poisoned") == sorted(POISON):
                    break
    assert [each["event"] for each in logs if each["event"].startswith("breaker")] == []


async def test_an_event_that_has_not_failed_probes_before_those_that_have(store: EventStore) -> None:
    calls: list[str] = []

    @consumer("choosy", retry=Fixed("50ms", attempts=20, immediate=1))
    async def handle(event: RecordedEvent) -> None:
        calls.append(event.stream)
        if event.stream in POISON:
            raise ValueError("no")

    await append(store, *POISON)
    async with running(store, handle):
        await until(lambda: len(calls) >= 20)
        async for _ in tries():
            (member,) = (await describe_group(store, "choosy")).members
            if member.breaker == "open":
                break
        assert member.breaker_error.startswith("ValueError: no at test_breaker.py:")
        before = len(calls)
        await until(lambda: len(calls) > before)  # the next one probes two seconds later at the earliest
        before = len(calls)
        await append(store, "order-1")
        await until(lambda: "order-1" in calls)
        assert calls.index("order-1") == before
        async for _ in tries():
            if await parked(store, "choosy") == sorted(POISON):  # it is closed, and they open it no more
                break


async def test_what_a_replay_passes_over_without_a_call_closes_no_breaker(server: Server) -> None:
    is_down = False
    calls: list[str] = []

    @consumer("muted", retry=Fixed("10s"), on_replay="skip")
    async def handle(event: RecordedEvent) -> None:
        calls.append(event.stream)
        if is_down:
            raise ConnectionError("refused")

    with capture_logs() as logs:
        async with open_store(server, partitions=1) as store, running(store, handle):
            await append(store, *(f"done-{i}" for i in range(30)))
            await until_lag(store, "muted")
            is_down = True
            await append(store, *(f"down-{i}" for i in range(40)))
            await until(lambda: any(each["event"] == "breaker_open" for each in logs))
            calls.clear()
            await executed(store, "earliest", group="muted")
            async for _ in tries():
                if int((await control(store, "muted", 0))["offset"].partition("-")[2]) >= 30:
                    break
    assert not any(stream.startswith("done") for stream in calls)
    assert not any(each["event"] == "breaker_closed" for each in logs)
