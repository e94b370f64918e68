"""eventstore work"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.consuming import consume
from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.inputs import types_of
from gateway.cli.manners.interrupt import stopping_on_signals
from gateway.cli.manners.session import Session
from gateway.cli.names import group_names

if TYPE_CHECKING:
    from consumers import Resource
    from consumers.runnable import Runnable

NOTES = """\
Run as many as you like, on as many machines: they share out the partitions
of each group. Ctrl-C or SIGTERM lets running handlers finish for their
group's grace, and hands over; a second one does not wait. With -v it tells
which partitions come and go.

A handler that wants a resource gets the one of its type that the module
defines: pool = Resource(Pool, make_pool).

Example:

    eventstore work --app shop"""

app = App(name="work", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def work(
    *,
    app: str | None = None,
    group: Annotated[list[str] | None, Parameter(negative="", completer=group_names)] = None,
    read_models: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    flags: ServerFlags = SERVER,
) -> None:
    """Run the consumers, sagas and projections of a module until Ctrl-C.

    Parameters
    ----------
    app
        The module that defines them.
    group
        Only this group; may be repeated. A saga runs as a whole, and so does a projection.
    read_models
        Run the built-in read models too, as `up` does.
    """
    from consumers.runnable import checked
    from gateway.modules import read_models_of_system, summary_of, told

    session = Session(flags, server_checks_wanted=True)
    system = read_models_of_system() if read_models else ()
    consumers, resources = _of_module(app, group) if app is not None or not system else ([], [])
    chosen = [*consumers, *system]
    checked(chosen, resources)
    with stopping_on_signals() as stop:
        async with session.store(types_of(app)) as store:
            told_of = f"working for {', '.join(map(told, chosen))}"
            session.show(summary_of(chosen), told_of, "stop it with Ctrl-C")
            await consume(session, store, chosen, resources, stop)


def _of_module(app: str | None, groups: list[str] | None) -> "tuple[list[Runnable], list[Resource]]":
    from gateway.errors import BadRequest
    from gateway.modules import consumers_of

    if app is None:
        raise BadRequest("there is nothing to run", field="--app", remedy="--app MODULE, or --read-models")
    consumers, resources = consumers_of(app)
    return _chosen(app, consumers, groups), resources


def _chosen(app: str, consumers: "list[Runnable]", groups: list[str] | None) -> "list[Runnable]":
    """A saga is chosen by any of its groups, a projection by projection.NAME: they run as a whole."""
    from gateway.errors import BadRequest
    from gateway.modules import groups_of

    if not consumers:
        raise BadRequest(
            f"module {app} has no consumer, saga or projection",
            field="--app",
            remedy="name the module whose functions are decorated with @consumer(...), or that defines a Saga(...)",
        )
    names = {name for each in consumers for name in groups_of(each)}
    for group in groups or ():
        if group not in names:
            raise BadRequest(
                f"the module has no consumer {group}", field="--group", remedy=f"one of {', '.join(sorted(names))}"
            )
    return [each for each in consumers if groups is None or not set(groups).isdisjoint(groups_of(each))]
