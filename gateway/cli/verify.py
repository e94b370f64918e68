"""eventstore verify"""

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session, count

NOTES = """\
Reads the whole log once, and what is stored of its consumer groups, and each
saga; writers and workers may go on beside it. Exit code 1: something is
wrong, and what is said of it.

Example:

    eventstore verify"""

app = App(name="verify", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def verify(*, flags: ServerFlags = SERVER) -> int:
    """Check the log and its groups against their invariants."""
    from gateway import actions

    session = Session(flags)
    checked = 0

    with session.progress("verifying") as progress:

        def told(done: int, total: int | None) -> None:
            nonlocal checked
            checked = done
            progress.show(done, total)

        async with session.store(read_only=True) as store:
            found = await actions.check_log(store, on_progress=told)
    if session.json:
        for each in found:
            session.show_json(each)
        return int(bool(found))
    if not found:
        print(f"ok    {count(checked)} events: each once, no gap, in order")
        return 0
    columns = (Column("STATE"), Column("INVARIANT", "right"), Column("PARTITION", "right"), Column("WHERE"))
    with session.table(*columns, Column("DETAIL")) as table:
        for each in found:
            partition = "-" if each.partition is None else each.partition
            table.add("FAIL", each.invariant, partition, each.where, each.detail)
    return 1
