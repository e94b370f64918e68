"""eventstore types"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import PLAIN, Flags
from gateway.cli.manners.inputs import no_option, read_file
from gateway.cli.manners.session import Column, Session, count

if TYPE_CHECKING:
    from gateway.type_catalogue import Checked

NOTES = """\
The events of a module are its public Structs, by the name that @event gives
them or by that of their class. --json adds its JSON Schema and class.

Example:

    eventstore types --app examples.docs_consistency.events"""

CHECK_NOTES = """\
FILE is what `types write` has written for the release whose events are
stored; - reads stdin. Exit code 1: something breaks, each with its remedy;
2: FILE is no catalogue. What is compatible is listed and ends with 0.

Example:

    git show v1.4:event-types.json | eventstore types check - --app shop.events"""

WRITE_NOTES = """\
Keep FILE under version control, and let CI run `types check`. A change that
breaks is not written.

Example:

    eventstore types write event-types.json --app shop.events"""

app = App(name="types", help_epilogue=NOTES, help_format="plaintext")
Module = Annotated[str, Parameter(name="--app")]


@app.default
def types(*, app: Module, flags: Flags = PLAIN) -> None:
    """List the event types of a module, or compare them with a file.

    Parameters
    ----------
    app
        The module, as in `import`.
    """
    from gateway.type_catalogue import type_shapes

    session = Session(flags)
    found = type_shapes(app)
    if session.json:
        for each in found:
            session.show_json(each)
        return
    columns = (Column("TYPE"), Column("VERSION", "right"), Column("UPCASTS FROM"), Column("FORMERLY"))
    with session.table(*columns, Column("FIELDS"), cut=True) as table:
        for each in found:
            older, former = ", ".join(map(str, each.upcasts_from)) or "-", ", ".join(each.formerly) or "-"
            fields = ", ".join(f"{name}: {kind}" for name, kind in each.fields.items()) or "-"
            table.add(each.type, each.schema_version, older, former, fields)
    if not found:
        session.note(f"{app} defines no event types: a class of msgspec.Struct is one")


@app.command(help_epilogue=CHECK_NOTES, help_format="plaintext")
def check(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    app: Module,
    exact: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    flags: Flags = PLAIN,
) -> int:
    """Find changes that would make stored events unreadable.

    Parameters
    ----------
    file
        The catalogue of the release whose events are stored, or - for stdin.
    app
        The module, as in `import`.
    exact
        Exit with 1 also when FILE is not what `types write` would write now.
    """
    from gateway.type_catalogue import check_types

    no_option(file)
    session = Session(flags)
    text = read_file(file, field="FILE", remedy=f"write it first: eventstore types write {file} --app {app}")
    done = check_types(text, "stdin" if file == "-" else file, app)
    _show(session, done)
    if not done.exact and not done.breaking and file != "-":
        session.note(f"{file} is not of this code: eventstore types write {file} --app {app}")
    if not done.breaking and not session.json:
        print(f"ok    {_types(done)}: what is stored stays readable")
    return int(done.breaking or (exact and not done.exact))


@app.command(help_epilogue=WRITE_NOTES, help_format="plaintext")
def write(
    file: str,
    /,
    *,
    app: Module,
    breaking: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    flags: Flags = PLAIN,
) -> int:
    """Write the catalogue that `types check` compares with.

    Parameters
    ----------
    file
        The file to write.
    app
        The module, as in `import`.
    breaking
        Write also what breaks: nothing that it would make unreadable was ever stored.
    """
    from pathlib import Path

    from gateway.type_catalogue import write_types

    no_option(file)
    session = Session(flags)
    done, written = write_types(Path(file), app, breaking=breaking)
    _show(session, done)
    if not written:
        session.note(f"{file} was not touched; --breaking writes it, if none of that was ever stored")
    elif not session.json:
        print(f"{_types(done)} in {file}")
    return int(not written)


def _show(session: Session, done: "Checked") -> None:
    if session.json:
        for each in done.changes:
            session.show_json(each)
        return
    for each in done.changes:
        where = f"{each.type}.{each.field}" if each.field else each.type
        print(f"{'FAIL' if each.breaking else 'note'}  {where}: {each.rule}: {each.detail}")
        if each.remedy:
            print(f"      hint: {each.remedy}")


def _types(done: "Checked") -> str:
    return f"{count(done.types)} {'type' if done.types == 1 else 'types'}"
