"""run(store, [...]): what somebody who writes a handler may rely on, on a real server."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from threading import current_thread, main_thread
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec import Struct

from consumers.consumer import consumer
from consumers.context import Context
from consumers.errors import GroupNotFound, InvalidConsumer, InvalidRequest
from consumers.failure import Failure
from consumers.keys import effect_key, group_keys, home_of
from consumers.resources import Resource
from consumers.retry import Fixed, Immediate, Park
from consumers.run import run
from eventstore import EventStore, RecordedEvent
from tests.support.running import control, counted, owners, running, until_lag
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


class Placed(Struct, frozen=True):
    n: int


class Shipped(Struct, frozen=True):
    n: int


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed, Shipped]) as one:
        yield one


def versions_by_stream(seen: list[RecordedEvent]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for event in seen:
        found[event.stream].append(event.version)
    return found


async def until_handled(seen: list[Any], number: int) -> None:
    await until(lambda: len(seen) >= number)


async def fill(store: EventStore, streams: int, events: int) -> None:
    for i in range(streams):
        await store.append(f"order-{i}", [Placed(n) for n in range(events)])


async def test_each_event_is_handled_once_and_each_stream_in_its_order(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer("all")
    async def handle(event: RecordedEvent) -> None:
        seen.append(event)

    await fill(store, 20, 50)
    async with running(store, handle):
        await until_handled(seen, 1_000)
        await fill(store, 20, 5)
        await until_handled(seen, 1_100)
        await until_lag(store, "all")
    assert versions_by_stream(seen) == {f"order-{i}": list(range(1, 56)) for i in range(20)}


async def test_events_that_come_while_it_waits_are_handled_within_moments(store: EventStore) -> None:
    seen: list[int] = []

    @consumer("quick")
    async def handle(event: Placed) -> None:
        seen.append(event.n)

    async with running(store, handle):
        for n in range(50):
            await store.append(f"order-{n}", [Placed(n)])
            with anyio.fail_after(1):
                await until_handled(seen, n + 1)
    assert seen == list(range(50))


async def test_streams_are_handled_at_the_same_time_but_the_events_of_one_never_are(store: EventStore) -> None:
    now: list[str] = []
    most = 0
    twice: list[str] = []
    seen: list[int] = []
    are_full = anyio.Event()

    @consumer("slow", concurrency=8)
    async def handle(event: RecordedEvent) -> None:
        nonlocal most
        if event.stream in now:
            twice.append(event.stream)
        now.append(event.stream)
        most = max(most, len(now))
        if len(now) == 8:
            are_full.set()
        await are_full.wait()
        await anyio.lowlevel.checkpoint()
        now.remove(event.stream)
        seen.append(event.version)

    await fill(store, 12, 4)
    async with running(store, handle):
        await until_handled(seen, 48)
    assert twice == []
    assert most == 8


async def test_a_second_worker_gets_half_of_the_partitions_and_gives_them_back(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer("shared")
    async def handle(event: RecordedEvent) -> None:
        seen.append(event)

    async def shares() -> list[int]:
        held = await owners(store, "shared")
        return sorted(held.count(owner) for owner in set(held) if owner)

    async with running(store, handle):
        async for _ in tries():
            if await shares() == [4]:
                break
        before = await owners(store, "shared")
        async with running(store, handle):
            async for _ in tries():
                if await shares() == [2, 2]:
                    break
            after = await owners(store, "shared")
            assert sum(one != other for one, other in zip(before, after, strict=True)) == 2
            await fill(store, 20, 5)
            await until_handled(seen, 100)
        async for _ in tries():
            if await shares() == [4]:
                break
        await fill(store, 20, 5)
        await until_handled(seen, 200)
    assert await owners(store, "shared") == [""] * 4
    assert versions_by_stream(seen) == {f"order-{i}": list(range(1, 11)) for i in range(20)}


async def test_a_restart_goes_on_where_the_last_one_was(store: EventStore) -> None:
    seen: list[int] = []

    @consumer("restarted")
    async def handle(event: Placed) -> None:
        seen.append(event.n)

    await fill(store, 4, 10)
    async with running(store, handle):
        await until_handled(seen, 40)
    async with running(store, handle):
        await store.append("order-0", [Placed(99)])
        await until_handled(seen, 41)
    assert len(seen) == 41


async def test_a_failing_event_is_tried_again_and_delays_only_its_own_stream(store: EventStore) -> None:
    attempts: list[int] = []
    seen: list[RecordedEvent] = []

    @consumer("failing", retry=Fixed("300ms", attempts=4, immediate=1))
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        if event.stream == "order-0" and event.version == 2 and ctx.attempt < 4:
            attempts.append(ctx.attempt)
            raise ValueError("not yet")
        seen.append(event)

    await fill(store, 10, 5)
    async with running(store, handle):
        await until_handled(seen, 46)  # all but those that wait
        assert {event.version for event in seen if event.stream == "order-0"} == {1}
        await until_lag(store, "failing")
        await until_handled(seen, 50)
    assert attempts == [1, 2, 3]
    assert versions_by_stream(seen) == {f"order-{i}": list(range(1, 6)) for i in range(10)}


async def test_retries_survive_a_restart(store: EventStore) -> None:
    attempts: list[int] = []

    @consumer("remembered", retry=Fixed("500ms", attempts=3, immediate=1))
    async def handle(event: Placed, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("not yet")

    await store.append("order-1", [Placed(1)])
    for attempt in (1, 2, 3):
        async with running(store, handle):
            await until_handled(attempts, attempt)
            await until_lag(store, "remembered")
    assert attempts == [1, 2, 3]


async def test_a_failure_remembers_when_it_was_first_over_restarts(store: EventStore) -> None:
    attempts: list[int] = []

    @consumer("since-when", retry=Fixed("300ms", attempts=9, immediate=1))
    async def handle(event: Placed) -> None:
        attempts.append(event.n)
        raise ValueError("never")

    partition = (await store.append("order-1", [Placed(1)])).partition
    keys = group_keys(store.log.keys, "since-when", partition)
    first: set[int] = set()
    last: set[int] = set()
    for number in (1, 3, 5):
        async with running(store, handle):
            await until_handled(attempts, number)
            await until_lag(store, "since-when")
        failure = Failure.parse(await store.log.redis.execute(keys.errors, "HGET", keys.errors, "order-1"))
        first.add(failure.first_failed_us)
        last.add(failure.failed_us)
    assert len(first) == 1
    assert len(last) == 3


async def test_after_the_last_attempt_the_stream_is_parked_and_shown_as_pending(store: EventStore) -> None:
    seen: list[str] = []

    @consumer("parking", retry=Immediate(2), on={KeyError: Park()})
    async def handle(event: RecordedEvent) -> None:
        seen.append(event.stream)
        if event.stream == "order-1":
            raise ValueError("poison")
        if event.stream == "order-2":
            raise KeyError("worse")

    receipts = [await store.append(f"order-{i}", [Placed(1), Placed(2)]) for i in range(4)]
    async with running(store, handle):
        await until_lag(store, "parking")
    pending = []
    for partition in range(4):
        key = store.log.keys.events(partition)
        pending += await store.log.redis.execute(key, "XPENDING", key, "parking", "-", "+", 10)
    by_id = {entry.decode(): (name.decode(), count) for entry, name, _, count in pending}
    assert by_id == {
        f"{receipts[1].epoch}-{receipts[1].position - 1}": ("parked", 2),
        f"{receipts[2].epoch}-{receipts[2].position - 1}": ("parked", 1),
    }
    assert seen.count("order-1") == 2
    assert seen.count("order-2") == 1


async def test_an_attempt_over_its_time_is_a_failure(store: EventStore) -> None:
    attempts: list[int] = []

    @consumer("late", timeout="200ms", retry=Immediate(2))
    async def handle(event: Placed, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await anyio.sleep_forever()

    await store.append("order-1", [Placed(1)])
    async with running(store, handle):
        await until_handled(attempts, 2)
        await until_lag(store, "late")
    assert attempts == [1, 2]


async def test_a_group_that_handles_one_type_passes_over_the_others(store: EventStore) -> None:
    """C11."""
    seen: list[int] = []

    @consumer("shipped")
    async def handle(event: Shipped) -> None:
        seen.append(event.n)

    await fill(store, 10, 1_000)
    async with running(store, handle):
        await until_lag(store, "shipped")
        await store.append("order-1", [Shipped(7)])
        await until_handled(seen, 1)
    assert seen == [7]
    offsets = [(await control(store, "shipped", p))["offset"] for p in range(4)]
    assert sum(int(offset.partition("-")[2]) for offset in offsets) == 10_001


async def test_a_sync_handler_runs_in_a_thread(store: EventStore) -> None:
    threads: list[bool] = []

    @consumer("threads")
    def handle(event: Placed) -> None:
        threads.append(current_thread() is main_thread())

    await fill(store, 3, 3)
    async with running(store, handle):
        await until_handled(threads, 9)
    assert threads == [False] * 9


async def test_resources_are_opened_once_and_given_by_type(store: EventStore) -> None:
    made: list[str] = []
    seen: list[object] = []

    class Pool:
        async def __aenter__(self) -> "Pool":
            made.append("opened")
            return self

        async def __aexit__(self, *_: object) -> None:
            made.append("closed")

    async def handle(event: Placed, pool: Pool) -> None:
        seen.append(pool)

    handle.__annotations__["pool"] = Pool
    with_pool = consumer("pooled")(handle)
    await fill(store, 2, 3)
    async with running(store, with_pool, resources=[Resource(Pool, Pool)]):
        await until_handled(seen, 6)
    assert made == ["opened", "closed"]
    assert len(set(map(id, seen))) == 1


async def test_effects_are_written_with_the_offset_exactly_once(store: EventStore) -> None:
    @consumer("counting")
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        ctx.effects.hincrby("by-stream", event.stream, 1)

    await fill(store, 8, 25)
    async with running(store, handle):
        await until_lag(store, "counting")
    assert await counted(store, "counting", "by-stream") == {f"order-{i}": 25 for i in range(8)}


async def test_an_effect_that_cannot_be_written_fails_its_event_and_nothing_else(store: EventStore) -> None:
    attempts: list[int] = []

    @consumer("clashing", retry=Immediate(2))
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        if event.stream == "bad-{1}":
            attempts.append(ctx.attempt)
            ctx.effects.rpush("counter", "no list")
        else:
            ctx.effects.incrby("counter")

    await store.append("good-{1}", [Placed(n) for n in range(5)])
    partition = (await store.append("bad-{1}", [Placed(1)])).partition
    await store.append("other-{1}", [Placed(n) for n in range(5)])
    async with running(store, handle):
        async for _ in tries():
            if " p " in (await _rows(store, "clashing")).get("bad-{1}", ""):
                break
        await until_lag(store, "clashing")
    key = effect_key(store.log.keys, "clashing", partition, "counter")
    assert await store.log.redis.execute(key, "GET", key) == b"10"
    rows = await _rows(store, "clashing")
    assert list(rows) == ["bad-{1}"]
    assert rows["bad-{1}"].startswith("1 p 2 ")


async def _rows(store: EventStore, group: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for partition in range(store.log.partitions):
        key = group_keys(store.log.keys, group, partition).detached
        flat = await store.log.redis.execute(key, "HGETALL", key)
        found |= {s.decode(): r.decode() for s, r in zip(flat[::2], flat[1::2], strict=True) if s}
    return found


async def test_a_group_that_is_deleted_under_a_worker_ends_it_with_the_remedy(store: EventStore) -> None:
    seen: list[int] = []

    @consumer("deleted")
    async def handle(event: Placed) -> None:
        seen.append(event.n)

    await fill(store, 4, 5)

    async def delete_while_it_runs() -> None:
        async with running(store, handle):
            await until_handled(seen, 20)
            for partition in range(4):
                keys = group_keys(store.log.keys, "deleted", partition)
                await store.log.redis.execute(keys.control, "DEL", *keys.all)
            await anyio.sleep_forever()

    with pytest.raises(GroupNotFound, match="deleted"), anyio.fail_after(10):
        await delete_while_it_runs()


async def test_a_redis_group_that_is_destroyed_is_made_anew_where_it_was(store: EventStore) -> None:
    """C12."""
    seen: list[int] = []

    @consumer("destroyed")
    async def handle(event: Placed) -> None:
        seen.append(event.n)

    await fill(store, 20, 5)
    async with running(store, handle):
        await until_handled(seen, 100)
        for partition in range(4):
            key = store.log.keys.events(partition)
            await store.log.redis.execute(key, "XGROUP", "DESTROY", key, "destroyed")
        await fill(store, 20, 5)
        await until_handled(seen, 200)
        await until_lag(store, "destroyed")
    assert len(seen) == 200


async def test_a_lost_part_of_a_group_is_not_made_anew_behind_ones_back(store: EventStore) -> None:
    @consumer("torn")
    async def handle(event: Placed) -> None: ...

    async with running(store, handle):
        await until_lag(store, "torn")
    lost = (home_of("torn", 4) + 1) % 4
    keys = group_keys(store.log.keys, "torn", lost)
    await store.log.redis.execute(keys.control, "DEL", *keys.all)
    with pytest.raises(GroupNotFound, match=f"partition {lost}"), anyio.fail_after(5):
        await run(store, [handle], stop=_set())
    assert await control(store, "torn", lost) == {}


def _set() -> anyio.Event:
    stop = anyio.Event()
    stop.set()
    return stop


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda one: [], "nothing to run"),
        (lambda one: [one, one], "two consumers are called"),
        (lambda one: [print], "no consumer"),
        (lambda one: one, r"consumer one \(handle\), no list"),
        (lambda one: 7, "7, no list"),
    ],
)
async def test_what_cannot_be_run_is_refused(store: EventStore, wrong: Callable[[Any], Any], says: str) -> None:
    @consumer("one")
    async def handle(event: Placed) -> None: ...

    with pytest.raises(InvalidConsumer, match=says) as refused:
        await run(store, wrong(handle))
    assert refused.value.remedy
    with pytest.raises(InvalidRequest, match="store is of type list") as swapped:
        await run([handle], store)  # type: ignore[arg-type] # the wrong way round
    assert swapped.value.remedy == "run(store, [charge])"


async def test_in_an_outage_nothing_is_parked_and_afterwards_all_is_handled(store: EventStore) -> None:
    is_down = True
    seen: list[RecordedEvent] = []
    calls = 0

    @consumer("outage", retry=Fixed("100ms", attempts=4, immediate=1))
    async def handle(event: RecordedEvent) -> None:
        nonlocal calls
        calls += 1
        if is_down:
            raise ConnectionError("refused")
        seen.append(event)

    await fill(store, 60, 3)
    async with running(store, handle):
        await until(lambda: calls >= 21)  # the breaker is open, and has probed
        assert sorted(row[2] for row in (await _rows(store, "outage")).values()) != ["p"]
        is_down = False
        await until_handled(seen, 180)
        await until_lag(store, "outage")
    assert versions_by_stream(seen) == {f"order-{i}": [1, 2, 3] for i in range(60)}
    assert calls < 300


async def test_a_rate_bounds_the_calls_also_those_that_follow_at_once(store: EventStore) -> None:
    at: list[float] = []

    @consumer("limited", rate="50/s", retry=Immediate(2))
    async def handle(event: Placed, ctx: Context) -> None:
        at.append(anyio.current_time())
        if ctx.attempt == 1:
            raise ValueError("once more")

    await fill(store, 10, 2)
    async with running(store, handle):
        await until_handled(at, 40)
    assert at[-1] - at[0] >= 39 / 50 * 0.95
