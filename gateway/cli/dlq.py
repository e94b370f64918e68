"""eventstore dlq"""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import SERVER, TIMED, ServerFlags, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.letter_actions import discard_named, named, refuse_selection, retry_named, select
from gateway.cli.manners.letter_tables import print_letter, print_letters, print_stats
from gateway.cli.manners.session import Session, count, counted
from gateway.cli.manners.which_letters import ALL_LETTERS, NO_SELECTION, SelectedLetters, WhichLetters
from gateway.cli.names import group_names, stream_names

NOTES = """\
A dead letter is an event that fails, after its last attempt: its stream waits
behind it, in that group alone, until you retry or discard it. Without a
STREAM it lists them, with one it shows it.

Example:

    eventstore dlq"""

SHOW_NOTES = """\
Why it fails, with the traceback, and the events of the stream from it on.

Example:

    eventstore dlq show charge-cards order-42"""

RETRY_NOTES = """\
Named letters are retried at once. A selection shows a plan first; --execute
runs it, as a job: the same command goes on with what is left if it is broken
off.

Examples:

    eventstore dlq retry charge-cards --error CardDeclined --rate 20 --execute
    eventstore dlq retry charge-cards order-42"""

DISCARD_NOTES = """\
The group never handles the event, and goes on behind it. The event stays in
the log. This cannot be undone: it asks, and needs a reason.

Examples:

    eventstore dlq discard --error KeyError --reason "a typo" --execute --yes
    eventstore dlq discard charge-cards order-42 --reason "a test order" --yes"""

EXPORT_NOTES = """\
Each line has the event's envelope and its failure, with the traceback.

Example:

    eventstore dlq export --out letters.ndjson"""

app = App(name="dlq", help_epilogue=NOTES, help_format="plaintext")
Group = Annotated[str | None, Parameter(completer=group_names)]
Stream = Annotated[str, Parameter(completer=stream_names)]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]


@app.default
async def dlq(
    group: Group = None,
    stream: Annotated[str | None, Parameter(completer=stream_names)] = None,
    /,
    *,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List dead letters, or show one.

    Parameters
    ----------
    group
        Only those of this group.
    stream
        The letter to show.
    limit
        At most so many letters, or events of the one that is shown.
    """
    if stream is not None or (group is not None and "/" in group):
        await show(group or "", stream, limit=limit, flags=flags)
    else:
        await list_(group, limit=limit, flags=flags)


@app.command(
    name="list",
    help_epilogue="Example:\n\n    eventstore dlq list --error CardDeclined --older-than 2h",
    help_format="plaintext",
)
async def list_(
    group: Group = None,
    /,
    *,
    which: WhichLetters = ALL_LETTERS,
    retrying: Switch = False,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List dead letters, by group and partition.

    Parameters
    ----------
    group
        Only those of this group.
    retrying
        Also the streams that wait for their next attempt.
    limit
        At most so many letters.
    """
    from gateway import letters

    session = Session(flags)
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        wanted = most + 1 if most is not None and limit is None else most
        found = letters.list_letters(store, group, which.where(), retrying=retrying, limit=wanted)
        shown, more = await print_letters(session, found, most)
    if more:
        session.note(f"{count(shown)} shown, there are more: --limit N, or eventstore dlq stats")
    if not shown and not session.json:
        session.note("no dead letters")


@app.command(help_epilogue=SHOW_NOTES, help_format="plaintext")
async def show(
    group: Annotated[str, Parameter(completer=group_names)],
    stream: Annotated[str | None, Parameter(completer=stream_names)] = None,
    /,
    *,
    from_version: Annotated[int | None, Parameter(name="--from")] = None,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """Show a dead letter: why it fails, and what waits behind it.

    Parameters
    ----------
    group
        The group, or GROUP/STREAM.
    stream
        The stream.
    from_version
        Show the events that wait from this version on.
    limit
        At most so many events, else 20.
    """
    from gateway import letters

    session = Session(flags)
    group, streams = named(group, () if stream is None else (stream,))
    most = positive(limit, field="--limit") or 20
    async with session.store(read_only=True) as store:
        found = await letters.show_letter(store, group, streams[0], from_version=from_version, limit=most)
    print_letter(session, found)


@app.command(help_epilogue="Example:\n\n    eventstore dlq stats", help_format="plaintext")
async def stats(group: Group = None, /, *, which: WhichLetters = ALL_LETTERS, flags: ServerFlags = SERVER) -> None:
    """Count dead letters by group, type and error.

    Parameters
    ----------
    group
        Only those of this group.
    """
    from gateway import letters

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await letters.letter_stats(store, group, which.where())
    print_stats(session, found)


@app.command(help_epilogue=EXPORT_NOTES, help_format="plaintext")
async def export(
    group: Group = None,
    /,
    *,
    which: WhichLetters = ALL_LETTERS,
    retrying: Switch = False,
    out: Path | None = None,
    flags: ServerFlags = SERVER,
) -> None:
    """Write dead letters as NDJSON: the events themselves, and why they fail.

    Parameters
    ----------
    group
        Only those of this group.
    retrying
        Also the streams that wait for their next attempt.
    out
        The file to write; else stdout.
    """
    from gateway import letters
    from gateway.cli.export import opened

    session = Session(flags)
    written = 0
    with opened(out) as file:
        async with session.store(read_only=True) as store:
            async for line in letters.export_letters(store, group, which.where(), retrying=retrying):
                file.write(line)
                written += 1
    if out is not None:
        session.show({"file": str(out), "letters": written}, f"{counted(written, 'letter')} in {out}")
    else:
        session.note(counted(written, "letter"))


@app.command(help_epilogue=RETRY_NOTES, help_format="plaintext")
async def retry(
    group: Group = None,
    /,
    *streams: Stream,
    which: SelectedLetters = NO_SELECTION,
    reason: str | None = None,
    flags: ServerFlags = SERVER,
) -> int:
    """Have dead letters handled again.

    Parameters
    ----------
    group
        The group, or GROUP/STREAM; of a selection: only letters of this group.
    streams
        The streams.
    reason
        Why, for the audit stream.
    """
    session = Session(flags)
    if streams or (group is not None and "/" in group):
        refuse_selection(which)
        return await retry_named(session, *named(group, streams), reason)
    return await select(session, "retry", group, which, reason, yes=True)


@app.command(help_epilogue=DISCARD_NOTES, help_format="plaintext")
async def discard(
    group: Group = None,
    /,
    *streams: Stream,
    which: SelectedLetters = NO_SELECTION,
    reason: str | None = None,
    yes: Switch = False,
    flags: ServerFlags = SERVER,
) -> int:
    """Have dead letters never handled, for a reason; what waits behind goes on.

    Parameters
    ----------
    group
        The group, or GROUP/STREAM; of a selection: only letters of this group.
    streams
        The streams.
    reason
        Why, for the audit stream.
    yes
        Do not ask.
    """
    session = Session(flags)
    if streams or (group is not None and "/" in group):
        refuse_selection(which)
        return await discard_named(session, *named(group, streams), reason, yes=yes)
    return await select(session, "discard", group, which, reason, yes=yes)
