"""Sees a source through its saga: starts it, or finds the one that there is, and runs it until it has ended.

Its id is `<name>.<commit>`, so that the same command run again finds what it did. Where that is history, because it
was taken back, or because the documents have become those of another revision since, `.2` is begun, `.3`, and so on.
"""

import re
import time
from contextlib import suppress
from math import inf

import anyio

from consumers import Resource, SagaConflict, run, start
from consumers.groups import describe_group
from consumers.sagas.facts import Sent
from consumers.sagas.groups import react_group
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.state import State
from consumers.sagas.stored import Stored
from examples.docs_consistency.catch_up import LEASE_SECONDS
from examples.docs_consistency.errors import SourceError
from examples.docs_consistency.folder_source import PREFIX
from examples.docs_consistency.ingest import difference
from examples.docs_consistency.pipeline import Pipeline
from examples.docs_consistency.saga import DocConsistency, DocConsistencySaga
from examples.docs_consistency.source import Source, Tree
from infrastructure.tasks import plain_errors

LOOK_SECONDS = 0.05
FOLLOW_SECONDS = 10.0
"""Longer nobody waits for what others want to know."""
_SEEN = 20
_NO_NAME = re.compile(r"[^\w.-]+")


async def see_through(pipeline: Pipeline, source: Source) -> tuple[State, bool]:
    """The saga as it is when it has ended, is stuck, or the user wants to stop; and whether anything was done. The rows
    are up to date. Raises Unavailable, SourceError."""
    tree = await source.tree()
    pipeline.use(tree.id, source)
    sagas = Instances(Stored(pipeline.store), DocConsistencySaga)
    state = await _begun(pipeline, sagas, source, tree)
    if has_ended(state) or pipeline.stop.requested:
        return state, False
    works, ending = anyio.Event(), anyio.Event()
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_when_done, pipeline, sagas, state.stream, works, ending, tasks.cancel_scope)
            await _take_in_ahead(pipeline, source, state)
            works.set()
            resources = [Resource(Pipeline, pipeline)]
            await run(
                pipeline.store, [DocConsistencySaga], resources=resources, stop=ending, lease_seconds=LEASE_SECONDS
            )
            tasks.cancel_scope.cancel()
    return await sagas.load(state.stream), True


async def _take_in_ahead(pipeline: Pipeline, source: Source, state: State) -> None:
    """The step `ingest` will find it done. A worker that follows the log while a long history is appended, commit by
    commit, takes as long again for that."""
    if state.step("ingest").action.phase != "succeeded":
        pipeline.begin_with(pipeline.rows.rows())
        with suppress(SourceError):  # the step will meet it too, and tell
            await pipeline.take_in(source)


async def _begun(pipeline: Pipeline, sagas: Instances, source: Source, tree: Tree) -> State:
    name = _NO_NAME.sub("_", source.root.name) or "root"
    is_there = not difference(pipeline.rows.rows(), tree.files)
    number = 1
    while True:
        saga_id = f"{name}.{tree.id.removeprefix(PREFIX)[:12]}{f'.{number}' if number > 1 else ''}"
        state = await sagas.load(stream_of(DocConsistencySaga.name, saga_id))
        if state.status == "unstarted":
            heads = str(await pipeline.store.heads())
            data = DocConsistency(str(source.root), name, tree.id, before=heads, begun_at=time.time())
            with suppress(SagaConflict):  # another run was first
                await start(pipeline.store, DocConsistencySaga, saga_id, data, correlation_id=tree.id)
        elif _is_history(state, source, is_there=is_there):
            number += 1
        else:
            return state


def _is_history(state: State, source: Source, *, is_there: bool) -> bool:
    """Also what became of a source of the same name in another place."""
    is_passed = state.status == "completed" and not is_there
    return is_passed or state.status == "compensated" or state.input["source"] != str(source.root)


async def _end_when_done(
    pipeline: Pipeline,
    sagas: Instances,
    stream: str,
    works: anyio.Event,
    ending: anyio.Event,
    running: anyio.CancelScope,
) -> None:
    """Also the index of sagas is to know of the end, and others of what was sent."""
    late_at = inf
    while not pipeline.stop.requested:
        if works.is_set() and has_ended(await sagas.load(stream)):
            late_at = min(late_at, anyio.current_time() + FOLLOW_SECONDS)
            if anyio.current_time() > late_at or await _is_followed(pipeline, stream):
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
    """What it has sent has come, and its group has come to the end of the log."""
    facts = [event async for event in pipeline.store.read(stream)]
    last = next((fact for fact in reversed(facts) if isinstance(fact.data, Sent)), None)
    if last is not None:
        sent = pipeline.store.read(last.data.stream, backwards=True, limit=_SEEN)
        if str(last.id) not in [event.metadata.causation_id async for event in sent]:
            return False
    heads = await pipeline.store.heads()
    shape = await describe_group(pipeline.store, react_group(DocConsistencySaga.name))
    return all(part.offset >= heads.places[part.partition][1] for part in shape.partitions)
