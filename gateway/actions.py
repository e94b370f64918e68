"""What the command line, HTTP and the console offer: one function an operation, in the JSON shapes of all three."""

import getpass
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from consumers import groups, replay
from consumers.groups import GroupPartitionShape, GroupShape, MemberShape, PausedShape
from consumers.replay.plan import KIND as REPLAY
from consumers.start import Start
from consumers.verify import check_groups
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
from gateway.letters import (
    deal_with_letters,
    discard_letters,
    export_letters,
    letter_page,
    letter_stats,
    list_letters,
    plan_letters,
    retry_letters,
    show_letter,
)
from gateway.moments import parse_moment
from gateway.overview import LogShape, PartitionShape, StreamShape, describe_log, streams
from gateway.replays import (
    ReplayShape,
    cancel_replay,
    list_replays,
    plan_replay,
    replay_request,
    resume_replay,
    show_replay,
    start_replay,
)
from gateway.timers import CancelledShape, ScheduledShape, cancel_scheduled, list_scheduled, schedule
from infrastructure.server import serve
from infrastructure.settings import Settings

__all__ = [
    "AuditShape",
    "CancelledShape",
    "GroupPartitionShape",
    "GroupShape",
    "JobShape",
    "LogShape",
    "MemberShape",
    "PartitionShape",
    "PausedShape",
    "ReplayShape",
    "ScheduledShape",
    "StreamShape",
    "append",
    "audit_entries",
    "cancel_job",
    "cancel_replay",
    "cancel_scheduled",
    "check_log",
    "check_server",
    "create_group",
    "deal_with_letters",
    "delete_group",
    "describe_log",
    "discard_letters",
    "export_events",
    "export_letters",
    "follow",
    "import_events",
    "letter_page",
    "letter_stats",
    "list_groups",
    "list_jobs",
    "list_letters",
    "list_replays",
    "list_scheduled",
    "pause_group",
    "plan_letters",
    "plan_replay",
    "read_stream",
    "replay_request",
    "resume_group",
    "resume_replay",
    "retry_letters",
    "schedule_event",
    "show_group",
    "show_job",
    "show_letter",
    "show_replay",
    "start_replay",
    "streams",
    "who_am_i",
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
) -> ScheduledShape:
    """Appends an event later, checked now as `append` does."""
    if store.log.settings.strict_types:
        _check_known(store, event)
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
    if job.kind != REPLAY:
        return _job_shape(await jobs.cancel(store, job_id, who, why))
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


async def list_groups(store: EventStore, *, limit: int | None) -> list[GroupShape]:
    """The groups in order of their names."""
    return await groups.list_groups(store, limit=limit)


async def show_group(store: EventStore, group: str) -> GroupShape:
    """Members, leases, lag and failures of a group. Raises GroupNotFound."""
    return await groups.describe_group(store, group)


async def create_group(store: EventStore, group: str, *, start: str, who: str, why: str | None) -> GroupShape:
    """Makes a group that begins at `start`: earliest, latest, or a time. Raises WrongState if there is one."""
    match start:
        case "earliest" | "latest":
            begin = Start(start)
        case _:
            begin = Start(None, parse_moment(start, field="from"))
    return await groups.create_group(store, group, begin, who=who, why=why)


async def delete_group(store: EventStore, group: str, *, force: bool, who: str, why: str | None) -> GroupShape:
    """What it was. Raises GroupNotFound; WrongState if it has members, unless forced."""
    return await groups.delete_group(store, group, who=who, why=why, force=force)


async def pause_group(store: EventStore, group: str, *, who: str, why: str | None) -> GroupShape:
    """Nothing of it is handled until it is resumed. Raises GroupNotFound."""
    return await groups.pause_group(store, group, who=who, why=why)


async def resume_group(store: EventStore, group: str, *, who: str, why: str | None) -> GroupShape:
    """It goes on. Raises GroupNotFound."""
    return await groups.resume_group(store, group, who=who, why=why)


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

    async def told(done: int, total: int) -> None:
        on_progress(done, total)

    return await verify(store.log, told, [*CHECKS, check_groups])


async def check_server(settings: Settings) -> list[Check]:
    """Whether the server is fit to keep a log, and for how long; also one that a start would refuse."""
    async with serve(settings) as redis:
        return [*await check(redis, settings), await check_growth(redis, settings)]


def who_am_i() -> str:
    """The person at the command line, as jobs and the audit stream name them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"
