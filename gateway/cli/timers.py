"""eventstore timers"""

from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive, uuid_of
from gateway.cli.manners.session import Column, Session
from gateway.cli.names import stream_names

NOTES = """\
Without a verb it lists the events that wait for their time, the next first.
`publish --at` or `--after` schedules one; any worker fires it: `work`, `up`.

Example:

    eventstore timers"""

LIST_NOTES = """\
Example:

    eventstore timers list --stream order-42"""

CANCEL_NOTES = """\
Exit code 4 says that it does not wait: it has fired, or never was.

Example:

    eventstore timers cancel order-42 0199f2c4-7c1e-7d3a-9a55-0c6f1e2d3b4a"""

app = App(name="timers", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def timers(*, limit: int | None = None, flags: TimeFlags = TIMED) -> None:
    """List events that wait for their time.

    Parameters
    ----------
    limit
        At most so many.
    """
    await _print_list(Session(flags), None, limit)


@app.command(name="list", help_epilogue=LIST_NOTES, help_format="plaintext")
async def list_(
    *,
    stream: Annotated[str | None, Parameter(completer=stream_names)] = None,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List events that wait for their time, the next first.

    Parameters
    ----------
    stream
        Only those of this stream.
    limit
        At most so many.
    """
    await _print_list(Session(flags), stream, limit)


@app.command(help_epilogue=CANCEL_NOTES, help_format="plaintext")
async def cancel(
    stream: Annotated[str, Parameter(completer=stream_names)],
    id: str,  # noqa: A002 - the word of the interface
    /,
    *,
    reason: str | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """Take an event back that waits for its time.

    Parameters
    ----------
    stream
        The stream that it was to be appended to.
    id
        The id of the event.
    reason
        Why, for the audit stream.
    """
    from gateway import timers
    from gateway.who import who_am_i

    session, event_id = Session(flags), uuid_of(id, field="ID")
    async with session.store() as store:
        done = await timers.cancel_scheduled(store, stream, event_id, who=who_am_i(), why=reason)
    session.show(done, f"{done.id} is cancelled: {stream} does not get it")


async def _print_list(session: Session, stream: str | None, limit: int | None) -> None:
    from gateway import timers

    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        found = timers.list_scheduled(store, stream=stream, limit=most)
        if session.json:
            async for each in found:
                session.show_json(each)
            return
        is_empty = True
        with session.table(Column("DUE"), Column("STREAM", gives_way=True), Column("TYPE"), Column("ID")) as table:
            async for each in found:
                is_empty = False
                table.add(session.time(each.due_at), each.stream, each.type, each.id)
    if is_empty:
        session.note("nothing waits for its time: eventstore publish STREAM TYPE --after 15m")
