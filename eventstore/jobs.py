"""Long work: who runs what and why, how far it is, and a way to stop it.

    async with running(store, "import", who="ada", why="first load", total=1_000) as job:
        for done, batch in enumerate(batches, 1):
            ...
            await job.progress(done)

State is the fold of two streams: `$jobs` has the begin and the end of every job; `$job-<id>` has the progress of one,
an event each 2 s at most, and the request to cancel it. Its last progress is in the event that ends it. Nobody ends
the job of a process that died: it shows as `stalled` once it has said nothing for a minute.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import structlog

from eventstore import audit
from eventstore.arguments import not_empty
from eventstore.envelope import Metadata, RecordedEvent
from eventstore.errors import EventStoreError, InvalidRequest, JobNotFound, WrongExpectedVersion
from eventstore.group_commit import GroupCommit
from eventstore.job_state import (
    CANCEL_REQUESTED,
    ENDED,
    STARTED,
    Job,
    JobCancelRequested,
    JobEnded,
    JobProgressed,
    JobStarted,
    Outcome,
    data_of,
    fold,
)
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from infrastructure.tasks import owned_tasks

__all__ = ["Job", "JobCancelled", "RunningJob", "WrongState", "cancel", "get_job", "list_jobs", "running", "stream_of"]

STREAM = "$jobs"
LAST_EVENTS = 16  # of the stream of a job: what it did in the last quarter of a minute
PROGRESS_SECONDS = 2.0
MAX_ERROR_LETTERS = 2_000

logger = structlog.get_logger(__name__)


class WrongState(EventStoreError):
    """What is asked for cannot be done in the state that a thing is in. Nothing was changed."""

    code = "wrong-state"


class JobCancelled(EventStoreError):
    """Somebody asked this job to stop; `progress` raises it, `running` records it and lets it pass."""

    code = "job-cancelled"


@asynccontextmanager
async def running(
    store: EventStore,
    kind: str,
    who: str,
    why: str | None = None,
    total: int | None = None,
    *,
    clock: Callable[[], float] = anyio.current_time,
) -> AsyncIterator["RunningJob"]:
    """A job for as long as the block lasts. It ends as done; as cancelled if JobCancelled leaves the block, as failed
    with any other exception, a cancelled task included. The exception goes on to the caller."""
    job = RunningJob(store, str(uuid4()), who, total, clock)
    await store.append_to(STREAM, [JobStarted(job.id, kind, who, why, total)], metadata=job.metadata)
    try:
        yield job
    except JobCancelled:
        await job.end_whatever_happens("cancelled")
        raise
    except BaseException as error:
        await job.end_whatever_happens("failed", _described(error))
        raise
    else:
        await job.end("done")


class RunningJob:
    """The job in the hands of the code that does it. Made by `running`."""

    def __init__(self, store: EventStore, job_id: str, who: str, total: int | None, clock: Callable[[], float]) -> None:
        self.id = job_id
        self.done = 0
        self.total = total
        self.cancel_requested = False
        self.metadata = Metadata(correlation_id=job_id, actor=who)
        self._store, self._clock = store, clock
        self._written_at = clock()
        self._version = 0

    async def progress(self, done: int, total: int | None = None) -> None:
        """Say how far it is: call it wherever the work may stop, as often as you like. Raises JobCancelled when
        somebody asked for it, which is noticed with each progress written, every 2 s."""
        self.done, self.total = done, self.total if total is None else total
        if not self.cancel_requested and self._clock() - self._written_at >= PROGRESS_SECONDS:
            await self._write()
        if self.cancel_requested:
            raise JobCancelled(f"job {self.id} was asked to stop, at {done:,} done", facts={"job": self.id})

    async def _write(self) -> None:
        # Only a request to cancel is written here by others, so the version that we expect tells of one.
        stream = stream_of(self.id)
        try:
            receipt = await self._store.append_to(
                stream, [JobProgressed(self.done, self.total)], expected=self._version, metadata=self.metadata
            )
            self._version = receipt.version
        except WrongExpectedVersion:
            async for recorded in self._store.read(stream, from_version=self._version + 1):
                self._version = recorded.version
                self.cancel_requested |= recorded.type == CANCEL_REQUESTED
        self._written_at = self._clock()

    async def end(self, state: Outcome, error: str | None = None) -> None:
        """For `running`."""
        await self._store.append_to(STREAM, [self._ended(state, error)], metadata=self.metadata)

    async def end_whatever_happens(self, state: Outcome, error: str | None = None) -> None:
        """For `running`: also while its task is being cancelled, and with it those tasks of the store that write. So
        this has a writer of its own; it takes as long as an append may, and a failure is logged."""
        log = self._store.log
        with anyio.CancelScope(shield=True):
            try:
                async with owned_tasks() as spawn:
                    ours = EventStore(log, GroupCommit(log, spawn), self._store.settings)
                    await ours.append_to(STREAM, [self._ended(state, error)], metadata=self.metadata)
            except EventStoreError as failure:
                logger.warning("job_end_not_recorded", job=self.id, state=state, error=str(failure))

    def _ended(self, state: Outcome, error: str | None) -> JobEnded:
        return JobEnded(self.id, state, self.done, self.total, error)


async def list_jobs(store: EventStore, *, limit: int | None = None) -> list[Job]:
    """The newest first. Reads `$jobs` backwards, and the end of the stream of each job that has not ended."""
    jobs: list[Job] = []
    now = await _server_time(store)
    async for started, ended in _begun(store):
        if limit is not None and len(jobs) >= limit:
            break
        jobs.append(await _job(store, started, ended, now))
    return jobs


async def get_job(store: EventStore, job_id: str) -> Job:
    """The job of an id, or of the only id that begins so. Raises JobNotFound, and InvalidRequest if several do."""
    not_empty(job=job_id)
    found = []
    async for started, ended in _begun(store):
        its_id = data_of(started, JobStarted).job
        if its_id.startswith(job_id):
            found.append((its_id, started, ended))
        if its_id == job_id:
            break
    if not found:
        raise JobNotFound(f"there is no job {job_id}", field="job", remedy="eventstore jobs", facts={"job": job_id})
    if len(found) > 1:
        ids = ", ".join(its_id for its_id, _, _ in found[:5])
        raise InvalidRequest(
            f"{len(found)} jobs begin with {job_id!r}: {ids}", field="job", remedy="give more of the id"
        )
    _, started, ended = found[0]
    return await _job(store, started, ended, await _server_time(store))


async def cancel(store: EventStore, job_id: str, who: str, why: str | None = None) -> Job:
    """Ask a job to stop, which it does at its next safe point; asking again changes nothing. Raises JobNotFound, and
    WrongState if it has ended."""
    stream = stream_of((await get_job(store, job_id)).id)
    while True:
        version = await store.version(stream)
        job = await get_job(store, stream.removeprefix(stream_of("")))
        if job.ended_at is not None:
            raise WrongState(f"job {job.id} is {job.state}", field="job", facts={"job": job.id, "state": job.state})
        if job.cancel_requested_by is not None:
            return job
        request = JobCancelRequested(who, why)
        try:
            await store.append_to(
                stream, [request], expected=version, metadata=Metadata(correlation_id=job.id, actor=who)
            )
        except WrongExpectedVersion:  # progress, each 2 s at most, or another request: look again
            continue
        await audit.record(store, who, "job-cancel", why, {"job": job.id, "kind": job.kind})


def stream_of(job_id: str) -> str:
    return f"$job-{job_id}"


async def _begun(store: EventStore) -> AsyncIterator[tuple[RecordedEvent, RecordedEvent | None]]:
    """The begin of every job, the newest first, with its end if it has one."""
    ended: dict[str, RecordedEvent] = {}
    async for recorded in store.read(STREAM, backwards=True):
        if recorded.type == ENDED:
            ended[data_of(recorded, JobEnded).job] = recorded
        elif recorded.type == STARTED:
            yield recorded, ended.pop(data_of(recorded, JobStarted).job, None)


async def _job(store: EventStore, started: RecordedEvent, ended: RecordedEvent | None, now: int) -> Job:
    own: list[RecordedEvent] = []
    if ended is None or data_of(ended, JobEnded).state == "cancelled":
        # A request to cancel is the last event, for the job writes no progress after it. Others tell its rate.
        stream = stream_of(data_of(started, JobStarted).job)
        own = [recorded async for recorded in store.read(stream, backwards=True, limit=LAST_EVENTS)]
    return fold(started, own, ended, now)


async def _server_time(store: EventStore) -> int:
    log = store.log
    seconds, microseconds = await log.redis.execute(log.keys.head(partition_of(STREAM, log.partitions)), "TIME")
    return int(seconds) * 1_000_000 + int(microseconds)


def _described(error: BaseException) -> str:
    if not isinstance(error, Exception):
        return "interrupted"
    text = f"{type(error).__name__}: {error}"[:MAX_ERROR_LETTERS]
    return text.encode(errors="backslashreplace").decode()  # a file name in it may be no UTF-8
