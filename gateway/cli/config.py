"""eventstore config"""

from cyclopts import App

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session

NOTES = """\
An option goes before the environment, this before the file, this before the
default. Secrets are masked.

Example:

    eventstore config"""

app = App(name="config", help_epilogue=NOTES, help_format="plaintext")


@app.default
def config(*, flags: ServerFlags = SERVER) -> None:
    """Show every setting and where it comes from."""
    session = Session(flags)
    found = session.effective_settings()
    if session.json:
        for each in found:
            session.show_json(each)
        return
    with session.table(Column("SETTING"), Column("VALUE"), Column("SOURCE"), Column("ENVIRONMENT")) as table:
        for each in found:
            table.add(each.key, _shown(each.value), each.source, each.env)


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
