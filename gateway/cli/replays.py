"""eventstore replays"""

from typing import TYPE_CHECKING

from cyclopts import App

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count, counted
from gateway.moments import spell_duration

if TYPE_CHECKING:
    from gateway.replays import ReplayShape

NOTES = """\
Without an ID it lists replays, the newest first. An ID may be shortened to
its beginning.

Example:

    eventstore replays"""

CANCEL_NOTES = """\
What is left of it is passed over; what is finished stays finished, and what
has failed stays failed.

Example:

    eventstore replays cancel 0199f2c4"""

RESUME_NOTES = """\
For a replay whose command died before it had moved the group in each
partition.

Example:

    eventstore replays resume 0199f2c4"""

app = App(name="replays", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def replays(id: str | None = None, /, *, limit: int | None = None, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """List replays, or show one.

    Parameters
    ----------
    id
        The replay to show.
    limit
        At most so many replays.
    """
    from gateway import replays
    from gateway.errors import BadRequest

    session = Session(flags)
    if id is not None:
        if limit is not None:
            raise BadRequest("--limit has no effect on one replay", field="--limit", remedy="leave it out")
        await show(id, flags=flags)
        return
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        found = await replays.list_replays(store, limit=most)
    if session.json:
        for each in found:
            session.show_json(each)
        return
    wide = (Column("GROUP", gives_way=True), Column("TO", gives_way=True))
    titles = (Column("REPLAY"), *wide, Column("STATE"), Column("DONE", "right"))
    with session.table(*titles, Column("STARTED"), Column("WHO"), Column("WHY", below=True)) as table:
        for each in found:
            started = session.time(each.started_at)
            table.add(each.id[:8], each.group, each.to, each.state, _done(each), started, each.who, each.why or "-")
    if not found:
        session.note("no replays yet: eventstore replay GROUP --to T")


@app.command(help_epilogue="Example:\n\n    eventstore replays show 0199f2c4", help_format="plaintext")
async def show(id: str, /, *, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Show one replay: how far it is, and what it goes over.

    Parameters
    ----------
    id
        The replay, or the beginning of its id.
    """
    from gateway import replays

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await replays.show_replay(store, id)
    _print(session, found)


@app.command(help_epilogue=CANCEL_NOTES, help_format="plaintext")
async def cancel(id: str, /, *, reason: str | None = None, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Put the group back where it was.

    Parameters
    ----------
    id
        The replay, or the beginning of its id.
    reason
        Why, for the audit stream.
    """
    from gateway import replays
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        found = await replays.cancel_replay(store, id, who=who_am_i(), why=reason)
    left = f"{counted(found.left, 'event is', 'events are')} passed over"
    session.show(found, f"replay {found.id[:8]} is cancelled, {found.group} is where it was: {left}")


@app.command(help_epilogue=RESUME_NOTES, help_format="plaintext")
async def resume(id: str, /, *, reason: str | None = None, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Move the group where a replay has not moved it yet.

    Parameters
    ----------
    id
        The replay, or the beginning of its id.
    reason
        Why, for the audit stream.
    """
    from gateway import replays
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        found = await replays.resume_replay(store, id, who=who_am_i(), why=reason)
    session.show(found, f"replay {found.id[:8]} of {found.group}: {counted(found.left, 'event')} to handle again")


def _print(session: Session, found: "ReplayShape") -> None:
    if session.json:
        session.show_json(found)
        return
    concerned = len({p.partition for p in found.partitions} | {s.partition for s in found.streams})
    bounds = {
        "until": found.until,
        "types": ", ".join(found.types) or None,
        "correlation": found.correlation_id,
        "at most": f"{found.rate_limit:g}/s" if found.rate_limit is not None else None,
        "streams": count(len(found.streams)) if found.streams else None,
    }
    waiting = counted(found.waiting, "waits", "wait")
    rows = {
        "replay": found.id,
        "group": found.group,
        "to": f"{found.to} {'by stream' if found.streams else 'in place'}",
        **bounds,
        "state": found.state,
        "done": _done(found),
        "parked": f"{waiting}: eventstore dlq list {found.group}" if found.waiting else None,
        "rate": f"{found.rate:,.0f}/s" if found.rate else None,
        "eta": spell_duration(found.eta_seconds) if found.eta_seconds is not None else None,
        "moved": None if found.moved == concerned else f"{found.moved} of {concerned} partitions",
        "who": found.who,
        "why": found.why,
        "started": session.time(found.started_at),
        "last heard of": session.time(found.updated_at),
        "ended": session.time(found.ended_at) if found.ended_at else None,
        "cancelled by": found.cancel_requested_by,
        "error": found.error,
    }
    with session.table(Column("", "left"), Column("", "left"), header=False) as table:
        for name, value in rows.items():
            if value is not None:
                table.add(name, value)


def _done(found: "ReplayShape") -> str:
    return f"{count(found.done)}/{count(found.total)}"
