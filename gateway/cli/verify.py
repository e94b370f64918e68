"""eventstore verify"""

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session, counted

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
    from gateway import actions, groups

    session = Session(flags)
    checked = 0

    with session.progress("verifying") as progress:

        def told(done: int, total: int | None) -> None:
            nonlocal checked
            checked = done
            progress.show(done, total)

        async with session.store(read_only=True) as store:
            found = await actions.check_log(store, on_progress=told)
            number = await groups.count_groups(store)
    if session.json:
        session.show_json({"ok": not found, "events": checked, "groups": number, "findings": found})
        return int(bool(found))
    if not found:
        and_groups = f"; {counted(number, 'group')} in order" if number else ""
        print(f"ok    {counted(checked, 'event')}: each once, no gap, in order{and_groups}")
        return 0
    columns = (Column("STATE"), Column("INVARIANT", "right"), Column("PARTITION", "right"), Column("WHERE"))
    with session.table(*columns, Column("DETAIL")) as table:
        for each in found:
            partition = "-" if each.partition is None else each.partition
            table.add("FAIL", each.invariant, partition, each.where, each.detail)
    return 1
