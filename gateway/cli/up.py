"""eventstore up"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from cyclopts import App

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
they are due; consumers of the module run here too, as with `work`, which may
run beside it. Ctrl-C or SIGTERM stops it: running handlers may finish for their
group's grace; the data stay.

Example:

    eventstore up --app shop"""

LOOK_SECONDS = 1.0

app = App(name="up", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def up(*, app: str | None = None, flags: ServerFlags = SERVER) -> None:
    """Hold the server up and run consumers until Ctrl-C.

    Parameters
    ----------
    app
        A module: its event types are checked, its consumers run.
    """
    session, types = Session(flags, server_checks_wanted=True), types_of(app)
    consumers, resources = _consumers_of(app)
    with stopping_on_signals() as stop:
        async with _server(session) as url, session.store(types) as store:
            _tell(session, url, store, app, consumers)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_hold, session, store, stop)
                if consumers:
                    await consume(session, store, consumers, resources, stop)
                else:
                    await keep_time(session, store, stop)
            if not consumers:
                session.note("stopping")


def _tell(session: Session, url: str, store: "EventStore", app: str | None, consumers: "list[Runnable]") -> None:
    from gateway.modules import groups_of, told

    types = sorted(each.name for each in store.log.types)
    groups = [name for each in consumers for name in groups_of(each)]
    lines = [f"eventstore is up at {url}"]
    if app is not None:
        lines.append(f"{count(len(types))} event types in {app}")
    if groups:
        lines.append(f"working for {', '.join(map(told, consumers))}")
    shape = {"url": url, "partitions": store.log.partitions, "types": types, "groups": groups}
    session.show(shape, *lines, "stop it with Ctrl-C")


def _consumers_of(module: str | None) -> "tuple[list[Runnable], list[Resource]]":
    if module is None:
        return [], []
    from consumers.runnable import checked
    from gateway.modules import consumers_of

    consumers, resources = consumers_of(module)
    if consumers:
        checked(consumers, resources)
    return consumers, resources


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
