"""eventstore streams"""

from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count
from gateway.cli.names import categories

NOTES = """\
In order of name. A terminal shows 50 unless --limit says more. The system's
own streams, which begin with $, are left out. It looks at every key of the
log: some seconds for a million streams.

Example:

    eventstore streams --category order"""

app = App(name="streams", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def streams(
    *,
    category: Annotated[str | None, Parameter(completer=categories)] = None,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List streams: version, partition, last event.

    Parameters
    ----------
    category
        Only streams whose name begins so, up to the first hyphen.
    limit
        At most so many streams.
    """
    from gateway import actions

    session = Session(flags)
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        wanted = most + 1 if most is not None and limit is None else most
        found = await actions.streams(store, category=category, limit=wanted)
    if session.json:
        for each in found:
            session.show_json(each)
        return
    columns = (Column("VERSION", "right"), Column("PARTITION", "right"), Column("LAST EVENT"))
    with session.table(Column("STREAM", gives_way=True), *columns) as table:
        for each in found[:most]:
            table.add(each.stream, count(each.version), each.partition, session.time(each.last_recorded_at))
    if most is not None and len(found) > most:
        session.note(f"{count(most)} shown, there are more: --limit N")
    if not found:
        session.note("no streams yet: eventstore publish order-42 OrderPlaced '{\"total\": 99}'")
