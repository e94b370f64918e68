"""Sees a source through its saga: starts it, or finds the one that there is, and runs it until it has ended.

Its id is `<name>.<commit>`, so that the same command run again finds what it did. Where that is history, because it
was taken back, or because the documents have become those of another revision since, `.2` is begun, `.3`, and so on.
"""

import re

import anyio

from consumers import Begun, Resource, SagaConflict, run, start
from consumers.groups import describe_group
from consumers.sagas.groups import react_group
from consumers.sagas.instances import Instances
from consumers.sagas.state import State
from consumers.sagas.stored import Stored
from examples.docs_consistency.catch_up import LEASE_SECONDS
from examples.docs_consistency.ingest import difference
from examples.docs_consistency.pipeline import Pipeline
from examples.docs_consistency.saga import DocConsistency, DocConsistencySaga
from examples.docs_consistency.source import Source, Tree
from infrastructure.tasks import plain_errors

LOOK_SECONDS = 0.02
_NO_NAME = re.compile(r"[^\w.-]+")


async def see_through(pipeline: Pipeline, source: Source) -> tuple[State, bool]:
    """The saga as it is when it has ended, is stuck, or the user wants to stop; and whether anything was done. The rows
    are up to date. Raises Unavailable, SourceError."""
    tree = await source.tree()
    pipeline.use(tree.id, source)
    begun = await _begin(pipeline, source, tree)
    sagas = Instances(Stored(pipeline.store), DocConsistencySaga)
    state = await sagas.load(begun.stream)
    if has_ended(state) or pipeline.stop.requested:
        return state, False
    ending = anyio.Event()
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_when_done, pipeline, sagas, begun.stream, ending, tasks.cancel_scope)
            resources = [Resource(Pipeline, pipeline)]
            await run(
                pipeline.store, [DocConsistencySaga], resources=resources, stop=ending, lease_seconds=LEASE_SECONDS
            )
            tasks.cancel_scope.cancel()
    return await sagas.load(begun.stream), True


async def _begin(pipeline: Pipeline, source: Source, tree: Tree) -> Begun:
    name = _NO_NAME.sub("_", source.root.name) or "root"
    data = DocConsistency(str(source.root), name, tree.id)
    is_there = not difference(pipeline.rows.rows(), tree.files)
    number = 1
    while True:
        saga_id = f"{name}.{tree.id.removeprefix('folder-')[:12]}{f'.{number}' if number > 1 else ''}"
        number += 1
        try:
            begun = await start(pipeline.store, DocConsistencySaga, saga_id, data, correlation_id=tree.id)
        except SagaConflict:  # of a source of the same name, in another place
            continue
        if (begun.status == "completed" and not is_there) or begun.status == "compensated":
            continue
        return begun


async def _end_when_done(
    pipeline: Pipeline, sagas: Instances, stream: str, ending: anyio.Event, running: anyio.CancelScope
) -> None:
    """Also the index of sagas is to know of the end, so the group has come to it then."""
    while not pipeline.stop.requested:
        if has_ended(await sagas.load(stream)) and await _is_followed(pipeline, stream):
            ending.set()
            return
        await anyio.sleep(LOOK_SECONDS)
    ending.set()
    await pipeline.rested.wait()
    running.cancel()


def has_ended(state: State) -> bool:
    """As far as it goes by itself: one that is stuck goes on if an operator has said how."""
    is_asked = state.retry is not None or state.skip is not None
    return state.is_final or (state.status == "stuck" and not is_asked)


async def _is_followed(pipeline: Pipeline, stream: str) -> bool:
    (last,) = [event async for event in pipeline.store.read(stream, backwards=True, limit=1)]
    shape = await describe_group(pipeline.store, react_group(DocConsistencySaga.name))
    return any(part.partition == last.partition and part.offset >= last.position for part in shape.partitions)
