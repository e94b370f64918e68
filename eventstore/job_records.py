"""Jobs that no process holds in its hands: begun by one, told of by another, ended by whoever sees that they are over.

What is written is what jobs.py writes, so they are listed, shown and asked to stop like all others.
"""

from typing import Any
from uuid import UUID, uuid4, uuid5

from eventstore import jobs
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.errors import IdConflict, WrongExpectedVersion
from eventstore.job_state import (
    CANCEL_REQUESTED,
    PROGRESSED,
    Job,
    JobEnded,
    JobProgressed,
    JobStarted,
    Outcome,
    data_of,
)
from eventstore.store import EventStore

MARKS = 1_000  # of progress, that a job may have told of before it did anything


async def unended(store: EventStore, kind: str) -> tuple[list[Job], int]:
    """The jobs of a kind that have not ended, the newest first, and the version up to which all jobs were looked at."""
    version = await store.version(jobs.STREAM)
    return [job for job in await jobs.list_jobs(store) if job.kind == kind and job.ended_at is None], version


async def begin(
    store: EventStore, kind: str, who: str, why: str | None, total: int, about: dict[str, Any], *, expected: int
) -> str:
    """The id of a new job, if no other job has begun or ended since `expected` was the version of all jobs; else raises
    WrongExpectedVersion. Who has looked whether another is under way can be sure of it then."""
    job_id = str(uuid4())
    started = JobStarted(job_id, kind, who, why, total, about)
    await store.append_to(jobs.STREAM, [started], expected=expected, metadata=_metadata(job_id, who))
    return job_id


async def note(store: EventStore, job: Job, done: int, total: int) -> bool:
    """Says how far it is. False if that was not noted, for somebody else has said something meanwhile, such as that it
    is to stop: after that nothing is noted any more."""
    stream = jobs.stream_of(job.id)
    last: list[RecordedEvent] = [event async for event in store.read(stream, backwards=True, limit=1)]
    if last and last[0].type == CANCEL_REQUESTED:
        return False
    try:
        version = last[0].version if last else 0
        new = [JobProgressed(done, total)]
        await store.append_to(stream, new, expected=version, metadata=_metadata(job.id, job.who))
    except WrongExpectedVersion:
        return False
    return True


async def finish(store: EventStore, job: Job, state: Outcome, done: int, total: int, error: str | None = None) -> None:
    """Ends it. Of several who see at once that it is over, one says so."""
    ended = NewEvent(data=JobEnded(job.id, state, done, total, error), id=uuid5(UUID(job.id), "ended"))
    try:
        await store.append_to(jobs.STREAM, [ended], metadata=_metadata(job.id, job.who))
    except IdConflict:  # another was first, and has counted otherwise
        return


async def rate_of(store: EventStore, job: Job) -> float | None:
    """What a job that has ended did per second once it had begun to: without the time in which it waited for somebody.
    None if it has not told of its progress in between."""
    async for recorded in store.read(jobs.stream_of(job.id), limit=MARKS):
        if recorded.type == PROGRESSED and (mark := data_of(recorded, JobProgressed)).done:
            seconds = ((job.ended_at or job.updated_at) - recorded.recorded_at) / 1e6
            return (job.done - mark.done) / seconds if seconds > 0 and job.done > mark.done else None
    return None


def _metadata(job_id: str, who: str) -> Metadata:
    return Metadata(correlation_id=job_id, actor=who)
