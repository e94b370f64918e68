"""eventstore types"""

from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import PLAIN, Flags
from gateway.cli.manners.inputs import types_of
from gateway.cli.manners.session import Column, Session

NOTES = """\
The events of a module are its public Structs, by the name that @event gives
them or by that of their class.

Example:

    eventstore types --app examples.docs_consistency.events"""

app = App(name="types", help_epilogue=NOTES, help_format="plaintext")


@app.default
def types(*, app: Annotated[str, Parameter(name="--app")], flags: Flags = PLAIN) -> None:
    """List the event types of a module.

    Parameters
    ----------
    app
        The module, as in `import`.
    """
    from msgspec import Struct

    from eventstore.event_types import EventTypes

    class TypeShape(Struct, frozen=True):
        type: str
        schema_version: int
        upcasts_from: list[int]
        defined_as: str

    session = Session(flags)
    found = [
        TypeShape(
            each.name, each.version, sorted(each.upcasters), f"{each.struct.__module__}.{each.struct.__qualname__}"
        )
        for each in sorted(EventTypes(types_of(app)), key=lambda each: each.name)
    ]
    if session.json:
        for each in found:
            session.show_json(each)
        return
    columns = (Column("TYPE"), Column("SCHEMA VERSION", "right"), Column("UPCASTS FROM"), Column("DEFINED AS"))
    with session.table(*columns) as table:
        for each in found:
            table.add(each.type, each.schema_version, ", ".join(map(str, each.upcasts_from)) or "-", each.defined_as)
    if not found:
        session.note(f"{app} defines no event types: a class of msgspec.Struct is one")
