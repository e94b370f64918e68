"""Retrying and discarding many letters: plans, jobs, and what is left when one of those who take part dies."""

import os
import tracemalloc
from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest

from consumers.dead_letters import Where, discard_selected, export_letters, plan, retry_selected
from consumers.errors import InvalidRequest, OrderUnanswered
from consumers.keys import group_keys
from consumers.lease_calls import acquire
from eventstore import EventStore, RecordedEvent
from eventstore.jobs import JobCancelled, cancel, list_jobs
from tests.support.letter_worker import charge, charged, letter_worker
from tests.support.letters import Placed, Shop, audited, listed, park, until_listed
from tests.support.running import running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
GROUP = "charge-cards"
STREAMS = 20_000 if os.environ.get("EVENTSTORE_SOAK") else 2_000


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed]) as one:
        yield one


async def nothing_is_lost(store: EventStore, streams: set[str]) -> int:
    """Each letter is listed or handled: how many are handled. Listed first, for what is handled in between is both."""
    still = {each.stream for each in await listed(store, GROUP, retrying=True)}
    handled = set(await charged(store))
    assert still | handled == streams
    return len(handled)


@pytest.mark.timeout(600)
async def test_c15_nothing_is_lost_when_the_member_dies_that_retries_everything(store: EventStore) -> None:
    streams = {f"order-{n}" for n in range(STREAMS)}
    await park(store, sorted(streams))
    async with anyio.create_task_group() as tasks:
        with letter_worker(store) as first:
            tasks.start_soon(partial(retry_selected, store, GROUP, who="ada"))
            async for _ in tries(300):
                if await nothing_is_lost(store, streams) > STREAMS // 3:
                    break
            first.kill()
            first.wait()
        assert await nothing_is_lost(store, streams) < STREAMS
        with letter_worker(store):
            async for _ in tries(300):
                if await nothing_is_lost(store, streams) == STREAMS:
                    break
    assert await charged(store) == dict.fromkeys(streams, 1)
    assert await listed(store, retrying=True) == []
    (job,) = await list_jobs(store)
    assert (job.kind, job.state, job.done, job.total) == ("dlq-retry", "done", STREAMS, STREAMS)


async def test_the_same_job_goes_on_where_one_was_broken_off(store: EventStore) -> None:
    streams = {f"order-{n}" for n in range(600)}
    await park(store, sorted(streams))
    with anyio.CancelScope() as scope:

        def break_off(done: int, total: int | None) -> None:
            if done >= 300:
                scope.cancel()

        await retry_selected(store, GROUP, who="ada", on_progress=break_off)
    left = len(await listed(store))
    assert 200 <= left <= 300
    assert await nothing_is_lost(store, streams) == 0
    assert (await retry_selected(store, GROUP, who="ada")).done == left
    async with running(store, charge):
        async for _ in tries(60):
            if await nothing_is_lost(store, streams) == 600:
                break
    assert await charged(store) == dict.fromkeys(streams, 1)
    assert [job.state for job in await list_jobs(store)] == ["done", "failed"]


async def test_a_plan_tells_what_would_be_done_and_changes_nothing(store: EventStore) -> None:
    await park(store, [f"order-{n}" for n in range(5)], events=3)
    before = await listed(store)
    found = await plan(store, "retry", rate=10.0)
    assert (found.letters, found.events, found.seconds, found.members) == (5, 15, 0.5, {GROUP: 0})
    assert [(row.group, row.error, row.letters, row.events) for row in found.rows] == [(GROUP, "Declined", 5, 15)]
    assert (await plan(store, "discard", GROUP, limit=2)).letters == 2
    assert (await plan(store, "discard", GROUP, Where(prefix="order-3"))).letters == 1
    assert (await plan(store, "retry", GROUP, Where(error="KeyError"))).rows == ()
    assert await listed(store) == before
    assert await list_jobs(store) == []


async def test_a_selection_is_retried_up_to_its_limit_and_told_of(store: EventStore) -> None:
    await park(store, ["invoice-1", *(f"order-{n}" for n in range(30))], events=2)
    told = []
    done = await retry_selected(
        store, GROUP, Where(category="order"), who="ada", why="mended", limit=10, on_progress=lambda *d: told.append(d)
    )
    assert (done.done, done.late, done.events, done.by_holder) == (10, 0, 20, False)
    assert len(await listed(store)) == 21
    assert told
    assert {total for _, total in told} == {10}
    entries = await audited(store, "dlq-retry")
    assert {(who, why, facts["job"]) for who, _, why, facts in entries} == {("ada", "mended", done.job)}
    assert sum(len(facts["letters"]) for _, _, _, facts in entries) == 10
    outcomes = await audited(store, "dlq-retry-outcome")
    assert sum(len(facts["done"]) for _, _, _, facts in outcomes) == 10


async def test_a_selection_is_discarded_with_a_reason(store: EventStore) -> None:
    await park(store, [f"order-{n}" for n in range(6)], events=2)
    with pytest.raises(InvalidRequest, match="reason"):
        await discard_selected(store, GROUP, who="ada", why="")
    done = await discard_selected(store, GROUP, who="ada", why="test orders")
    assert (done.action, done.done) == ("discard", 6)
    assert await listed(store, retrying=True) == []
    shop = Shop(lambda _: False)
    async with running(store, shop.charging()):
        await until(lambda: len(shop.handled) == 6)
    assert {version for _, version in shop.handled} == {2}


async def test_a_letter_that_fails_again_is_retried_once_by_a_job(store: EventStore) -> None:
    shop = Shop()
    for n in range(8):
        await store.append(f"order-{n}", [Placed(1)])
    async with running(store, shop.charging()):
        await until_listed(store, 8)
        assert (await retry_selected(store, GROUP, who="ada")).done == 8
        await until(lambda: len(shop.calls) == 16)
        await until_listed(store, 8)
    assert len(shop.calls) == 16


async def test_a_rate_spreads_a_job_evenly(store: EventStore) -> None:
    await park(store, [f"order-{n}" for n in range(20)])
    began_at = anyio.current_time()
    await retry_selected(store, GROUP, who="ada", rate=40.0)
    assert anyio.current_time() - began_at > 0.2
    with pytest.raises(InvalidRequest) as refused:
        await retry_selected(store, GROUP, who="ada", rate=0.0)
    assert refused.value.field == "rate"


async def test_a_job_stops_at_a_safe_point_on_request_and_when_it_is_cancelled(store: EventStore) -> None:
    await park(store, [f"order-{n}" for n in range(12)])
    asked = iter([False, True])
    with pytest.raises(JobCancelled, match="stopped after"):
        await retry_selected(store, GROUP, who="ada", rate=20.0, stop_requested=lambda: next(asked))
    assert (await list_jobs(store))[0].state == "cancelled"
    left = len(await listed(store))
    assert 0 < left < 12

    async def ask() -> None:
        async for _ in tries():
            job = (await list_jobs(store))[0]
            if job.state == "running":
                await cancel(store, job.id, "bob", "wrong ones")
                return

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        with pytest.raises(JobCancelled):
            await retry_selected(store, GROUP, who="ada", rate=1.0)
    assert len(await listed(store)) > 0


async def test_a_job_ends_where_a_holder_does_not_answer(store: EventStore) -> None:
    await park(store, [f"order-{n}" for n in range(12)])
    for partition in range(store.log.partitions):
        await acquire(store.log, group_keys(store.log.keys, GROUP, partition), "deaf", 60_000)
    with pytest.raises(OrderUnanswered):
        await retry_selected(store, GROUP, who="ada", wait_seconds=0.2)
    assert len(await listed(store)) == 12
    assert (await list_jobs(store))[0].state == "failed"


async def test_an_export_holds_some_letters_at_a_time(store: EventStore) -> None:
    def declines(event: RecordedEvent) -> bool:
        raise ValueError("x" * 2_000) from RuntimeError("y" * 7_000)

    await park(store, [f"order-{n}" for n in range(800)], declines=declines)
    tracemalloc.start()
    try:
        size = 0
        async for line in export_letters(store):
            size += len(line)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 7_000_000
    assert peak < 3_500_000
