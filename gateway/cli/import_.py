"""eventstore import"""

import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.inputs import no_option, types_of
from gateway.cli.manners.interrupt import Interrupted, stopping_on_signals
from gateway.cli.manners.session import Session, count, counted

if TYPE_CHECKING:
    from msgspec import Struct

NOTES = """\
The file has one event a line: envelopes as export writes them, or
CloudEvents. Each line is in the log exactly once when it ends: run it again
after whatever has stopped it, and it goes on. - reads stdin into a temporary
file first.

A line with a version wants exactly this version; a line without goes to the
end of its stream.

Example:

    eventstore import events.ndjson"""

app = App(name="import", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def import_(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    stream: str | None = None,
    app: str | None = None,
    reason: str | None = None,
    flags: ServerFlags = SERVER,
) -> None:
    """Append the events of a file, each exactly once.

    Parameters
    ----------
    file
        The file, or - for stdin.
    stream
        The stream of lines that name none.
    app
        A module whose event types the data are checked against.
    reason
        Why, for the audit stream.
    """
    no_option(file)
    session, types = Session(flags), types_of(app)
    if file == "-":
        with NamedTemporaryFile(prefix="eventstore-import-") as spool:
            while part := sys.stdin.buffer.read(1 << 20):
                spool.write(part)
            spool.flush()
            await _import(session, Path(spool.name), file, stream, reason, types)
    else:
        await _import(session, _readable(file), file, stream, reason, types)


def _readable(file: str) -> Path:
    from gateway.errors import BadRequest

    path = Path(file)
    if not path.is_file():
        why = "is not a file; - reads stdin" if path.exists() else "does not exist"
        raise BadRequest(f"{file} {why}", field="FILE", remedy="name a file that eventstore export has written")
    return path


async def _import(
    session: Session, path: Path, name: str, stream: str | None, reason: str | None, types: "list[type[Struct]]"
) -> None:
    from eventstore.jobs import JobCancelled
    from gateway import actions
    from gateway.who import who_am_i

    with session.progress("importing") as progress, stopping_on_signals() as stop:
        async with session.store(types) as store:
            try:
                done = await actions.import_events(
                    store,
                    path,
                    name="stdin" if name == "-" else name,
                    who=who_am_i(),
                    why=reason,
                    stream=stream,
                    on_progress=progress.show,
                    stop_requested=lambda: stop.requested,
                )
            except JobCancelled as cancelled:
                if not stop.requested:
                    raise
                raise Interrupted(f"{cancelled.detail}; go on with: eventstore import {name}") from None
    session.show(
        done,
        f"{counted(done.appended, 'event')} appended, {counted(done.already, 'was', 'were')} there already",
        f"  {count(done.lines)} lines, job {done.job}",
    )
