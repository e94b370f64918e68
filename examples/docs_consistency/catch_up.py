"""Runs the consumers until they have come to the end of the log.

They could run all the time, and do under `eventstore work`. But a run that takes in a long history is sooner done when
they begin after it: they commit hundreds of events at once then, not three after each commit of the checkout.

Rows lie in a file, and how far they go in the log: in the offset of their group. The file may have less, if it was
deleted, is of another log, or if the machine went down before its last pages were on the disk. So before they begin,
the rows are compared with the log, and what they may lack up to the offset is folded into them again.
"""

from collections.abc import Mapping
from contextlib import suppress

import anyio

from consumers import GroupNotFound, Resource, run
from consumers.groups import GroupShape, describe_group
from eventstore import Cursor, EventStore, Filter, RecordedEvent
from examples.docs_consistency.checkout import Checkout
from examples.docs_consistency.checks import Outlines
from examples.docs_consistency.consumers import CONSUMERS, documents
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import ReadModelDamaged
from examples.docs_consistency.events import CATEGORY
from examples.docs_consistency.progress import Progress
from examples.docs_consistency.source import Source
from examples.docs_consistency.stop import Stop
from infrastructure.tasks import plain_errors

LEASE_SECONDS = 3.0
"""For so long a run waits for the partitions of one that was killed."""
LOOK_SECONDS = 0.1
_BATCH_EVENTS = 500


async def catch_up(store: EventStore, rows: Documents, source: Source | None, stop: Stop) -> None:
    """Returns when all that is in the log now is handled, by whatever process, or the user wants to stop. Raises
    ReadModelDamaged, ReadModelUnusable if the rows cannot be brought up to date. Without a source nothing is parsed."""
    shapes = await _shapes(store)
    heads = await store.heads()
    await _mend(store, rows, shapes.get(documents.name))
    if not _are_at(shapes, heads):
        await _run_up_to(store, heads, rows, source, stop)
        shapes = await _shapes(store)
    if documents.name in shapes:
        _must_be_whole(shapes[documents.name])
    if _are_at(shapes, heads):
        rows.remember("cursor", str(heads))


async def _run_up_to(store: EventStore, heads: Cursor, rows: Documents, source: Source | None, stop: Stop) -> None:
    ending = anyio.Event()
    async with Checkout.open(source) as checkout:
        resources = [Resource(Documents, rows), Resource(Checkout, checkout), Resource(Outlines, Outlines(rows))]
        with plain_errors():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_end_when_done, store, heads, rows, stop, ending)
                await run(store, CONSUMERS, resources=resources, stop=ending, lease_seconds=LEASE_SECONDS)


async def _end_when_done(store: EventStore, heads: Cursor, rows: Documents, stop: Stop, ending: anyio.Event) -> None:
    progress = Progress("reading the log", "events", _sum(heads))
    while not (stop.requested or _are_at(shapes := await _shapes(store), heads)):
        progress.advance(min((_passed(shape, heads) for shape in shapes.values()), default=0) - progress.done)
        if rows.failure is not None:
            raise rows.failure
        await anyio.sleep(LOOK_SECONDS)
    progress.close()
    ending.set()


async def _shapes(store: EventStore) -> dict[str, GroupShape]:
    """The groups that there are by now."""
    found = {}
    for each in CONSUMERS:
        with suppress(GroupNotFound):
            found[each.name] = await describe_group(store, each.name)
    return found


def _are_at(shapes: Mapping[str, GroupShape], heads: Cursor) -> bool:
    """Streams that left the main pass count until they have come to an end too, or wait for an operator."""
    if len(shapes) < len(CONSUMERS):
        return not _sum(heads)
    return all(
        _passed(shape, heads) == _sum(heads) and all(part.detached == part.parked for part in shape.partitions)
        for shape in shapes.values()
    )


def _passed(shape: GroupShape, heads: Cursor) -> int:
    """Of the events up to the heads, those up to the offsets."""
    return sum(min(part.offset, heads.places[part.partition][1]) for part in shape.partitions)


def _sum(cursor: Cursor) -> int:
    return sum(position for _, position in cursor.places)


def _must_be_whole(shape: GroupShape) -> None:
    if shape.parked:
        raise ReadModelDamaged(
            f"the read model could not take in all events of documents: {shape.parked} of them wait",
            remedy=f"eventstore dlq list {shape.group} says why",
        )


# ---- what the rows may lack ----


async def _mend(store: EventStore, rows: Documents, shape: GroupShape | None) -> None:
    """Folds into the rows what lies between the place where they were whole last and the offset of their group."""
    if not await _is_fold_of(store, rows):
        rows.forget()
    offsets = {part.partition: part.offset for part in shape.partitions} if shape else {}
    text = rows.fact("cursor")
    cursor = Cursor.parse(text) if text else Cursor.start(store.log.partitions)
    if all(position >= offsets.get(partition, 0) for partition, (_, position) in enumerate(cursor.places)):
        return
    batch: list[RecordedEvent] = []
    async for event in store.read_all(cursor=cursor, where=Filter(categories=(CATEGORY,))):
        if event.position <= offsets.get(event.partition, 0):
            batch.append(event)
        if len(batch) == _BATCH_EVENTS:
            rows.apply(batch)
            batch.clear()
    rows.apply(batch)


async def _is_fold_of(store: EventStore, rows: Documents) -> bool:
    """Whether the newest event of each partition that the rows know is in the log at its place. A log never changes
    below an event that it holds, so all before are there too."""
    text = rows.fact("cursor")
    if text is not None and len(Cursor.parse(text).places) != store.log.partitions:
        return False
    newest = {row.partition: row for row in sorted(rows.rows().values(), key=lambda row: row.position)}
    for row in newest.values():
        found = [e.id async for e in store.read_partition(row.partition, from_position=row.position, limit=1)]
        if found != [row.event_id]:
            return False
    return True
