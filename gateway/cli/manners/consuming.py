"""A module's consumers in a command that runs until Ctrl-C: what `work` and `up` have in common."""

from typing import TYPE_CHECKING

import anyio

from gateway.cli.manners.interrupt import Stop
from gateway.cli.manners.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers import Consumer, Resource
    from eventstore import EventStore


async def consume(
    session: Session,
    store: "EventStore",
    consumers: "Sequence[Consumer]",
    resources: "Sequence[Resource]",
    stop: Stop,
) -> None:
    """Until the user stops it: then running handlers get the grace of their group. Raises what `consumers.run` does."""
    from consumers import run
    from infrastructure.tasks import plain_errors

    ending = anyio.Event()
    _spare_the_collector()
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_pass_on, stop, ending, session)
            await run(store, consumers, resources=resources, stop=ending)
            tasks.cancel_scope.cancel()


def _spare_the_collector() -> None:
    """What is loaded by now stays until the end, and windows of events are no garbage: looked through each time, they
    take a third of a worker's time."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _pass_on(stop: Stop, ending: anyio.Event, session: Session) -> None:
    await stop.wait()
    session.note("stopping: running handlers may finish")
    ending.set()
