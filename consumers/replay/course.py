"""A replay from its beginning to its end. It is a job that no process holds: whoever looks can tell how far it is.

    begin     the job is written, with all that is to be moved; of two at once one wins
    move      one move by force in each partition, by the command itself; what a crash leaves unmade `resume` makes
    go on     the members of the group handle, once more and in order, what they had finished
    settle    the member that has its first partition, or a command that looks: says how far it is, each second or so;
              cancels it if somebody has asked for that; ends it when nothing is left
    end       done; or cancelled: the group is where it was; or failed: nobody has made a move for a minute

What is left is told by what is stored of the group, never by counting on the way: lost acknowledgements, crashes and
takeovers change nothing. A replay is over when all is handled again but for what waits behind an event that failed
anew: that is listed with the dead letters, and no part of the job any more.
"""

from collections.abc import Sequence
from functools import partial

from consumers.errors import EventStoreError, PlanChanged, ReplayNotFound, ReplayRunning
from consumers.replay.by_stream import move_by_stream
from consumers.replay.cancel import put_back
from consumers.replay.in_place import move_in_place
from consumers.replay.plan import KIND, ReplayPlan, plan
from consumers.replay.progress import Replay, look
from consumers.replay.request import About, Request
from eventstore import audit, job_records, jobs
from eventstore.errors import JobNotFound, WrongExpectedVersion
from eventstore.job_state import Outcome
from eventstore.jobs import Job, WrongState
from eventstore.store import EventStore
from infrastructure.tasks import to_the_end, together

BEGIN_TRIES = 50


async def execute(
    store: EventStore,
    request: Request,
    *,
    who: str,
    why: str | None = None,
    plan_id: str | None = None,
    skip: bool = False,
) -> Replay:
    """Does what `plan` tells; with a plan's id only if that is still what would be done. Whoever had a lease of the
    group loses it and takes it again; workers need not stop. Returns when the group is moved; its workers do the rest.
    `skip` allows that events which were never handled are passed over for good.

    Raises what `plan` does; PlanChanged, ReplayRunning, WrongState (nothing to do, or a skip that is not allowed): then
    nothing was changed. Any other error names the replay whose rest `resume` moves."""
    drawn = await plan(store, request)
    if plan_id is not None and plan_id != drawn.plan:
        raise PlanChanged(plan_id, drawn.plan, request.group)
    _check(drawn, skip=skip)
    job = await _begin(store, drawn, who, why)
    asked = ("group", "mode", "to", "until", "types", "correlation_id", "rate", "events", "skipped")
    facts = {"replay": job.id, **{name: value for name in asked if (value := getattr(drawn, name))}}
    await audit.record(store, who, "replay", why, facts)
    return await to_the_end(partial(move_rest, store, job))


async def resume(store: EventStore, replay_id: str, *, who: str, why: str | None = None) -> Replay:
    """Makes the moves of a replay that a crash has left unmade. One that has them all stays as it is. Raises
    ReplayNotFound, WrongState if it has ended, Unavailable, LogDamaged."""
    replay = await settle(store, (await get_replay(store, replay_id)).job)
    if replay.job.ended_at is not None:
        raise WrongState(f"replay {replay.job.id} is {replay.job.state}", field="replay", facts={"job": replay.job.id})
    if replay.is_moved:
        return replay
    await audit.record(store, who, "replay-resume", why, {"replay": replay.job.id, "moved": list(replay.moved)})
    return await to_the_end(partial(move_rest, store, replay.job))


async def cancel(store: EventStore, replay_id: str, *, who: str, why: str | None = None) -> Replay:
    """Puts the group back where it was: what is left of the replay is passed over, finished stays finished, failed
    stays failed. Raises ReplayNotFound, WrongState if it has ended, Unavailable, LogDamaged; then the same call goes
    on."""
    job = (await get_replay(store, replay_id)).job
    return await to_the_end(partial(_put_back, store, await jobs.cancel(store, job.id, who, why)))


async def get_replay(store: EventStore, replay_id: str) -> Replay:
    """By its id, or the beginning of it. Raises ReplayNotFound, InvalidRequest if several begin so, Unavailable."""
    try:
        job = await jobs.get_job(store, replay_id)
    except JobNotFound as error:
        raise ReplayNotFound(replay_id) from error
    if job.kind != KIND:
        raise ReplayNotFound(replay_id)
    return await look(store, job)


async def list_replays(store: EventStore, group: str | None = None, *, limit: int | None = None) -> list[Replay]:
    """The newest first. Raises Unavailable, LogDamaged."""
    found: list[Replay] = []
    for job in await jobs.list_jobs(store):
        if job.kind == KIND and (group is None or About.of(job.about).group == group):
            if limit is not None and len(found) >= limit:
                break
            found.append(await look(store, job))
    return found


# ---- how it begins ----


def _check(drawn: ReplayPlan, *, skip: bool) -> None:
    if not drawn.about.concerned:
        raise WrongState(
            f"there is nothing to replay: {drawn.group} stands there, or has finished nothing behind {drawn.to}",
            field="to",
            remedy=f"eventstore groups {drawn.group} shows where it is",
            facts={"group": drawn.group, "to": drawn.to},
        )
    if drawn.skipped and not skip:
        raise WrongState(
            f"{drawn.skipped:,} events that {drawn.group} has not handled yet would be skipped for good",
            field="skip",
            remedy="go to a place that lies behind it in each partition, or allow it",
            facts={"group": drawn.group, "skipped": drawn.skipped},
        )


async def _begin(store: EventStore, drawn: ReplayPlan, who: str, why: str | None) -> Job:
    """The job, if no other replay of the group is under way."""
    for _ in range(BEGIN_TRIES):
        version = await _refuse_another(store, drawn.group)
        try:
            job_id = await job_records.begin(store, KIND, who, why, drawn.events, drawn.about.pack(), expected=version)
        except WrongExpectedVersion:  # another job has begun or ended: look again
            continue
        return await jobs.get_job(store, job_id)
    raise WrongState(
        f"other jobs have begun or ended {BEGIN_TRIES} times while this one was to begin",
        remedy="again, when less is going on: eventstore jobs",
    )


async def _refuse_another(store: EventStore, group: str) -> int:
    """The version of all jobs up to which there is no replay of the group that has not ended. One that is over by what
    is stored of the group is ended here."""
    while True:
        unended, version = await job_records.unended(store, KIND)
        ours = [job for job in unended if About.of(job.about).group == group]
        for job in ours:
            replay = await settle(store, job)
            if replay.job.ended_at is None:
                raise ReplayRunning(group, job.id, len(replay.moved), len(replay.about.concerned))
        if not ours:
            return version


# ---- how it is moved ----


async def move_rest(store: EventStore, job: Job) -> Replay:
    """Makes the moves that were not made yet. If somebody has cancelled it meanwhile, it is put back everywhere."""
    about = About.of(job.about)
    try:
        replay = await look(store, job)
        missing = [each for each in about.concerned if each not in replay.moved]
        await _move_all(store, about, job, missing)
    except EventStoreError as error:
        error.remedy = f"eventstore replays resume {job.id[:8]} moves the rest, eventstore replays cancel puts it back"
        error.facts = {**error.facts, "replay": job.id}
        raise
    job = await jobs.get_job(store, job.id)
    return await (settle(store, job) if job.cancel_requested_by is None else _put_back(store, job))


async def _move_all(store: EventStore, about: About, job: Job, partitions: Sequence[int]) -> None:
    move = move_by_stream if about.mode == "by-stream" else move_in_place
    await together([partial(move, store.log, about, job.id, each) for each in partitions])


# ---- how it goes on and ends ----


async def settle(store: EventStore, job: Job) -> Replay:
    """Looks how far it is, says so, and ends it when it is over. Whoever may write can do so, at any time, and several
    at once. Raises Unavailable, LogDamaged."""
    replay = await look(store, job)
    if job.ended_at is not None:
        return replay
    if job.cancel_requested_by is not None:
        return await _put_back(store, job)
    if replay.is_over:
        return await _end(store, replay, "done")
    if not replay.moved:
        is_abandoned = job.state == "stalled"
        return await _end(store, replay, "failed", "the group was not moved, or is gone") if is_abandoned else replay
    await job_records.note(store, job, replay.done, replay.total)
    return replay


async def _put_back(store: EventStore, job: Job) -> Replay:
    """One that is to be cancelled."""
    replay = await look(store, job)
    await together([partial(put_back, store.log, replay.about.group, job.id, each) for each in replay.moved])
    return await _end(store, replay, "cancelled")


async def _end(store: EventStore, replay: Replay, state: Outcome, error: str | None = None) -> Replay:
    if replay.job.ended_at is None:
        await job_records.finish(store, replay.job, state, replay.done, replay.total, error)
    return await look(store, await jobs.get_job(store, replay.job.id))
