"""eventstore up"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import anyio
from cyclopts import App, Parameter

from gateway.cli.manners.consuming import consume, keep_time
from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.inputs import types_of
from gateway.cli.manners.interrupt import Stop, stopping_on_signals
from gateway.cli.manners.session import Session, count

if TYPE_CHECKING:
    from consumers import Resource
    from consumers.runnable import Runnable
    from eventstore import EventStore

NOTES = """\
Holds the server of the settings up, or starts one for .eventstore where none
is configured; other commands beside it use the same. Should the server die,
it is started again with its data. Events that were scheduled are appended when
they are due; what the module defines runs here too, as with `work`, which may
run beside it. Read models of the system itself are kept: see `projections`.
Ctrl-C or SIGTERM stops it: running handlers may finish for their group's
grace; the data stay.

Example:

    eventstore up --app shop"""

LOOK_SECONDS = 1.0

app = App(name="up", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def up(
    *,
    app: str | None = None,
    no_read_models: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    flags: ServerFlags = SERVER,
) -> None:
    """Hold the server up and run consumers until Ctrl-C.

    Parameters
    ----------
    app
        A module: its event types are checked, its consumers, sagas and projections run.
    no_read_models
        Do not keep the built-in read models: streams, correlations, sagas.
    """
    session, types = Session(flags, server_checks_wanted=True), types_of(app)
    system = [] if no_read_models else _system(session)
    consumers, resources = _consumers_of(app, system)
    with stopping_on_signals() as stop:
        async with _server(session) as url, session.store(types) as store:
            _tell(session, url, store, app, consumers, system)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_hold, session, store, stop)
                await _work(session, store, consumers, system, resources, stop)


def _tell(
    session: Session,
    url: str,
    store: "EventStore",
    app: str | None,
    consumers: "list[Runnable]",
    system: "list[Runnable]",
) -> None:
    from gateway.modules import summary_of, told

    types = sorted(each.name for each in store.log.types)
    lines = [f"eventstore is up at {url}"]
    if app is not None:
        lines.append(f"{count(len(types))} event types in {app}")
    if consumers:
        lines.append(f"working for {', '.join(map(told, consumers))}")
    if system:
        lines.append(f"keeping read models: {', '.join(each.name for each in system)}")
    shape = {"url": url, "partitions": store.log.partitions, "types": types, **summary_of([*consumers, *system])}
    session.show(shape, *lines, "stop it with Ctrl-C")


def _system(session: Session) -> "list[Runnable]":
    """The built-in read models; none, and a word about it, where what they need is not installed."""
    from gateway.errors import BadRequest
    from gateway.modules import read_models_of_system

    try:
        return [*read_models_of_system()]
    except BadRequest as error:
        session.note(f"no read models are kept: {error.remedy}; or --no-read-models")
        return []


def _consumers_of(module: str | None, system: "list[Runnable]") -> "tuple[list[Runnable], list[Resource]]":
    if module is None:
        return [], []
    from consumers.runnable import checked
    from gateway.modules import consumers_of

    consumers, resources = consumers_of(module)
    if consumers:
        checked([*consumers, *system], resources)
    return consumers, resources


async def _work(
    session: Session,
    store: "EventStore",
    consumers: "list[Runnable]",
    system: "list[Runnable]",
    resources: "list[Resource]",
    stop: Stop,
) -> None:
    """Until the user stops it. That a server's user may not have groups is no reason not to hold the server up."""
    from eventstore.errors import Unavailable

    if system:
        try:
            await consume(session, store, [*consumers, *system], resources, stop)
        except Unavailable as error:
            if error.reason != "permission":
                raise
            session.write_stderr(f"warning: no read models are kept: {error.detail}")
        else:
            return
    if consumers:
        await consume(session, store, consumers, resources, stop)
    else:
        await keep_time(session, store, stop)
        session.note("stopping")


@asynccontextmanager
async def _server(session: Session) -> AsyncIterator[str]:
    """Its address, fit to be shown; our own server is held by this block."""
    from infrastructure.embedded import embedded

    settings = session.settings()
    if settings.redis.configured:
        yield _address(session)
        return
    async with embedded(settings.eventstore.data_dir) as server:
        yield server.url


def _address(session: Session) -> str:
    values = {each.key: each.value for each in session.effective_settings()}
    if values["redis.url"]:
        return str(values["redis.url"])
    return str(values["redis.sentinels"] or f"{values['redis.host']}:{values['redis.port']}")


async def _hold(session: Session, store: "EventStore", stop: Stop) -> None:
    """Until the user stops it. A look each second finds a server that died, which starts our own one again."""
    from eventstore.errors import Unavailable

    key, away = store.log.keys.head(0), False
    while not stop.requested:
        try:
            await store.log.redis.execute(key, "PING")
        except Unavailable as error:
            if not away:
                session.write_stderr(f"warning: the server does not answer: {error.detail}")
            away = True
        else:
            if away:
                session.note("the server answers again")
            away = False
        with anyio.move_on_after(LOOK_SECONDS):
            await stop.wait()
