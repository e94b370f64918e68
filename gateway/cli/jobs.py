"""eventstore jobs"""

from typing import TYPE_CHECKING

from cyclopts import App

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count
from gateway.moments import spell_duration

if TYPE_CHECKING:
    from gateway.actions import JobShape

NOTES = """\
Without an ID it lists jobs, the newest first. An ID may be shortened to its
beginning. A job that has said nothing for a minute shows as stalled: its
process is gone.

Example:

    eventstore jobs"""

CANCEL_NOTES = """\
It stops at its next safe point, within some seconds.

Example:

    eventstore jobs cancel 0199f2c4"""

app = App(name="jobs", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def jobs(id: str | None = None, /, *, limit: int | None = None, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """List jobs, or show one.

    Parameters
    ----------
    id
        The job to show.
    limit
        At most so many jobs.
    """
    from gateway import actions
    from gateway.errors import BadRequest

    session = Session(flags)
    if id is not None:
        if limit is not None:
            raise BadRequest("--limit has no effect on one job", field="--limit", remedy="leave it out")
        await show(id, flags=flags)
        return
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        found = await actions.list_jobs(store, limit=most)
    if session.json:
        for each in found:
            session.show_json(each)
        return
    titles = (Column("JOB"), Column("KIND"), Column("STATE"), Column("DONE", "right"), Column("STARTED"))
    with session.table(*titles, Column("WHO"), Column("WHY")) as table:
        for each in found:
            started = session.time(each.started_at)
            table.add(each.id[:8], each.kind, each.state, _done(each), started, each.who, each.why or "-")
    if not found:
        session.note("no jobs yet: an import is one, and so is a replay")


@app.command(help_epilogue="Example:\n\n    eventstore jobs show 0199f2c4", help_format="plaintext")
async def show(id: str, /, *, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Show one job.

    Parameters
    ----------
    id
        The job, or the beginning of its id.
    """
    from gateway import actions

    session = Session(flags)
    async with session.store(read_only=True) as store:
        job = await actions.show_job(store, id)
    _print(session, job)


@app.command(help_epilogue=CANCEL_NOTES, help_format="plaintext")
async def cancel(id: str, /, *, reason: str | None = None, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Ask a job to stop.

    Parameters
    ----------
    id
        The job, or the beginning of its id.
    reason
        Why, for the audit stream.
    """
    from gateway import actions
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        job = await actions.cancel_job(store, id, who=who_am_i(), why=reason)
    _print(session, job)


def _print(session: Session, job: "JobShape") -> None:
    if session.json:
        session.show_json(job)
        return
    rows = {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": _done(job),
        "rate": f"{job.rate:,.0f}/s" if job.rate else None,
        "eta": spell_duration(job.eta_seconds) if job.eta_seconds is not None else None,
        "who": job.who,
        "why": job.why,
        "started": session.time(job.started_at),
        "last heard of": session.time(job.updated_at),
        "ended": session.time(job.ended_at) if job.ended_at else None,
        "cancel asked by": job.cancel_requested_by,
        "error": job.error,
    }
    with session.table(Column("", "left"), Column("", "left"), header=False) as table:
        for name, value in rows.items():
            if value is not None:
                table.add(name, value)


def _done(job: "JobShape") -> str:
    return count(job.done) if job.total is None else f"{count(job.done)}/{count(job.total)}"
