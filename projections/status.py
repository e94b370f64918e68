"""How read models stand: their generations, how far each of them is, who fills it and what of it fails."""

from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from consumers.dead_letters import LetterShape, list_letters
from consumers.errors import GroupNotFound
from consumers.groups import GroupShape, PausedShape, describe_group
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from projections.errors import ProjectionNotFound
from projections.generations import Generation
from projections.home import Home


class GenerationPartShape(Struct, frozen=True):
    """A generation in one partition: where its rows are, and how many events they have not come to."""

    partition: int
    position: int
    head: int
    lag: int
    detached: int


class GenerationShape(Struct, frozen=True):
    """One generation: `building`, `live` (it is read) or `kept` (one may go back to it). `lag` are the events that its
    rows have not come to, `behind_seconds` how long ago the first of them was recorded; `detached` streams wait for a
    retry or an operator. `diverged`: the log has lost events that are in its rows. `workers` fill it."""

    generation: int
    version: int
    state: str
    begun_at: str
    group: str
    diverged: bool
    lag: int
    behind_seconds: float
    detached: int
    paused: PausedShape | None
    workers: int
    partitions: tuple[GenerationPartShape, ...]
    letters: tuple[LetterShape, ...] = ()

    @property
    def done(self) -> int:
        return sum(each.position for each in self.partitions)

    @property
    def total(self) -> int:
        return sum(each.head for each in self.partitions)


class ProjectionShape(Struct, frozen=True):
    """A read model and its generations, the oldest first. `sink` says where the rows are, without a password."""

    name: str
    sink: str
    generations: tuple[GenerationShape, ...]

    @property
    def live(self) -> GenerationShape | None:
        return next((each for each in self.generations if each.state == "live"), None)


async def describe_projection(
    store: EventStore, home: Home, name: str, *, sink: str = "", letters: int = 0
) -> ProjectionShape:
    """With the first `letters` events that fail of each generation. Raises ProjectionNotFound, ReadModelUnavailable."""
    known = await home.generations(name)
    if not known:
        raise ProjectionNotFound(name)
    heads = await _heads(store)
    return ProjectionShape(name, sink, tuple([await _described(store, home, each, heads, letters) for each in known]))


async def describe_generation(store: EventStore, home: Home, name: str, number: int) -> GenerationShape:
    """Raises ProjectionNotFound, ReadModelUnavailable."""
    found = next((each for each in await home.generations(name) if each.number == number), None)
    if found is None:
        raise ProjectionNotFound(name, f"{name} has no generation {number}")
    return await _described(store, home, found, await _heads(store), letters=0)


async def _heads(store: EventStore) -> list[int]:
    return [position for _, position in (await store.heads()).places]


async def _described(
    store: EventStore, home: Home, generation: Generation, heads: Sequence[int], letters: int
) -> GenerationShape:
    reached = await home.reached(generation)
    group = await _group(store, generation.group)
    places = [reached.get(partition, (0, 0)) for partition in range(len(heads))]
    parts = tuple(
        GenerationPartShape(partition, place, head, max(head - place, 0), streams)
        for partition, (head, (place, streams)) in enumerate(zip(heads, places, strict=True))
    )
    lag = sum(each.lag for each in parts)
    return GenerationShape(
        generation=generation.number,
        version=generation.version,
        state=generation.state,
        begun_at=rfc3339(generation.begun_at),
        group=generation.group,
        diverged=generation.diverged,
        lag=lag,
        behind_seconds=group.behind_seconds if lag and group is not None else 0.0,
        detached=sum(each.detached for each in parts),
        paused=None if group is None else group.paused,
        workers=0 if group is None else len(group.members),
        partitions=parts,
        letters=await _letters(store, generation.group, letters) if letters and group is not None else (),
    )


async def _group(store: EventStore, name: str) -> GroupShape | None:
    """None while no worker has filled the generation yet."""
    try:
        return await describe_group(store, name)
    except GroupNotFound:
        return None


async def _letters(store: EventStore, group: str, most: int) -> tuple[LetterShape, ...]:
    with suppress(GroupNotFound):  # dropped just now
        return tuple([each async for each in list_letters(store, group, retrying=True, limit=most)])
    return ()
