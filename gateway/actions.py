"""What the command line, HTTP and the console offer of the log: one function an operation, in the JSON shapes of all
three. Groups, letters, replays and timers have files of their own beside this one, which load the consumers."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from eventstore import audit, jobs, transfer, wire
from eventstore.envelope import NewEvent, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent, StreamNotFound
from eventstore.expected import Expected, ExpectedVersion
from eventstore.filters import Filter
from eventstore.growth import check_growth
from eventstore.health import Check, check
from eventstore.job_state import Job
from eventstore.read import Order
from eventstore.store import EventStore
from eventstore.subscribe import Subscription
from eventstore.transfer import Imported, OnProgress
from eventstore.verify import CHECKS, Finding, verify
from eventstore.wire import ReceiptShape, rfc3339
from gateway.overview import LogShape, PartitionShape, StreamShape, describe_log, streams
from infrastructure.server import serve
from infrastructure.settings import Settings

if TYPE_CHECKING:
    from gateway.timers import ScheduledShape

__all__ = [
    "AuditShape",
    "JobShape",
    "LogShape",
    "PartitionShape",
    "StreamShape",
    "append",
    "audit_entries",
    "cancel_job",
    "check_log",
    "check_server",
    "describe_log",
    "export_events",
    "follow",
    "import_events",
    "list_jobs",
    "read_stream",
    "schedule_event",
    "show_job",
    "streams",
]


class JobShape(Struct, frozen=True):
    """A job, of whatever kind."""

    id: str
    kind: str
    state: str
    who: str
    why: str | None
    done: int
    total: int | None
    rate: float | None
    eta_seconds: float | None
    started_at: str
    updated_at: str
    ended_at: str | None
    error: str | None
    cancel_requested_by: str | None


class AuditShape(Struct, frozen=True):
    """An entry of the audit stream."""

    version: int
    recorded_at: str
    who: str
    what: str
    why: str | None
    facts: dict[str, Any]
    digest: str


async def append(
    store: EventStore, stream: str, events: Sequence[NewEvent], *, expected: ExpectedVersion = Expected.ANY
) -> ReceiptShape:
    """Appends all events or none. With `strict_types` a type that this process does not know is refused."""
    if store.log.settings.strict_types:
        for event in events:
            _check_known(store, event)
    return wire.receipt(await store.append(stream, events, expected=expected))


async def schedule_event(
    store: EventStore, stream: str, event: NewEvent, *, at: str | None = None, after: str | None = None
) -> "ScheduledShape":
    """Appends an event later, checked now as `append` does."""
    if store.log.settings.strict_types:
        _check_known(store, event)
    from gateway.timers import schedule

    return await schedule(store, stream, event, at=at, after=after)


def _check_known(store: EventStore, event: NewEvent) -> None:
    known = store.log.types
    if isinstance(event.data, Untyped) and known.named(event.data.type) is None:
        raise InvalidEvent(
            f"event type {event.data.type} is not known here, and strict_types is on",
            field="type",
            remedy="--app MODULE that defines it, or EVENTSTORE_STRICT_TYPES=false"
            + known.did_you_mean(event.data.type),
        )


async def read_stream(
    store: EventStore,
    stream: str,
    *,
    from_version: int | None = None,
    backwards: bool = False,
    limit: int | None = None,
) -> AsyncIterator[RecordedEvent]:
    """The events of a stream up to the version it has now. Raises StreamNotFound if it has none."""
    if await store.version(stream) == 0:
        raise StreamNotFound(stream)
    async for event in store.read(stream, from_version=from_version, backwards=backwards, limit=limit):
        yield event


async def follow(store: EventStore, *, where: Filter | None, order: Order, since: int | None) -> Subscription:
    """Events as they come: from a moment on, or from now on."""
    cursor = await (store.heads() if since is None else store.position_at(since - 1))
    return store.subscribe(order=order, cursor=cursor, where=where)


async def import_events(
    store: EventStore,
    path: Path,
    *,
    name: str,
    who: str,
    why: str | None,
    stream: str | None,
    on_progress: OnProgress,
    stop_requested: Callable[[], bool],
) -> Imported:
    """The events of a file, each exactly once; a job. eventstore/transfer/files.py has the promise."""
    return await transfer.import_events(
        store,
        path,
        name=name,
        who=who,
        why=why,
        stream=stream,
        on_progress=on_progress,
        stop_requested=stop_requested,
    )


def export_events(
    store: EventStore, *, where: Filter | None, cloud_events: bool, on_progress: OnProgress
) -> AsyncIterator[bytes]:
    """Every event as a line of NDJSON, in total order."""
    return transfer.export_events(store, where=where, cloud_events=cloud_events, on_progress=on_progress)


async def list_jobs(store: EventStore, *, limit: int | None) -> list[JobShape]:
    return [_job_shape(job) for job in await jobs.list_jobs(store, limit=limit)]


async def show_job(store: EventStore, job_id: str) -> JobShape:
    """A job by its id, or by the beginning of it."""
    return _job_shape(await jobs.get_job(store, job_id))


async def cancel_job(store: EventStore, job_id: str, *, who: str, why: str | None) -> JobShape:
    """Asks a job to stop at its next safe point. A replay stops at once: its group is where it was."""
    job = await jobs.get_job(store, job_id)
    if job.kind != "replay":
        return _job_shape(await jobs.cancel(store, job_id, who, why))
    from consumers import replay

    return _job_shape((await replay.cancel(store, job.id, who=who, why=why)).job)


def _job_shape(job: Job) -> JobShape:
    return JobShape(
        id=job.id,
        kind=job.kind,
        state=job.state,
        who=job.who,
        why=job.why,
        done=job.done,
        total=job.total,
        rate=job.rate,
        eta_seconds=job.eta_seconds,
        started_at=rfc3339(job.started_at),
        updated_at=rfc3339(job.updated_at),
        ended_at=None if job.ended_at is None else rfc3339(job.ended_at),
        error=job.error,
        cancel_requested_by=job.cancel_requested_by,
    )


async def audit_entries(store: EventStore, *, limit: int | None) -> AsyncIterator[AuditShape]:
    """Who changed what and why, the newest first."""
    async for event in audit.entries(store, backwards=True, limit=limit):
        entry = event.data
        yield AuditShape(
            version=event.version,
            recorded_at=rfc3339(event.recorded_at),
            who=entry.who,
            what=entry.what,
            why=entry.why,
            facts=entry.facts,
            digest=entry.digest,
        )


async def check_log(store: EventStore, *, on_progress: OnProgress) -> list[Finding]:
    """What contradicts the invariants; nothing if all is well."""
    from consumers.verify import check_groups, check_sagas

    async def told(done: int, total: int) -> None:
        on_progress(done, total)

    return await verify(store.log, told, [*CHECKS, check_groups, check_sagas])


async def check_server(settings: Settings) -> list[Check]:
    """Whether the server is fit to keep a log, and for how long; also one that a start would refuse."""
    async with serve(settings) as redis:
        return [*await check(redis, settings), await check_growth(redis, settings)]
