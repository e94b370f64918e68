"""Replays as the ways in offer them, in the JSON shapes of all three."""

from collections.abc import Sequence

from msgspec import Struct

from consumers import replay
from consumers.replay import PartMove, Replay, ReplayPlan, Request, StreamMove
from consumers.replay.targets import Target, parse_target
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from gateway.moments import parse_moment


class ReplayShape(Struct, frozen=True):
    """A replay, as far as it is: of `total` events `done` are handled again, or passed over; `left` not yet, and
    `waiting` neither, for an event before them failed in the replay and is parked. `moved` of the `partitions` that it
    concerns the group has been moved in."""

    id: str
    group: str
    mode: str
    to: str
    until: str | None
    types: tuple[str, ...]
    correlation_id: str | None
    rate_limit: float | None
    state: str
    who: str
    why: str | None
    done: int
    total: int
    left: int
    waiting: int
    rate: float | None
    eta_seconds: float | None
    started_at: str
    updated_at: str
    ended_at: str | None
    error: str | None
    cancel_requested_by: str | None
    moved: int
    partitions: tuple[PartMove, ...]
    streams: tuple[StreamMove, ...]


def replay_request(
    group: str,
    to: str,
    *,
    streams: Sequence[str] = (),
    until: str | None = None,
    types: Sequence[str] = (),
    correlation_id: str | None = None,
    rate: float | None = None,
) -> Request:
    """Raises InvalidRequest, BadRequest."""
    return Request(
        group,
        _target(to, "to"),
        tuple(streams),
        None if until is None else _target(until, "until"),
        tuple(types),
        correlation_id,
        rate,
    )


def _target(text: str, field: str) -> Target:
    return parse_target(text, field=field, moment=lambda given: parse_moment(given, field=field))


async def plan_replay(store: EventStore, request: Request) -> ReplayPlan:
    """What a replay would do now. Changes nothing."""
    return await replay.plan(store, request)


async def start_replay(
    store: EventStore, request: Request, *, who: str, why: str | None, plan: str | None = None, skip: bool = False
) -> ReplayShape:
    """Does it, if that is still what `plan` tells. Raises PlanChanged, ReplayRunning, WrongState."""
    return shape(await replay.execute(store, request, who=who, why=why, plan_id=plan, skip=skip))


async def resume_replay(store: EventStore, replay_id: str, *, who: str, why: str | None) -> ReplayShape:
    """Makes the moves that a crash has left unmade. Raises ReplayNotFound, WrongState."""
    return shape(await replay.resume(store, replay_id, who=who, why=why))


async def cancel_replay(store: EventStore, replay_id: str, *, who: str, why: str | None) -> ReplayShape:
    """Puts the group back where it was. Raises ReplayNotFound, WrongState."""
    return shape(await replay.cancel(store, replay_id, who=who, why=why))


async def list_replays(store: EventStore, group: str | None = None, *, limit: int | None) -> list[ReplayShape]:
    """The newest first."""
    return [shape(each) for each in await replay.list_replays(store, group, limit=limit)]


async def show_replay(store: EventStore, replay_id: str) -> ReplayShape:
    """By its id, or the beginning of it. Raises ReplayNotFound."""
    return shape(await replay.get_replay(store, replay_id))


def shape(found: Replay) -> ReplayShape:
    job, about = found.job, found.about
    is_running = job.ended_at is None and not found.is_over
    return ReplayShape(
        id=job.id,
        group=about.group,
        mode=about.mode,
        to=about.to,
        until=about.until,
        types=about.types,
        correlation_id=about.correlation_id,
        rate_limit=about.rate,
        state="done" if job.ended_at is None and found.is_over else job.state,
        who=job.who,
        why=job.why,
        done=found.done,
        total=found.total,
        left=found.open,
        waiting=found.waiting,
        rate=job.rate,
        eta_seconds=found.open / job.rate if is_running and job.rate else None,
        started_at=rfc3339(job.started_at),
        updated_at=rfc3339(job.updated_at),
        ended_at=None if job.ended_at is None else rfc3339(job.ended_at),
        error=job.error,
        cancel_requested_by=job.cancel_requested_by,
        moved=len(found.moved),
        partitions=about.partitions,
        streams=about.streams,
    )
