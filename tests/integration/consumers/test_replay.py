"""Replay: a group, or one stream of it, handles again what it had finished, and nothing else is a replay."""

from collections.abc import AsyncIterator

import anyio
import pytest
from msgspec import Struct

from consumers import replay
from consumers.consumer import consumer
from consumers.context import Context
from consumers.dead_letters import retry
from consumers.keys import group_keys
from eventstore import EventStore, Metadata, RecordedEvent
from eventstore.wire import rfc3339
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.letters import until_listed
from tests.support.replays import Seen, executed, planned, until_lag_is, until_over
from tests.support.running import control, lag, running
from tests.support.servers import Server, redis_cluster, redis_server, tries, until
from tests.support.stores import Noted, forget_ids, open_store

pytestmark = pytest.mark.anyio


class Paid(Struct, frozen=True):
    n: int


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Noted, Paid]) as one:
        yield one


@pytest.fixture
async def one_partition(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Noted, Paid], partitions=1) as one:
        yield one


async def fill(store: EventStore, streams: int, events: int) -> None:
    for i in range(streams):
        await store.append(f"order-{i}", [Noted(n) for n in range(events)])


async def test_what_was_finished_is_a_replay_and_neither_a_letter_nor_its_followers_nor_what_is_new(
    one_partition: EventStore,
) -> None:
    """C17: done to 100 except 60, which is parked with its stream; rewound to 50."""
    store, seen, skipping = one_partition, Seen(), Seen()
    seen.fails = skipping.fails = lambda event: (event.stream, event.version) == ("order-9", 6)
    for version in range(10):
        for i in range(10):
            await store.append(f"order-{i}", [Noted(version)])  # version 6 of order-9 is at 60
    both = (seen.consumer(), skipping.consumer("skipping", on_replay="skip"))
    async with running(store, *both):
        for group in ("g", "skipping"):
            await until_listed(store, 1, group)
            await until_lag_is(store, 0, group)
        seen.clear()
        skipping.clear()
        seen.fails = skipping.fails = lambda _: False
        plans = [await planned(store, "0:50", group=group) for group in ("g", "skipping")]
        assert [(plan.events, plan.parked, plan.tried_again) for plan in plans] == [(50, 1, 0)] * 2
        for group in ("g", "skipping"):
            await executed(store, "0:50", group=group)
        await retry(store, "g", ["order-9"], who="ada")
        await retry(store, "skipping", ["order-9"], who="ada")
        await store.append("order-1", [Noted(99)])
        for group in ("g", "skipping"):
            await until_lag_is(store, 0, group)
        await until(lambda: len(seen.calls) >= 51 and len(skipping.calls) >= 6)
    finished = {(f"order-{i}", version) for i in range(9) for version in range(6, 11)}
    for_real = [("order-9", version) for version in range(6, 11)] + [("order-1", 11)]
    assert {(s, v) for s, v, was in seen.calls if was} == finished
    assert sorted((s, v) for s, v, was in seen.calls if not was) == sorted(for_real)
    assert len(seen.calls) == 51
    assert sorted((s, v) for s, v, _ in skipping.calls) == sorted(for_real)


async def test_a_stream_that_was_finished_beyond_the_target_goes_back_and_its_letter_is_tried_again_for_real(
    one_partition: EventStore,
) -> None:
    store, seen = one_partition, Seen()
    seen.fails = lambda event: event.version == 4
    await fill(store, 1, 6)
    async with running(store, seen.consumer()):
        await until_listed(store, 1, "g")
        seen.clear()
        assert (await planned(store, "0:1")).tried_again == 1
        begun = await executed(store, "0:1")
        await until(lambda: len(seen.calls) == 2)
        assert seen.calls == [("order-0", 2, True), ("order-0", 3, True)]
        await until_listed(store, 1, "g")
        assert (await until_over(store, begun.job.id)).job.state == "done"


async def test_lag_is_right_at_once_and_members_need_not_stop(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 20, 25)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
        before = [(await control(store, "g", p))["offset"] for p in range(4)]
        seen.clear()
        plan = await planned(store, "earliest")
        begun = await executed(store, "earliest")
        assert begun.moved == (0, 1, 2, 3)
        done = await until_over(store, begun.job.id)
        assert (done.job.state, done.open, done.waiting) == ("done", 0, 0)
        assert done.job.done == done.total >= plan.events
        await until_lag_is(store, 0)
    assert all(was for _, _, was in seen.calls)
    assert {s: seen.versions(s, replaying=True) for s, _, _ in seen.calls} == {
        f"order-{i}": list(range(1, 26)) for i in range(20)
    }
    after = [(await control(store, "g", p))["offset"] for p in range(4)]
    assert all(int(a.split("-")[1]) >= int(b.split("-")[1]) for a, b in zip(after, before, strict=True))


async def test_without_a_worker_the_group_stands_at_the_target_until_one_comes(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 8, 10)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
    plan = await planned(store, "earliest")
    assert plan.members == 0
    assert any("no worker" in warning for warning in plan.warnings)
    seen.clear()
    begun = await executed(store, "earliest")
    assert [(await control(store, "g", p))["offset"] for p in range(4)] == ["0-0"] * 4
    assert await lag(store, "g") == sum(position for _, position in (await store.heads()).places)
    assert (begun.done, begun.open) == (0, begun.total)
    async with running(store, seen.consumer()):
        await until_over(store, begun.job.id)
    assert len(seen.calls) == 80


async def test_cancelled_the_group_is_where_it_was(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 8, 25)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
    before = [(await control(store, "g", p))["offset"] for p in range(4)]
    begun = await executed(store, "earliest")
    cancelled = await replay.cancel(store, begun.job.id, who="bob", why="the wrong group")
    assert (cancelled.job.state, cancelled.job.cancel_requested_by) == ("cancelled", "bob")
    assert [(await control(store, "g", p))["offset"] for p in range(4)] == before
    seen.clear()
    async with running(store, seen.consumer()):
        await store.append("order-1", [Noted(1)])
        await until(lambda: bool(seen.calls))
        await until_lag_is(store, 0)
    assert seen.calls == [("order-1", 26, False)]


async def test_cancelled_half_way_finished_stays_finished_and_failed_stays_failed(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 4, 50)
    async with running(store, seen.consumer(concurrency=1)):
        await until_lag_is(store, 0)
        seen.clear()
        seen.fails = lambda event: (event.stream, event.version) == ("order-0", 3)
        begun = await executed(store, "earliest", rate=40.0)
        await until(lambda: len(seen.calls) > 20)
        cancelled = await replay.cancel(store, begun.job.id, who="ada")
        assert cancelled.job.state == "cancelled"
        await until_lag_is(store, 0)
        handled = len(seen.calls)
        letters = await until_listed(store, 1, "g")
        await store.append("order-1", [Noted(1)])
        await until(lambda: seen.calls[-1][0] == "order-1" and not seen.calls[-1][2])
        assert (letters[0].stream, letters[0].version) == ("order-0", 3)
        assert len(seen.calls) == handled + 1
    assert handled < 100


async def test_cancelled_the_rest_of_a_stream_that_went_back_is_passed_over(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 4, 30)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
        seen.clear()
        begun = await executed(store, "order-1@1", rate=20.0)
        await until(lambda: len(seen.calls) > 2)
        await replay.cancel(store, begun.job.id, who="ada")
        handled = len(seen.calls)
        await store.append("order-1", [Noted(1)])
        await until(lambda: seen.calls[-1] == ("order-1", 31, False))
    assert len(seen.calls) <= handled + 2  # one was in hands
    assert handled < 30


async def test_a_rate_bounds_what_is_replayed_and_nothing_else(one_partition: EventStore) -> None:
    store = one_partition
    at: list[float] = []
    new: list[float] = []

    @consumer("g")
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        (at if ctx.replaying else new).append(anyio.current_time())

    await fill(store, 4, 12)
    async with running(store, handle):
        await until_lag_is(store, 0)
        new.clear()
        begun = await executed(store, "order-1@1", rate=8.0)
        assert begun.about.rate == 8.0
        await store.append("order-2", [Noted(n) for n in range(100)])
        await until(lambda: len(new) == 100)
        assert len(at) < 12
        await until(lambda: len(at) == 12)
    assert at[-1] - at[0] >= 10 / 8 * 0.95


async def test_one_stream_goes_back_while_the_rest_flows(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 8, 10)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
        seen.clear()
        plan = await planned(store, "order-3@4")
        assert [(s.stream, s.from_, s.to, s.events) for s in plan.streams] == [("order-3", 11, 4, 7)]
        begun = await executed(store, "order-3@4")
        assert begun.about.mode == "by-stream"
        await fill(store, 8, 2)
        await until(lambda: len(seen.calls) == 7 + 16)
        done = await until_over(store, begun.job.id)
        await until_lag_is(store, 0)
    assert (done.total, done.done) == (7, 7)
    assert [v for s, v, _ in seen.calls if s == "order-3"] == list(range(4, 13))
    assert seen.versions("order-3", replaying=True) == list(range(4, 11))
    assert sorted(each for each in seen.calls if each[0] != "order-3") == sorted(
        (f"order-{i}", version, False) for i in range(8) if i != 3 for version in (11, 12)
    )
    for partition in range(4):  # the stream has come back to the main pass
        detached = group_keys(store.log.keys, "g", partition).detached
        async for _ in tries():
            if await store.log.redis.execute(detached, "HLEN", detached) == 1:
                break


async def test_several_streams_go_back_to_a_time_or_by_a_number_of_events(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 6, 4)
    border = (await store.append("order-0", [Noted(1)])).recorded_at
    await fill(store, 6, 3)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
        seen.clear()
        done = await executed(store, rfc3339(border), streams=("order-0", "order-1"))
        await until_over(store, done.job.id)
        assert seen.versions("order-0", replaying=True) == [5, 6, 7, 8]
        assert seen.versions("order-1", replaying=True) == [5, 6, 7]
        seen.clear()
        done = await executed(store, "-2", streams=("order-2", "order-4"))
        await until_over(store, done.job.id)
    assert sorted(seen.calls) == [
        ("order-2", 6, True),
        ("order-2", 7, True),
        ("order-4", 6, True),
        ("order-4", 7, True),
    ]


async def test_bounds_pass_over_the_rest_without_a_call_but_not_what_was_never_finished(
    one_partition: EventStore,
) -> None:
    store, seen = one_partition, Seen()
    for version in range(6):
        for i in range(4):
            made = [Noted(version)] if i % 2 else [Paid(version)]
            await store.append(f"order-{i}", made, metadata=Metadata(correlation_id=f"c-{i}"))
    seen.fails = lambda event: (event.stream, event.version) == ("order-1", 2)
    async with running(store, seen.consumer()):
        await until_listed(store, 1, "g")
        await until_lag_is(store, 0)
        for bounds, wanted in (
            (
                {"types": (_name(store, Paid),)},
                {("order-0", v) for v in range(1, 7)} | {("order-2", v) for v in range(1, 7)},
            ),
            ({"correlation_id": "c-3"}, {("order-3", v) for v in range(1, 7)}),
            ({"until": "0:8"}, {(f"order-{i}", v) for i in (0, 2, 3) for v in (1, 2)} | {("order-1", 1)}),
        ):
            seen.clear()
            begun = await executed(store, "earliest", **bounds)
            done = await until_over(store, begun.job.id)
            await until_lag_is(store, 0)
            assert done.job.state == "done"
            assert {(s, v) for s, v, was in seen.calls if was} == wanted
            assert [each for each in seen.calls if not each[2]] == []
            await until_listed(store, 1, "g")
        seen.fails = lambda _: False
        await retry(store, "g", ["order-1"], who="ada")
        await until(lambda: len(seen.versions("order-1", replaying=False)) == 5)


def _name(store: EventStore, struct: type[Struct]) -> str:
    return store.log.types.add(struct).name


async def test_a_skip_must_be_allowed_and_is_for_good(store: EventStore) -> None:
    seen = Seen()
    await fill(store, 4, 5)
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
    await fill(store, 4, 5)
    plan = await planned(store, "latest")
    assert (plan.events, plan.skipped >= 20) == (0, True)
    with pytest.raises(Exception, match="skipped for good"):
        await executed(store, "latest")
    assert (await planned(store, "latest")).skipped == plan.skipped
    done = await executed(store, "latest", skip=True)
    assert (done.job.state, done.total) == ("done", 0)
    seen.clear()
    async with running(store, seen.consumer()):
        await store.append("order-1", [Noted(1)])
        await until(lambda: bool(seen.calls))
        assert seen.calls == [("order-1", 11, False)]
        seen.clear()
        begun = await executed(store, "earliest")
        await until_over(store, begun.job.id)
    assert len(seen.calls) == 41
    assert all(was for _, _, was in seen.calls)


@pytest.mark.parametrize("to", ["earliest", "order-1@1"])
async def test_returned_events_of_a_replay_are_not_written_again(store: EventStore, to: str) -> None:
    """C19: also after the duplicate window."""

    @consumer("g")
    async def handle(event: Noted) -> Paid:
        return Paid(event.n)

    await fill(store, 6, 5)
    async with running(store, handle):
        await _until_paid(store, 30)
        await until_lag_is(store, 0)
        await forget_ids(store)
        begun = await executed(store, to)
        done = await until_over(store, begun.job.id)
        assert done.total >= 5
        await until_lag_is(store, 0)
        assert await _paid(store) == 30


async def _paid(store: EventStore) -> int:
    return len([event async for event in store.read_all() if isinstance(event.data, Paid)])


async def _until_paid(store: EventStore, wanted: int) -> None:
    async for _ in tries():
        if await _paid(store) == wanted:
            return


async def test_a_handler_that_emits_does_so_once_for_each_replay_whatever_is_repeated(store: EventStore) -> None:
    @consumer("g", on_replay="emit")
    async def handle(event: Noted) -> Paid:
        return Paid(event.n)

    await fill(store, 4, 5)
    async with running(store, handle):
        await _until_paid(store, 20)
        for times in (2, 3):
            await until_lag_is(store, 0)
            begun = await executed(store, "earliest")
            await until_over(store, begun.job.id)
            await _until_paid(store, 20 * times)
    ids = [event.id async for event in store.read_all()]
    assert len(set(ids)) == len(ids)


async def test_on_a_cluster_a_group_goes_back_in_each_partition() -> None:
    seen = Seen()
    async with redis_cluster() as nodes:
        settings = RedisSettings(url=SecretUrl(nodes[0].url), cluster=True)
        async with open_store(settings, partitions=6) as store, running(store, seen.consumer()):
            await fill(store, 12, 5)
            await until(lambda: len(seen.calls) == 60)
            await until_lag_is(store, 0)
            begun = await executed(store, "earliest")
            assert begun.moved == tuple(range(6))
            assert (await until_over(store, begun.job.id)).job.state == "done"
            begun = await executed(store, "order-3@2", rate=2.0)
            assert (await replay.cancel(store, begun.job.id, who="ada")).job.state == "cancelled"
    assert {(s, v) for s, v, was in seen.calls if was} >= {(f"order-{i}", v) for i in range(12) for v in range(1, 6)}
