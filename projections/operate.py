"""What operators do with read models: pause, rebuild, roll back, drop. By name alone: the functions are not needed.

Whatever is changed is an entry of the audit stream: who, what and why. The work is done by the workers that run the
projection; a rebuild is begun here, and seen by them within a second.
"""

from collections.abc import Sequence

import anyio
import structlog

from consumers.errors import GroupNotFound
from consumers.groups import delete_group, pause_group, resume_group
from eventstore import audit
from eventstore.jobs import WrongState
from eventstore.store import EventStore
from projections.errors import ProjectionNotFound
from projections.generations import Generation
from projections.home import Home

LEAVE_SECONDS, LOOK_SECONDS = 15.0, 0.2
BEHIND_AT_MOST = 1_000
"""Events, for a generation to be read again: both are filled at once, and neither is always ahead."""
logger = structlog.get_logger("projections")


async def rebuild(store: EventStore, home: Home, name: str, *, who: str, why: str | None = None) -> Generation:
    """Begins another generation of the version that is read. Workers fill it from the first event on, and have it read
    when it has caught up; the one before is kept. One that is being built already is given back. Raises
    ProjectionNotFound, ReadModelUnavailable."""
    known = await _known(home, name)
    live = _live(name, known)
    begun = await home.begin(Generation(name, live.version, tables=live.tables), again=True)
    await _record(store, who, "projection-rebuild", why, name, begun.number)
    return begun


async def rollback(store: EventStore, home: Home, name: str, *, who: str, why: str | None = None) -> Generation:
    """Has the generation read that was read before, if it was kept, and has come as far as the one that is read now.
    Raises WrongState, ProjectionNotFound, ReadModelUnavailable."""
    known = await _known(home, name)
    live = _live(name, known)
    kept = [each for each in known if each.state == "kept" and each.number != live.number]
    if not kept:
        raise WrongState(f"{name} has no generation to go back to", field="projection", facts={"projection": name})
    await _must_be_as_good(home, live, kept[-1])
    await home.switch(name, kept[-1].number)
    await _record(store, who, "projection-rollback", why, name, kept[-1].number)
    return kept[-1]


async def _must_be_as_good(home: Home, live: Generation, kept: Generation) -> None:
    """Or readers would be shown less than they have seen, and nobody would tell them."""
    facts = {"projection": kept.projection, "generation": kept.number}
    if kept.diverged:
        why = f"generation {kept.number} of {kept.projection} has events that the log has lost"
        remedy = f"eventstore projections rebuild {kept.projection}"
        raise WrongState(why, field="projection", remedy=remedy, facts=facts)
    ours, theirs = await home.reached(live), await home.reached(kept)
    behind = sum(max(ours[p][0] - theirs.get(p, (0, 0))[0], 0) for p in ours)
    if behind > BEHIND_AT_MOST:
        raise WrongState(
            f"generation {kept.number} of {kept.projection} is {behind:,} events behind the one that is read",
            field="projection",
            remedy=f"run workers of version {kept.version} until it has caught up, then roll back",
            facts=facts,
        )


async def drop(store: EventStore, home: Home, name: str, number: int, *, who: str, why: str | None = None) -> None:
    """Removes a generation that is not read, with its rows and its group; one that is being built is cancelled by it.
    Raises WrongState, ProjectionNotFound, ReadModelUnavailable."""
    known = await _known(home, name)
    found = next((each for each in known if each.number == number), None)
    if found is None:
        raise ProjectionNotFound(name, f"{name} has no generation {number}")
    if found.state == "live":
        remedy = f"eventstore projections rebuild {name}, or rollback, and then drop this one"
        raise WrongState(f"generation {number} of {name} is read", field="generation", remedy=remedy)
    await home.drop(name, number)
    await _record(store, who, "projection-drop", why, name, number)
    await _delete_group(store, found.group, who, why)


async def _delete_group(store: EventStore, group: str, who: str, why: str | None) -> None:
    """When its workers have left it, which they do when they see that the generation is gone; what remains of it after
    a while does no harm, and is told."""
    with anyio.move_on_after(LEAVE_SECONDS):
        while True:
            try:
                await delete_group(store, group, who=who, why=why)
            except GroupNotFound:
                return
            except WrongState:
                await anyio.sleep(LOOK_SECONDS)
            else:
                return
    logger.warning("group_left_behind", group=group, remedy=f"eventstore groups delete {group}")


async def pause(store: EventStore, home: Home, name: str, *, who: str, why: str | None = None) -> None:
    """Its generations stand still until `resume`. Raises ProjectionNotFound, ReadModelUnavailable."""
    for each in await _known(home, name):
        await pause_group(store, each.group, who=who, why=why)


async def resume(store: EventStore, home: Home, name: str, *, who: str, why: str | None = None) -> None:
    """Raises ProjectionNotFound, ReadModelUnavailable."""
    for each in await _known(home, name):
        await resume_group(store, each.group, who=who, why=why)


async def _known(home: Home, name: str) -> Sequence[Generation]:
    known = await home.generations(name)
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
