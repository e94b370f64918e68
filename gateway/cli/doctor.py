"""eventstore doctor"""

import shutil
from textwrap import wrap
from typing import TYPE_CHECKING

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session
from gateway.cli.manners.table import GAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventstore.health import Check

NOTES = """\
FAIL: the start would be refused; WARN: it is allowed, and logged. Exit code 1
if anything is FAIL. Each fix is a command for the server, or what to do.

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
            fix = f"fix: {each.fix}" if each.fix else None
            if not session.on_terminal:
                table.add(each.status, each.name, "   ".join(filter(None, (each.detail, fix))))
                continue
            first, *more = (line for text in (each.detail, fix) if text for line in _lines(text, checks))
            table.add(each.status, each.name, first)
            for line in more:
                table.add("", "", line)
    return int(failed)


def _lines(text: str, checks: "Sequence[Check]") -> list[str]:
    """The text as it fits behind the other columns of a terminal."""
    behind = max(len(each.status) for each in checks) + max(len(each.name) for each in checks) + 2 * len(GAP)
    room = max(shutil.get_terminal_size().columns - behind, 20)
    return wrap(text, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
