"""A replay is a job: one of a group at a time, whoever dies meanwhile, and everybody can see how far it is."""

from collections.abc import AsyncIterator

import anyio
import pytest

from consumers import replay
from consumers.errors import PlanChanged, ReplayNotFound, ReplayRunning
from consumers.groups import delete_group
from consumers.replay.course import move_rest
from consumers.replay.in_place import move_in_place
from consumers.replay.plan import KIND
from consumers.replay.request import About
from eventstore import EventStore, audit, job_records, jobs
from eventstore.jobs import WrongState
from infrastructure.tasks import together
from tests.support.letters import until_listed
from tests.support.replays import Seen, executed, planned, request, until_lag_is, until_over
from tests.support.running import control, running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


async def done(store: EventStore, seen: Seen, streams: int = 8, events: int = 10) -> None:
    """A group that has handled everything."""
    for i in range(streams):
        await store.append(f"order-{i}", [Noted(n) for n in range(events)])
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
    seen.clear()


async def offsets(store: EventStore) -> list[str]:
    return [(await control(store, "g", p))["offset"] for p in range(4)]


async def test_it_is_listed_with_who_and_why_and_ends_by_itself(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    begun = await executed(store, "earliest")
    assert [each.id for each in await jobs.list_jobs(store)] == [begun.job.id]
    (listed,) = await replay.list_replays(store)
    assert (listed.job.who, listed.job.why, listed.job.kind) == ("ada", "a bad deploy", "replay")
    assert (listed.about.group, listed.about.to, listed.open, listed.is_over) == ("g", "earliest", listed.total, False)
    entries = [event.data async for event in audit.entries(store)]
    assert [(e.who, e.what, e.why, e.facts["replay"]) for e in entries] == [
        ("ada", "replay", "a bad deploy", begun.job.id)
    ]
    async with running(store, seen.consumer()):
        over = await until_over(store, begun.job.id)
    assert (over.job.state, over.job.done, over.job.total) == ("done", over.total, over.total)
    assert await replay.list_replays(store, "another") == []


async def test_its_progress_is_noted_while_it_goes_on(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    begun = await executed(store, "earliest", rate=40.0)
    async with running(store, seen.consumer()):
        async for _ in tries():
            job = await jobs.get_job(store, begun.job.id)
            if job.done:
                break
        assert job.state == "running"
        assert 0 < job.done < (job.total or 0)
        assert job.rate
        assert job.eta_seconds
        assert (await replay.get_replay(store, begun.job.id)).done >= job.done
        await replay.cancel(store, begun.job.id, who="ada")


async def test_a_group_has_one_replay_at_a_time_of_many_that_are_begun_at_once(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    outcomes: list[object] = []

    async def begin(i: int) -> None:
        try:
            outcomes.append(await executed(store, "earliest" if i % 2 else "order-1@1"))
        except ReplayRunning as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for i in range(6):
            tasks.start_soon(begin, i)
    (begun,) = [each for each in outcomes if isinstance(each, replay.Replay)]
    refused = [each for each in outcomes if isinstance(each, ReplayRunning)]
    assert {each.job for each in refused} == {begun.job.id}
    assert f"eventstore replays cancel {begun.job.id[:8]}" in str(refused[0].remedy)
    async with running(store, seen.consumer()):
        await until_over(store, begun.job.id)
        second = await executed(store, "earliest")  # it is over: now there is place for another
        await until_over(store, second.job.id)


async def test_one_that_is_over_does_not_stand_in_the_way_though_nobody_has_ended_it(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    begun = await executed(store, "order-1@9")
    handled = seen.consumer()
    async with running(store, handled) as stop:
        await until(lambda: len(seen.calls) == 2)
        stop.set()  # before the member has looked
    second = await executed(store, "order-2@9")
    assert (await replay.get_replay(store, begun.job.id)).job.state == "done"
    assert second.job.ended_at is None


async def test_a_plan_is_not_run_when_the_group_was_moved_since_but_it_may_move_on(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    plan = await planned(store, "earliest")
    await store.append("order-1", [Noted(1)])
    async with running(store, seen.consumer()):
        await until_lag_is(store, 0)
        begun = await replay.execute(store, request("earliest"), who="ada", plan_id=plan.plan)
        await until_over(store, begun.job.id)
        before = await offsets(store)
        with pytest.raises(PlanChanged):
            await replay.execute(store, request("earliest"), who="ada", plan_id=plan.plan)
        newest = await planned(store, "earliest")
        with pytest.raises(PlanChanged):
            await replay.execute(store, request("0:0"), who="ada", plan_id=newest.plan)
        assert await offsets(store) == before


async def half_moved(store: EventStore) -> jobs.Job:
    """What a command leaves that dies after it has moved the group in two of four partitions."""
    plan = await planned(store, "earliest")
    version = await store.version(jobs.STREAM)
    job_id = await job_records.begin(store, KIND, "ada", None, plan.events, plan.about.pack(), expected=version)
    job = await jobs.get_job(store, job_id)
    for partition in (0, 2):
        await move_in_place(store.log, About.of(job.about), job_id, partition)
    return job


async def test_a_command_that_died_half_way_is_told_of_and_its_rest_is_moved_by_resume(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    before = await offsets(store)
    job = await half_moved(store)
    assert await offsets(store) == ["0-0", before[1], "0-0", before[3]]
    with pytest.raises(ReplayRunning, match="2 of 4 partitions are moved") as raised:
        await executed(store, "-1")
    assert f"eventstore replays resume {job.id[:8]}" in str(raised.value.remedy)
    async with running(store, seen.consumer()):
        await until(lambda: bool(seen.calls))
        assert (await replay.get_replay(store, job.id)).moved == (0, 2)
        resumed = await replay.resume(store, job.id[:8], who="bob")
        assert resumed.moved == (0, 1, 2, 3)
        await until_over(store, job.id)
    assert sorted(seen.calls) == sorted((f"order-{i}", v, True) for i in range(8) for v in range(1, 11))
    with pytest.raises(WrongState, match="is done"):
        await replay.resume(store, job.id, who="bob")


async def test_a_command_that_died_half_way_is_cancelled_where_it_has_moved_the_group(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    before = await offsets(store)
    job = await half_moved(store)
    cancelled = await replay.cancel(store, job.id, who="bob")
    assert cancelled.job.state == "cancelled"
    assert await offsets(store) == before
    with pytest.raises(WrongState, match="is cancelled"):
        await replay.cancel(store, job.id, who="bob")


async def test_cancelled_while_it_is_moved_it_is_put_back_everywhere(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    before = await offsets(store)
    job = await half_moved(store)
    await replay.cancel(store, job.id, who="bob")
    moved = await move_rest(store, job)  # the command goes on, which does not know of it yet
    assert moved.job.state == "cancelled"
    assert await offsets(store) == before
    job = await half_moved(store)
    await together([lambda: replay.resume(store, job.id, who="ada"), lambda: replay.cancel(store, job.id, who="bob")])
    assert (await replay.get_replay(store, job.id)).job.state == "cancelled"
    assert await offsets(store) == before


async def test_a_partition_is_moved_once_however_often_it_is_tried(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    job = await half_moved(store)
    async with running(store, seen.consumer()):
        async for _ in tries():
            if (await offsets(store))[0] != "0-0":
                break
    before = await offsets(store)
    await move_in_place(store.log, About.of(job.about), job.id, 0)
    assert await offsets(store) == before


async def test_who_asks_the_job_to_stop_is_heard_by_the_member_that_looks_after_it(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    before = await offsets(store)
    begun = await executed(store, "earliest", rate=2.0)
    async with running(store, seen.consumer()):
        await until(lambda: bool(seen.calls))
        await jobs.cancel(store, begun.job.id, "bob")
        over = await until_over(store, begun.job.id)
        await until_lag_is(store, 0)
    assert (over.job.state, over.job.cancel_requested_by) == ("cancelled", "bob")
    assert len(seen.calls) < 80
    after = [int(each.partition("-")[2]) for each in await offsets(store)]
    assert all(now >= int(each.partition("-")[2]) for now, each in zip(after, before, strict=True))


async def test_another_member_looks_after_it_when_the_first_is_gone(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    begun = await executed(store, "earliest", rate=60.0)
    async with running(store, seen.consumer()):
        await until(lambda: bool(seen.calls))
    async with running(store, seen.consumer()):
        over = await until_over(store, begun.job.id)
    assert over.job.state == "done"
    assert set(seen.calls) == {(f"order-{i}", v, True) for i in range(8) for v in range(1, 11)}


async def test_what_fails_in_a_replay_waits_with_the_letters_and_does_not_hold_up_its_end(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    seen.fails = lambda event: (event.stream, event.version) == ("order-1", 4)
    begun = await executed(store, "earliest")
    async with running(store, seen.consumer()):
        over = await until_over(store, begun.job.id)
        (letter,) = await until_listed(store, 1, "g")
    assert (over.job.state, over.waiting) == ("done", 7)
    assert (letter.stream, letter.version, letter.waiting) == ("order-1", 4, 6)


async def test_a_group_that_is_deleted_takes_its_replay_along(store: EventStore) -> None:
    seen = Seen()
    await done(store, seen)
    begun = await executed(store, "earliest")
    await delete_group(store, "g", who="ada")
    found = await replay.get_replay(store, begun.job.id)
    assert (found.moved, found.is_over) == ((), False)


async def test_what_is_no_replay_is_not_found(store: EventStore) -> None:
    async with jobs.running(store, "import", "ada") as job:
        for wrong in (job.id, "0199f2c4"):
            for call in (
                replay.get_replay(store, wrong),
                replay.cancel(store, wrong, who="ada"),
                replay.resume(store, wrong, who="ada"),
            ):
                with pytest.raises(ReplayNotFound):
                    await call


async def test_where_there_is_nothing_to_replay_nothing_is_begun(store: EventStore) -> None:
    await done(store, Seen())
    for to in ("latest", "order-1@11", "0:" + (await offsets(store))[0].partition("-")[2]):
        with pytest.raises(WrongState, match="nothing to replay"):
            await executed(store, to)
    assert await jobs.list_jobs(store) == []
