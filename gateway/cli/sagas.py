"""eventstore sagas"""

from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import PLAIN, SERVER, TIMED, Flags, ServerFlags, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.saga_actions import abort_named, retry_named, skip_named
from gateway.cli.manners.saga_tables import print_saga, print_sagas, print_stats
from gateway.cli.manners.session import Session, count
from gateway.cli.names import saga_names, saga_types

NOTES = """\
Without an ID it lists sagas, the newest first; with one it shows the saga. An
ID is the name of the saga's stream, such as saga-ingestion-42.

Example:

    eventstore sagas"""

LIST_NOTES = """\
STATUS is unstarted, running, compensating, stuck, completed or compensated.
Age counts from when a saga began, or has ended.

Example:

    eventstore sagas list --status stuck --older-than 2h"""

SHOW_NOTES = """\
Its steps with all attempts, events, timers and requests, in the order in
which they began. `eventstore read ID` prints each fact.

Example:

    eventstore sagas show saga-ingestion-42"""

RETRY_NOTES = """\
What the saga is stuck at gets all its attempts again; what waits for its next
attempt is tried at once.

Example:

    eventstore sagas retry saga-ingestion-42"""

SKIP_NOTES = """\
A saga that is stuck goes on behind the STEP, or compensation. This cannot be
undone: it asks, and needs a reason.

Example:

    eventstore sagas skip-step saga-ingestion-42 store --reason "by hand" --yes"""

ABORT_NOTES = """\
What it has done is compensated, the last step first; past its pivot a saga
only goes forward. This cannot be undone: it asks, and needs a reason.

Example:

    eventstore sagas abort saga-ingestion-42 --reason "a test order" --yes"""

GRAPH_NOTES = """\
Mermaid is what many viewers of Markdown draw. Nothing is asked of a server.

Example:

    eventstore sagas graph shop:ingestion"""

app = App(name="sagas", help_epilogue=NOTES, help_format="plaintext")
Id = Annotated[str, Parameter(completer=saga_names)]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]


@app.default
async def sagas(
    id: Annotated[str | None, Parameter(completer=saga_names)] = None,  # noqa: A002 - the word of the interface
    /,
    *,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List sagas, or show one.

    Parameters
    ----------
    id
        The saga to show.
    limit
        At most so many sagas.
    """
    from gateway.errors import BadRequest

    if id is None:
        await list_(limit=limit, flags=flags)
        return
    if limit is not None:
        raise BadRequest("--limit has no effect on one saga", field="--limit", remedy="leave it out")
    await show(id, flags=flags)


@app.command(name="list", help_epilogue=LIST_NOTES, help_format="plaintext")
async def list_(
    *,
    type: Annotated[str | None, Parameter(completer=saga_types, show_default=False)] = None,  # noqa: A002
    status: Annotated[str | None, Parameter(show_default=False)] = None,
    older_than: Annotated[str | None, Parameter(show_default=False)] = None,
    prefix: Annotated[str | None, Parameter(show_default=False)] = None,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List sagas, the newest first.

    Parameters
    ----------
    type
        Only sagas of this type.
    status
        Only those that are so.
    older_than
        Only those that began, or have ended, so long ago, such as 2h.
    prefix
        Only those whose name begins so.
    limit
        At most so many sagas.
    """
    from gateway import sagas

    session = Session(flags)
    which = sagas.which_sagas(type=type, status=status, older_than=older_than, prefix=prefix)
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        wanted = most + 1 if most is not None and limit is None else most
        shown, more = await print_sagas(session, sagas.list_sagas(store, which, limit=wanted), most)
    if more:
        session.note(f"{count(shown)} shown, there are more: --limit N, or eventstore sagas stats")
    if not shown and not session.json:
        session.note("no sagas, or none that a worker has seen: eventstore work --app MODULE runs them")


@app.command(help_epilogue=SHOW_NOTES, help_format="plaintext")
async def show(id: Id, /, *, flags: TimeFlags = TIMED) -> None:  # noqa: A002
    """Show a saga: its timeline, and where it is stuck.

    Parameters
    ----------
    id
        The saga.
    """
    from gateway import sagas

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await sagas.show_saga(store, id)
    print_saga(session, found)


@app.command(help_epilogue="Example:\n\n    eventstore sagas stats", help_format="plaintext")
async def stats(
    *,
    type: Annotated[str | None, Parameter(completer=saga_types, show_default=False)] = None,  # noqa: A002
    flags: ServerFlags = SERVER,
) -> None:
    """Count sagas by type and status.

    Parameters
    ----------
    type
        Only sagas of this type.
    """
    from gateway import sagas

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await sagas.saga_stats(store, type)
    print_stats(session, found)


@app.command(help_epilogue=RETRY_NOTES, help_format="plaintext")
async def retry(id: Id, /, *, reason: str | None = None, flags: ServerFlags = SERVER) -> None:  # noqa: A002
    """Have tried again what a saga is stuck at, or waits for.

    Parameters
    ----------
    id
        The saga.
    reason
        Why, for the saga and the audit stream.
    """
    await retry_named(Session(flags), id, reason)


@app.command(name="skip-step", help_epilogue=SKIP_NOTES, help_format="plaintext")
async def skip_step(
    id: Id,  # noqa: A002
    step: str | None = None,
    /,
    *,
    reason: str | None = None,
    yes: Switch = False,
    flags: ServerFlags = SERVER,
) -> int:
    """Have a saga go on without a step, or without a compensation.

    Parameters
    ----------
    id
        The saga.
    step
        The step; that at which the saga is stuck need not be named.
    reason
        Why, for the saga and the audit stream.
    yes
        Do not ask.
    """
    return await skip_named(Session(flags), id, step, reason, yes=yes)


@app.command(help_epilogue=ABORT_NOTES, help_format="plaintext")
async def abort(
    id: Id,  # noqa: A002
    /,
    *,
    reason: str | None = None,
    yes: Switch = False,
    flags: ServerFlags = SERVER,
) -> int:
    """Have a saga go back.

    Parameters
    ----------
    id
        The saga.
    reason
        Why, for the saga and the audit stream.
    yes
        Do not ask.
    """
    return await abort_named(Session(flags), id, reason, yes=yes)


@app.command(help_epilogue=GRAPH_NOTES, help_format="plaintext")
def graph(module: str, /, *, flags: Flags = PLAIN) -> None:
    """Draw the definition of a saga, as a Mermaid diagram.

    Parameters
    ----------
    module
        The module that defines it; MODULE:TYPE, if it defines several.
    """
    from consumers.sagas.draw import mermaid
    from gateway.modules import saga_of

    session, found = Session(flags), saga_of(module)
    drawn = mermaid(found)
    session.show({"type": found.name, "version": found.version, "mermaid": drawn}, drawn)
