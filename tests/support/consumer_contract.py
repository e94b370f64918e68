"""What consumers promise to who writes handlers, whatever server the log lives on: one function a promise, on a store
that is new.

The store has four partitions and knows the types of TYPES. `CONTRACT` has them all; tests run them on every kind of
server, in containers, and on a Cluster.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

from consumers import To, cancel_scheduled, consumer, schedule, scheduled
from consumers.context import Context
from consumers.dead_letters import retry
from consumers.groups import describe_group, pause_group, resume_group
from consumers.retry import Fixed, Immediate
from consumers.verify import check_groups
from eventstore import EventStore, RecordedEvent
from eventstore.verify import CHECKS, verify
from tests.support.letters import pending, until_listed
from tests.support.running import counted, owners, running, until_lag
from tests.support.servers import tries, until
from tests.support.stores import Noted

TYPES = (Noted,)
GROUP = "contract"
Promise = Callable[[EventStore], Awaitable[None]]


async def each_stream_is_handled_in_its_order(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer(GROUP)
    async def handle(event: RecordedEvent) -> None:
        seen.append(event)

    await _fill(store, 12, 20)
    async with running(store, handle):
        await until(lambda: len(seen) >= 240)
        await _fill(store, 12, 2)  # at the head: what the listener brings
        await until(lambda: len(seen) >= 264)
    assert _versions(seen) == {f"order-{i}": list(range(1, 23)) for i in range(12)}


async def what_fails_is_tried_again_and_delays_no_other(store: EventStore) -> None:
    seen: list[RecordedEvent] = []
    attempts: list[int] = []

    @consumer(GROUP, retry=Fixed("300ms", attempts=4, immediate=1))
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        if event.stream == "order-3" and event.version == 2:
            attempts.append(ctx.attempt)
            if ctx.attempt < 3:
                raise ValueError("not yet")
        seen.append(event)

    await _fill(store, 8, 5)
    async with running(store, handle):
        await until(lambda: len(seen) >= 36)
        assert len(_versions(seen)["order-3"]) == 1
        await until_lag(store, GROUP)
        await until(lambda: len(seen) >= 40)
    assert attempts == [1, 2, 3]
    assert _versions(seen) == {f"order-{i}": [1, 2, 3, 4, 5] for i in range(8)}


async def a_parked_stream_waits_for_its_operator(store: EventStore) -> None:
    seen: list[RecordedEvent] = []
    broken = True

    @consumer(GROUP, retry=Immediate(2))
    async def handle(event: RecordedEvent) -> None:
        if broken and event.stream == "order-1" and event.version == 2:
            raise ValueError("poison")
        seen.append(event)

    await _fill(store, 4, 4)
    async with running(store, handle):
        (letter,) = await until_listed(store, 1, GROUP)
        await until_lag(store, GROUP)
        assert (letter.stream, letter.version, letter.attempts) == ("order-1", 2, 2)
        assert await pending(store, GROUP) == {"parked": ["order-1@2x2"]}
        assert _versions(seen)["order-1"] == [1]
        broken = False
        await retry(store, GROUP, ["order-1"], who="ada")
        await until(lambda: len(seen) >= 16)
        await until_listed(store, 0, GROUP)
    assert await pending(store, GROUP) == {}
    assert _versions(seen) == {f"order-{i}": [1, 2, 3, 4] for i in range(4)}


async def effects_are_written_once(store: EventStore) -> None:
    @consumer(GROUP, retry=Fixed("50ms", attempts=3, immediate=1))
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        ctx.effects.hincrby("handled", event.stream)
        if event.version % 5 == 0 and ctx.attempt < 2:
            raise ValueError("what this attempt wanted written is not")

    await _fill(store, 6, 15)
    for _ in range(2):  # the second finds nothing to do
        async with running(store, handle):
            await until_lag(store, GROUP)
            async for _try in tries():
                if not (await describe_group(store, GROUP)).retrying:
                    break
    assert await counted(store, GROUP, "handled") == {f"order-{i}": 15 for i in range(6)}


async def what_is_returned_reaches_its_streams_once(store: EventStore) -> None:
    @consumer(GROUP, retry=Fixed("50ms", attempts=3, immediate=1))
    async def handle(event: RecordedEvent, ctx: Context) -> list[To]:
        if not event.stream.startswith("order-"):
            return []
        if event.version == 2 and ctx.attempt == 1:
            raise ValueError("once more")
        return [To(f"mail-{event.data.n % 7}", Noted(event.version)), To(f"copy-{event.stream}", event.data)]

    await _fill(store, 6, 10)
    async with running(store, handle):
        async for _ in tries():
            found = [event async for event in store.read_all() if not event.stream.startswith("order-")]
            if len(found) >= 120:
                break
        await until_lag(store, GROUP)
    found = [event async for event in store.read_all() if not event.stream.startswith("order-")]
    assert len(found) == 120
    copies = [event for event in found if event.stream.startswith("copy-")]
    for i in range(6):
        assert [event.data.n for event in copies if event.stream == f"copy-order-{i}"] == list(range(10))


async def what_is_scheduled_is_appended_once_at_its_time(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer(GROUP)
    async def handle(event: RecordedEvent) -> None:
        seen.append(event)

    async with running(store, handle), running(store, handle):
        made = [await schedule(store, f"order-{n % 12}", Noted(n), after=f"{n * 5}ms") for n in range(100)]
        last = await schedule(store, "order-1", Noted(100), after="1h")
        await until(lambda: len(seen) >= 100)
        assert [each async for each in scheduled(store)] == [last]
        assert await cancel_scheduled(store, "order-1", last.id)
    due = {each.id: each.due_us for each in made}
    assert {event.id for event in seen} == due.keys()
    assert len(seen) == 100
    assert all(event.recorded_at >= due[event.id] for event in seen)
    for i in range(12):
        ours = [event async for event in store.read(f"order-{i}")]
        assert [due[event.id] for event in ours] == sorted(due[event.id] for event in ours)


async def a_second_member_takes_half_and_gives_it_back(store: EventStore) -> None:
    seen: list[RecordedEvent] = []

    @consumer(GROUP)
    async def handle(event: RecordedEvent) -> None:
        seen.append(event)

    await _fill(store, 12, 2)
    async with running(store, handle):
        await _until_shared(store, [4])
        async with running(store, handle):
            await _until_shared(store, [2, 2])
            await _fill(store, 12, 2)
            await until(lambda: len(seen) >= 48)
        await _until_shared(store, [4])
        await _fill(store, 12, 2)
        await until(lambda: len(seen) >= 72)
    assert _versions(seen) == {f"order-{i}": [1, 2, 3, 4, 5, 6] for i in range(12)}
    assert await owners(store, GROUP) == ["", "", "", ""]


async def the_lag_is_exact(store: EventStore) -> None:
    @consumer(GROUP)
    async def handle(event: RecordedEvent) -> None: ...

    await _fill(store, 10, 5)
    async with running(store, handle):
        await until_lag(store, GROUP)
        await pause_group(store, GROUP, who="ada")
        await _fill(store, 10, 7)
        await until_lag(store, GROUP, 70)  # the entry of the audit stream is passed over
        shape = await describe_group(store, GROUP)
        assert (shape.state, shape.lag, shape.retrying, shape.parked) == ("paused", 70, 0, 0)
        await resume_group(store, GROUP, who="ada")
        await until_lag(store, GROUP)


CONTRACT: tuple[Promise, ...] = (
    each_stream_is_handled_in_its_order,
    what_fails_is_tried_again_and_delays_no_other,
    a_parked_stream_waits_for_its_operator,
    effects_are_written_once,
    what_is_returned_reaches_its_streams_once,
    what_is_scheduled_is_appended_once_at_its_time,
    a_second_member_takes_half_and_gives_it_back,
    the_lag_is_exact,
)


async def holds(promise: Promise, store: EventStore) -> None:
    """The promise, and the invariants of the log afterwards."""
    await promise(store)
    assert await verify(store.log, checks=[*CHECKS, check_groups]) == []


async def _fill(store: EventStore, streams: int, events: int) -> None:
    for i in range(streams):
        await store.append(f"order-{i}", [Noted(n) for n in range(events)])


def _versions(seen: list[RecordedEvent]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in seen:
        found.setdefault(event.stream, []).append(event.version)
    return found


async def _until_shared(store: EventStore, sizes: list[int]) -> None:
    """Until so many members hold so many partitions each."""
    async for _ in tries():
        held = Counter(await owners(store, GROUP))
        if "" not in held and sorted(held.values()) == sizes:
            return
