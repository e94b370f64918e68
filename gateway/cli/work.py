"""eventstore work"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.consuming import consume
from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.interrupt import stopping_on_signals
from gateway.cli.manners.session import Session
from gateway.cli.names import group_names

if TYPE_CHECKING:
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
    app: str,
    group: Annotated[list[str] | None, Parameter(negative="", completer=group_names)] = None,
    flags: ServerFlags = SERVER,
) -> None:
    """Run the consumers and sagas of a module until Ctrl-C.

    Parameters
    ----------
    app
        The module that defines them.
    group
        Only this group; may be repeated. A saga runs as a whole.
    """
    from consumers.runnable import checked
    from gateway.modules import consumers_of, event_types_of, groups_of, told

    session = Session(flags, server_checks_wanted=True)
    consumers, resources = consumers_of(app)
    chosen = _chosen(app, consumers, group)
    checked(chosen, resources)
    with stopping_on_signals() as stop:
        async with session.store(event_types_of(app)) as store:
            groups = [name for each in chosen for name in groups_of(each)]
            session.show({"groups": groups}, f"working for {', '.join(map(told, chosen))}", "stop it with Ctrl-C")
            await consume(session, store, chosen, resources, stop)


def _chosen(app: str, consumers: "list[Runnable]", groups: list[str] | None) -> "list[Runnable]":
    """A saga is chosen by any of its groups: it runs as a whole."""
    from gateway.errors import BadRequest
    from gateway.modules import groups_of

    if not consumers:
        raise BadRequest(
            f"module {app} has no consumer",
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
