"""eventstore bench"""

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count

NOTES = """\
Some seconds of load on this server, under a prefix of its own that is removed
at the end, also after Ctrl-C. The ratio is to XADD in pipelines of redis-py,
in the same run. A quick look, not a benchmark: make bench in the source is
one.

Example:

    eventstore bench --events 2000"""

app = App(name="bench", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def bench(*, events: int = 20_000, flags: ServerFlags = SERVER) -> None:
    """Measure appends and reads on this server.

    Parameters
    ----------
    events
        How many events each measurement takes.
    """
    from gateway.self_test import measure

    session = Session(flags)
    wanted = positive(events, field="--events") or events
    session.configure_logs()
    rows = []
    with session.progress("measuring") as progress:
        async for row in measure(session.settings(), wanted):
            rows.append(row)
            progress.show(len(rows), 5)
    if session.json:
        for row in rows:
            session.show_json(row)
        return
    columns = (Column("WHAT"), Column("EVENTS/S", "right"), Column("RATIO", "right"), Column("MS EACH", "right"))
    with session.table(*columns) as table:
        for row in rows:
            table.add(row.what, count(round(row.events_per_second)), f"{row.ratio:.2f}", f"{row.milliseconds:.3f}")
