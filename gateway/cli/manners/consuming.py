"""Consumers and scheduled events in a command that runs until Ctrl-C: what `work` and `up` have in common."""

from typing import TYPE_CHECKING

import anyio

from gateway.cli.manners.interrupt import Stop
from gateway.cli.manners.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers import Resource
    from consumers.runnable import Runnable
    from eventstore import EventStore


async def consume(
    session: Session,
    store: "EventStore",
    consumers: "Sequence[Runnable]",
    resources: "Sequence[Resource]",
    stop: Stop,
) -> None:
    """Until the user stops it: then running handlers get the grace of their group. Raises what `consumers.run` does."""
    from consumers import run
    from infrastructure.collector import spare_the_collector
    from infrastructure.tasks import plain_errors

    ending = anyio.Event()
    spare_the_collector()
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_pass_on, stop, ending, session)
            await run(store, consumers, resources=resources, stop=ending)
            tasks.cancel_scope.cancel()


async def keep_time(session: Session, store: "EventStore", stop: Stop) -> None:
    """Fires scheduled events until the user stops it, where no consumers run, which would do so."""
    from consumers.timers.timekeeper import keeping_time
    from infrastructure.errors import Unavailable

    try:
        async with keeping_time(store.log):
            await stop.wait()
    except Unavailable as error:
        if error.reason != "permission":
            raise
        session.write_stderr(f"warning: scheduled events wait for another worker: {error.detail}")


async def _pass_on(stop: Stop, ending: anyio.Event, session: Session) -> None:
    await stop.wait()
    session.note("stopping: running handlers may finish")
    ending.set()
