"""eventstore export"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.interrupt import Interrupted, stopping_on_signals
from gateway.cli.manners.session import Session, counted
from gateway.cli.names import categories
from gateway.moments import parse_moment

NOTES = """\
One envelope a line, in total order, up to the heads at the start; the
system's own streams are left out. What it writes is what import reads. --out
writes beside the file and puts it into place when it is whole.

Example:

    eventstore export --category order --out orders.ndjson"""

app = App(name="export", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def export(
    *,
    out: Path | None = None,
    cloudevents: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    type: Annotated[list[str] | None, Parameter(name="--type", negative="")] = None,  # noqa: A002
    category: Annotated[list[str] | None, Parameter(negative="", completer=categories)] = None,
    correlation: str | None = None,
    since: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    until: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    flags: ServerFlags = SERVER,
) -> None:
    """Write all events as NDJSON.

    Parameters
    ----------
    out
        The file to write; else stdout.
    cloudevents
        As CloudEvents 1.0 instead of envelopes.
    type
        Only events of this type; may be repeated.
    category
        Only streams whose name begins so, up to the first hyphen; may be repeated.
    correlation
        Only events of this transaction.
    since
        From then on: RFC 3339, epoch microseconds, or -15m for 15 minutes ago.
    until
        Up to then.
    """
    from eventstore import Filter
    from gateway import actions

    session = Session(flags)
    first, last = (None if text is None else parse_moment(text, field=f) for text, f in _range(since, until))
    where = Filter(tuple(type or ()), tuple(category or ()), correlation, first, last)
    written = 0
    quiet = out is None and session.on_terminal
    with session.progress("exporting") as progress, stopping_on_signals() as stop, opened(out) as file:
        async with session.store(read_only=True) as store:
            lines = actions.export_events(
                store,
                where=None if where == Filter() else where,
                cloud_events=cloudevents,
                on_progress=(lambda done, total: None) if quiet else progress.show,
            )
            async for line in lines:
                file.write(line)
                written += 1
                if stop.requested:
                    raise Interrupted(_how_to_go_on(out, written))
    if out is not None:
        session.show({"file": str(out), "events": written}, f"{counted(written, 'event')} in {out}")
    else:
        session.note(counted(written, "event"))


def _range(since: str | None, until: str | None) -> tuple[tuple[str | None, str], ...]:
    return (since, "--since"), (until, "--until")


def _how_to_go_on(out: Path | None, written: int) -> str:
    if out is None:
        return f"{counted(written, 'event was', 'events were')} written; export begins anew each time"
    return f"{out} was not touched; export begins anew each time"


@contextmanager
def opened(out: Path | None) -> Iterator[IO[bytes]]:
    """Stdout, or a file that appears when it is whole."""
    from gateway.whole_file import whole_file

    if out is None:
        yield sys.stdout.buffer
        return
    with whole_file(out, field="--out") as file:
        yield file
