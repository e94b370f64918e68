"""Jobs on a real server."""

import anyio
import pytest

from eventstore import audit, job_records, jobs
from eventstore.errors import InvalidRequest, JobNotFound
from eventstore.job_state import STARTED, JobEnded, JobStarted
from eventstore.jobs import JobCancelled, WrongState, cancel, get_job, list_jobs, running
from eventstore.store import EventStore
from infrastructure.errors import Unavailable
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.servers import Server, redis_server
from tests.support.stores import settings_of

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


server = server_fixture(scope="module")
store = store_fixture()


async def test_a_job_is_seen_while_it_runs_and_after(store: EventStore) -> None:
    clock = Clock()
    async with running(store, "import", "ada", "first load", total=10, clock=clock) as job:
        clock.now = 2.0
        await job.progress(4)
        seen = await get_job(store, job.id)
        assert (seen.kind, seen.who, seen.why, seen.state) == ("import", "ada", "first load", "running")
        assert (seen.done, seen.total) == (4, 10)
        assert seen.rate is not None
        await job.progress(10)
    ended = await get_job(store, job.id)
    assert (ended.state, ended.done, ended.error) == ("done", 10, None)
    assert ended.ended_at is not None


async def test_an_empty_id_means_no_job_though_every_id_begins_so(store: EventStore) -> None:
    async with running(store, "import", "ada"):
        with pytest.raises(InvalidRequest, match="empty"):
            await cancel(store, "", "bob")


async def test_progress_is_written_every_two_seconds_at_most(store: EventStore) -> None:
    clock = Clock()
    async with running(store, "import", "ada", clock=clock) as job:
        for done in range(1, 41):
            clock.now += 0.25
            await job.progress(done)
        assert await store.version(jobs.stream_of(job.id)) == 5


async def test_a_total_that_is_learnt_late_counts(store: EventStore) -> None:
    async with running(store, "import", "ada") as job:
        await job.progress(1, total=7)
    assert (await get_job(store, job.id)).total == 7


async def test_an_exception_ends_the_job_as_failed_and_goes_on(store: EventStore) -> None:
    async def work() -> None:
        async with running(store, "import", "ada") as job:
            await job.progress(2)
            raise ValueError("line 3 of \udcff")

    with pytest.raises(ValueError, match="line 3"):
        await work()
    (failed,) = await list_jobs(store)
    assert (failed.state, failed.done, failed.error) == ("failed", 2, "ValueError: line 3 of \\udcff")


async def test_a_job_of_a_cancelled_task_is_recorded_as_failed(store: EventStore) -> None:
    with anyio.CancelScope() as scope:
        async with running(store, "import", "ada") as job:
            scope.cancel()
            await anyio.sleep_forever()
    assert (await get_job(store, job.id)).error == "interrupted"


async def test_it_is_recorded_also_when_the_tasks_of_the_store_are_cancelled_with_it(
    server: Server, store: EventStore
) -> None:
    same = settings_of(server, prefix=store.log.settings.prefix)
    with anyio.CancelScope() as scope:
        async with EventStore.open(settings=same) as cancelled, running(cancelled, "import", "ada") as job:
            scope.cancel()
            await anyio.sleep_forever()
    assert (await get_job(store, job.id)).state == "failed"


async def test_a_server_that_is_gone_does_not_hide_why_the_job_failed() -> None:
    async with redis_server() as lonely:
        settings = settings_of(lonely, append_timeout_seconds=0.3)
        async with EventStore.open(settings=settings) as store:
            job = running(store, "import", "ada")
            await job.__aenter__()
            lonely.close()
            failure = ValueError("the reason")
            assert not await job.__aexit__(ValueError, failure, None)
            with pytest.raises(Unavailable):
                await list_jobs(store)


async def test_a_request_to_cancel_stops_the_job_at_its_next_safe_point(store: EventStore) -> None:
    async def work() -> None:
        clock = Clock()
        async with running(store, "import", "ada", total=10, clock=clock) as job:
            asked = await cancel(store, job.id, "bob", "wrong file")
            assert (asked.state, asked.cancel_requested_by) == ("running", "bob")
            await job.progress(3)
            assert not job.cancel_requested
            clock.now = 2.0
            await job.progress(4)

    with pytest.raises(JobCancelled):
        await work()
    (cancelled,) = await list_jobs(store)
    assert (cancelled.state, cancelled.done, cancelled.cancel_requested_by) == ("cancelled", 4, "bob")
    assert [entry.data.why async for entry in audit.entries(store)] == ["wrong file"]


async def test_a_request_that_came_between_two_progresses_is_noticed(store: EventStore) -> None:
    async def work() -> None:
        clock = Clock()
        async with running(store, "import", "ada", clock=clock) as job:
            clock.now = 2.0
            await job.progress(1)
            await cancel(store, job.id, "bob")
            clock.now = 4.0
            await job.progress(2)

    with pytest.raises(JobCancelled):
        await work()
    (cancelled,) = await list_jobs(store)
    assert (cancelled.state, cancelled.done) == ("cancelled", 2)


async def test_work_that_goes_on_after_a_request_is_told_again(store: EventStore) -> None:
    clock = Clock()
    async with running(store, "import", "ada", clock=clock) as job:
        await cancel(store, job.id, "bob")
        clock.now = 2.0
        for done in range(3):
            with pytest.raises(JobCancelled):
                await job.progress(done)
        assert job.cancel_requested
    assert (await get_job(store, job.id)).state == "done"


async def test_asking_twice_to_cancel_changes_nothing(store: EventStore) -> None:
    async with running(store, "import", "ada") as job, anyio.create_task_group() as tasks:
        for who in ("bob", "eve"):
            tasks.start_soon(cancel, store, job.id, who)
    assert await store.version(jobs.stream_of(job.id)) == 1


async def test_a_finished_job_cannot_be_cancelled(store: EventStore) -> None:
    async with running(store, "import", "ada") as job:
        pass
    with pytest.raises(WrongState, match="done"):
        await cancel(store, job.id, "bob")
    assert await store.version(jobs.stream_of(job.id)) == 0


async def test_a_job_is_found_by_the_begin_of_its_id(store: EventStore) -> None:
    async with running(store, "import", "ada") as job:
        assert (await get_job(store, job.id[:8])).id == job.id


async def test_a_begin_that_several_ids_share_is_refused_with_their_names(store: EventStore) -> None:
    for job_id in ("ab1", "ab2"):
        await store.append_to("$jobs", [JobStarted(job_id, "import", "ada", None, None)])
    with pytest.raises(InvalidRequest, match="ab2, ab1"):
        await get_job(store, "ab")
    assert (await get_job(store, "ab1")).id == "ab1"


async def test_an_unknown_job_is_not_found(store: EventStore) -> None:
    for ask in (get_job(store, "nothing"), cancel(store, "nothing", "bob")):
        with pytest.raises(JobNotFound):
            await ask


async def test_jobs_are_listed_newest_first(store: EventStore) -> None:
    for kind in ("import", "replay", "backup"):
        async with running(store, kind, "ada"):
            pass
    assert [(job.kind, job.state) for job in await list_jobs(store)] == [
        ("backup", "done"),
        ("replay", "done"),
        ("import", "done"),
    ]
    assert [job.kind for job in await list_jobs(store, limit=2)] == ["backup", "replay"]


async def test_a_process_that_ran_none_lists_the_same_jobs(server: Server, store: EventStore) -> None:
    async with (
        running(store, "import", "ada") as job,
        EventStore.open(settings=settings_of(server, prefix=store.log.settings.prefix)) as reader,
    ):
        await store.append_to("$jobs", [JobEnded("unknown", "done", 1, 1, None)])
        assert [found.id for found in await list_jobs(reader)] == [job.id]
        assert await list_jobs(reader) == await list_jobs(store)
        assert [e.type async for e in reader.read("$jobs", limit=1)] == [STARTED]


async def test_the_rate_of_an_ended_job_leaves_out_how_long_it_waited_to_begin(store: EventStore) -> None:
    version = await store.version("$jobs")
    job = await get_job(store, await job_records.begin(store, "replay", "ada", None, 30, {}, expected=version))
    assert await job_records.rate_of(store, job) is None
    for done in (0, 0, 10, 20):
        assert await job_records.note(store, job, done, 30)
    await job_records.finish(store, job, "done", 30, 30)
    ended = await get_job(store, job.id)
    marks = [event async for event in store.read(jobs.stream_of(job.id))]
    assert ended.ended_at is not None
    assert await job_records.rate_of(store, ended) == 20 / ((ended.ended_at - marks[2].recorded_at) / 1e6)
