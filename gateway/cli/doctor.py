"""eventstore doctor"""

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session

NOTES = """\
FAIL: the start would be refused; WARN: it is allowed, and logged. Exit code 1 if anything is FAIL. Each fix is a
command for the server, or what to do.

Example:

    eventstore doctor"""

app = App(name="doctor", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def doctor(*, flags: ServerFlags = SERVER) -> int:
    """Check the server; exit 1 if anything fails."""
    from gateway import actions

    session = Session(flags)
    session.configure_logs()
    checks = await actions.check_server(session.settings())
    failed = any(each.status == "FAIL" for each in checks)
    if session.json:
        for each in checks:
            session.show_json(each)
        return int(failed)
    with session.table(*map(Column, ("STATE", "CHECK", "DETAIL")), header=False) as table:
        for each in checks:
            fix = f"   fix: {each.fix}" if each.fix else ""
            table.add(each.status, each.name, f"{each.detail}{fix}")
    return int(failed)
