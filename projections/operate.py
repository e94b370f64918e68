"""What operators do with read models: see them, rebuild, roll back, drop. By name alone: the functions are not needed.

Whatever is changed is an entry of the audit stream: who, what and why. The work is done by the workers that run the
projection; a rebuild is begun here, and seen by them within a second.
"""

from collections.abc import Sequence

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.groups import delete_group, pause_group, resume_group
from eventstore import audit
from eventstore.jobs import WrongState
from eventstore.store import EventStore
from projections.errors import ProjectionNotFound
from projections.generations import Generation
from projections.sinks.sql import SqlSink
from projections.threads import in_thread


class GenerationShape(Struct, frozen=True):
    """`behind` are the events that it has not come to; `detached` the streams that wait as dead letters or for a
    retry."""

    number: int
    version: int
    state: str
    begun_at: int
    diverged: bool
    group: str
    behind: int
    detached: int


class ProjectionShape(Struct, frozen=True):
    name: str
    generations: tuple[GenerationShape, ...]

    @property
    def live(self) -> GenerationShape | None:
        return next((each for each in self.generations if each.state == "live"), None)


async def list_projections(store: EventStore, sink: SqlSink) -> list[ProjectionShape]:
    """All that are kept in a database, by name. Raises ReadModelUnavailable."""
    return [await describe_projection(store, sink, name) for name in await in_thread(sink.names)]


async def describe_projection(store: EventStore, sink: SqlSink, name: str) -> ProjectionShape:
    """Raises ProjectionNotFound, ReadModelUnavailable."""
    heads = [position for _, position in (await store.heads()).places]
    shapes = []
    for each in await _known(sink, name):
        reached = await in_thread(sink.checkpoints, name, each.number)
        behind = sum(max(head - (reached[p].place[1] if p in reached else 0), 0) for p, head in enumerate(heads))
        detached = sum(len(checkpoint.detached) for checkpoint in reached.values())
        shapes.append(
            GenerationShape(
                each.number, each.version, each.state, each.begun_at, each.diverged, each.group, behind, detached
            )
        )
    return ProjectionShape(name, tuple(shapes))


async def rebuild(store: EventStore, sink: SqlSink, name: str, *, who: str, why: str | None = None) -> Generation:
    """Begins another generation of the version that is read. Workers fill it from the first event on, and have it read
    when it has caught up; the one before is kept. One that is being built already is given back. Raises
    ProjectionNotFound, ReadModelUnavailable."""
    known = await _known(sink, name)
    live = _live(name, known)
    begun = await in_thread(sink.begin, Generation(name, live.version, tables=live.tables), again=True)
    await _record(store, who, "projection-rebuild", why, name, begun.number)
    return begun


async def rollback(store: EventStore, sink: SqlSink, name: str, *, who: str, why: str | None = None) -> Generation:
    """Has the generation read that was read before, if it was kept. Raises WrongState, ProjectionNotFound,
    ReadModelUnavailable."""
    known = await _known(sink, name)
    live = _live(name, known)
    kept = [each for each in known if each.state == "kept" and each.number != live.number]
    if not kept:
        raise WrongState(f"{name} has no generation to go back to", field="projection", facts={"projection": name})
    await in_thread(sink.switch, name, kept[-1].number)
    await _record(store, who, "projection-rollback", why, name, kept[-1].number)
    return kept[-1]


async def drop(store: EventStore, sink: SqlSink, name: str, number: int, *, who: str, why: str | None = None) -> None:
    """Removes a generation that is not read, with its rows and its group; one that is being built is cancelled by it.
    Raises WrongState, ProjectionNotFound, ReadModelUnavailable."""
    known = await _known(sink, name)
    found = next((each for each in known if each.number == number), None)
    if found is None:
        raise ProjectionNotFound(name, f"{name} has no generation {number}")
    if found.state == "live":
        remedy = f"eventstore projections rebuild {name}, or rollback, and then drop this one"
        raise WrongState(f"generation {number} of {name} is read", field="generation", remedy=remedy)
    await in_thread(sink.drop, name, number)
    await _record(store, who, "projection-drop", why, name, number)
    try:
        await delete_group(store, found.group, who=who, why=why)
    except GroupNotFound:
        return


async def pause(store: EventStore, sink: SqlSink, name: str, *, who: str, why: str | None = None) -> None:
    """Its generations stand still until `resume`. Raises ProjectionNotFound, ReadModelUnavailable."""
    for each in await _known(sink, name):
        await pause_group(store, each.group, who=who, why=why)


async def resume(store: EventStore, sink: SqlSink, name: str, *, who: str, why: str | None = None) -> None:
    """Raises ProjectionNotFound, ReadModelUnavailable."""
    for each in await _known(sink, name):
        await resume_group(store, each.group, who=who, why=why)


async def _known(sink: SqlSink, name: str) -> Sequence[Generation]:
    known: Sequence[Generation] = await in_thread(sink.generations, name)
    if not known:
        raise ProjectionNotFound(name)
    return known


def _live(name: str, known: Sequence[Generation]) -> Generation:
    live = next((each for each in known if each.state == "live"), None)
    if live is None:
        raise WrongState(f"no generation of {name} is read yet", field="projection", remedy="wait for its worker")
    return live


async def _record(store: EventStore, who: str, what: str, why: str | None, name: str, number: int) -> None:
    await audit.record(store, who, what, why, {"projection": name, "generation": number})
