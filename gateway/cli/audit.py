"""eventstore audit"""

from cyclopts import App

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session

NOTES = """\
The newest first. Each entry holds the hash of the one before; eventstore
verify checks the chain.

Example:

    eventstore audit --limit 20"""

app = App(name="audit", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def audit(*, limit: int | None = None, flags: TimeFlags = TIMED) -> None:
    """List who changed what and why.

    Parameters
    ----------
    limit
        At most so many entries.
    """
    from eventstore import wire
    from gateway import actions

    session = Session(flags)
    most, shown = session.limit(positive(limit, field="--limit")), 0
    async with session.store(read_only=True) as store:
        entries = actions.audit_entries(store, limit=most)
        if session.json:
            async for entry in entries:
                session.show_json(entry)
            return
        with session.table(*map(Column, ("WHEN", "WHO", "WHAT", "WHY", "FACTS")), cut=True) as table:
            async for entry in entries:
                facts = wire.encode(entry.facts).decode()
                table.add(session.time(entry.recorded_at), entry.who, entry.what, entry.why or "-", facts)
                shown += 1
        if not shown:
            session.note("no entries yet: an import makes one")
