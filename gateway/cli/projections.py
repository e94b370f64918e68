"""eventstore projections"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.confirm import confirmed
from gateway.cli.manners.flags import SERVER, TIMED, ServerFlags, TimeFlags
from gateway.cli.manners.projection_actions import build_file, opened, print_differences, rebuild_named
from gateway.cli.manners.projection_tables import print_projection, print_projections
from gateway.cli.manners.session import Session, count
from gateway.cli.manners.where_kept import SETTINGS, Kept
from gateway.cli.names import projection_names

NOTES = """\
Without a NAME it lists read models, with one it shows that. They are looked
for in the database of the settings, or of --database, and in Redis; --app also
finds those whose projections name a database of their own.

Example:

    eventstore projections"""

LIST_NOTES = """\
A line for each generation: live is the one that is read, building one that
catches up beside it, kept one that `rollback` goes back to. DETACHED streams
wait for a retry or an operator: eventstore dlq.

Example:

    eventstore projections list"""

REBUILD_NOTES = """\
Another generation is built beside the one that is read, from the first event
on, by the workers that run the projection. When it has caught up it is read,
in one transaction; the one before is kept until it is dropped.

Example:

    eventstore projections rebuild streams --wait"""

ROLLBACK_NOTES = """\
The generation that was read before is kept up to date, so that this takes no
longer than a transaction. `rollback` once more goes forward again.

Example:

    eventstore projections rollback streams --reason "wrong totals\""""

DROP_NOTES = """\
Its tables go, and its group with its dead letters; one that is being built is
cancelled by that. This cannot be undone, so it asks. The one that is read
stays: rebuild or roll back first.

Example:

    eventstore projections drop streams 1 --yes"""

AT_NOTES = """\
T is a time (2026-11-23T08:00Z), -15m, or a cursor. Of each partition all
events count that were recorded up to then. Nothing else is changed.

Example:

    eventstore projections at order-totals --app shop --as-of -1h --out then.db"""

DIFF_NOTES = """\
Both are built from the log, in files that are gone afterwards. With --json a
line for each row: table, change, key, before, after.

Example:

    eventstore projections diff order-totals --app shop --from -2h --to -1h"""

PAUSE_NOTES = "Example:\n\n    eventstore projections pause streams --reason maintenance"

app = App(name="projections", help_epilogue=NOTES, help_format="plaintext")
Name = Annotated[str, Parameter(completer=projection_names)]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
Moment = Annotated[str, Parameter(allow_leading_hyphen=True)]


@app.default
async def projections(
    name: Annotated[str | None, Parameter(completer=projection_names)] = None,
    /,
    *,
    kept: Kept = SETTINGS,
    flags: TimeFlags = TIMED,
) -> None:
    """List read models, or show one.

    Parameters
    ----------
    name
        The projection to show.
    """
    if name is None:
        await list_(kept=kept, flags=flags)
    else:
        await show(name, kept=kept, flags=flags)


@app.command(name="list", help_epilogue=LIST_NOTES, help_format="plaintext")
async def list_(*, kept: Kept = SETTINGS, flags: TimeFlags = TIMED) -> None:
    """List read models and their generations."""
    session = Session(flags)
    async with opened(session, kept, read_only=True) as models:
        print_projections(session, await models.all())


@app.command(help_epilogue="Example:\n\n    eventstore projections show streams", help_format="plaintext")
async def show(name: Name, /, *, kept: Kept = SETTINGS, flags: TimeFlags = TIMED) -> None:
    """Show a read model: its generations, lag in each partition, what fails.

    Parameters
    ----------
    name
        The projection.
    """
    session = Session(flags)
    async with opened(session, kept, read_only=True) as models:
        print_projection(session, await models.show(name))


@app.command(help_epilogue=PAUSE_NOTES, help_format="plaintext")
async def pause(
    name: Name,
    /,
    *,
    reason: str | None = None,
    kept: Kept = SETTINGS,
    flags: ServerFlags = SERVER,
) -> None:
    """Let a read model stand still until it is resumed.

    Parameters
    ----------
    name
        The projection.
    reason
        Why: shown while it is paused, and in the audit stream.
    """
    from gateway.who import who_am_i

    session = Session(flags)
    async with opened(session, kept) as models:
        done = await models.pause(name, who=who_am_i(), why=reason)
    session.show(done, f"{name} is paused; it goes on with: eventstore projections resume {name}")


@app.command(help_epilogue="Example:\n\n    eventstore projections resume streams", help_format="plaintext")
async def resume(
    name: Name,
    /,
    *,
    reason: str | None = None,
    kept: Kept = SETTINGS,
    flags: ServerFlags = SERVER,
) -> None:
    """Let a paused read model go on.

    Parameters
    ----------
    name
        The projection.
    reason
        Why, for the audit stream.
    """
    from gateway.who import who_am_i

    session = Session(flags)
    async with opened(session, kept) as models:
        done = await models.resume(name, who=who_am_i(), why=reason)
    behind = "" if done.live is None else f", {count(done.live.lag)} events behind"
    session.show(done, f"{name} goes on{behind}")


@app.command(help_epilogue=REBUILD_NOTES, help_format="plaintext")
async def rebuild(
    name: Name,
    /,
    *,
    wait: Switch = False,
    reason: str | None = None,
    kept: Kept = SETTINGS,
    flags: ServerFlags = SERVER,
) -> None:
    """Build a read model anew, beside the one that is read.

    Parameters
    ----------
    name
        The projection.
    wait
        Until it is read. Ctrl-C leaves the rebuild running.
    reason
        Why, for the audit stream.
    """
    session = Session(flags)
    async with opened(session, kept) as models:
        await rebuild_named(session, models, name, reason, wait=wait)


@app.command(help_epilogue=ROLLBACK_NOTES, help_format="plaintext")
async def rollback(
    name: Name,
    /,
    *,
    reason: str | None = None,
    kept: Kept = SETTINGS,
    flags: ServerFlags = SERVER,
) -> None:
    """Have the generation read that was read before.

    Parameters
    ----------
    name
        The projection.
    reason
        Why, for the audit stream.
    """
    from gateway.who import who_am_i

    session = Session(flags)
    async with opened(session, kept) as models:
        done = await models.rollback(name, who=who_am_i(), why=reason)
    number = done.live.generation if done.live else 0
    session.show(done, f"generation {number} of {name} is read now")


@app.command(help_epilogue=DROP_NOTES, help_format="plaintext")
async def drop(
    name: Name,
    generation: int,
    /,
    *,
    yes: Switch = False,
    reason: str | None = None,
    kept: Kept = SETTINGS,
    flags: ServerFlags = SERVER,
) -> int:
    """Remove a generation that is not read.

    Parameters
    ----------
    name
        The projection.
    generation
        Its number.
    yes
        Do not ask.
    reason
        Why, for the audit stream.
    """
    from gateway.who import who_am_i

    session = Session(flags)
    async with opened(session, kept) as models:
        found = await models.generation(name, generation)
        question = f"Drop generation {generation} of {name}? Its rows, of {count(found.done)} events, are gone."
        if not await confirmed(session, question, yes=yes):
            return 1
        done = await models.drop(name, generation, who=who_am_i(), why=reason)
    session.show(done, f"generation {generation} of {name} is dropped")
    return 0


@app.command(help_epilogue=AT_NOTES, help_format="plaintext")
async def at(name: Name, /, *, app: str, as_of: Moment, out: Path, flags: ServerFlags = SERVER) -> None:
    """Build a read model as it was, into a SQLite file.

    Parameters
    ----------
    name
        The projection.
    app
        The module that defines it.
    as_of
        When.
    out
        The file, which must not be there.
    """
    await build_file(Session(flags), name, app, as_of, out)


@app.command(help_epilogue=DIFF_NOTES, help_format="plaintext")
async def diff(
    name: Name,
    /,
    *,
    app: str,
    since: Annotated[str, Parameter(name="--from", allow_leading_hyphen=True)],
    to: Moment,
    flags: ServerFlags = SERVER,
) -> None:
    """Tell what became of a read model between two times.

    Parameters
    ----------
    name
        The projection.
    app
        The module that defines it.
    since
        The one: a time, -15m, or a cursor.
    to
        The other.
    """
    await print_differences(Session(flags), name, app, since, to)
