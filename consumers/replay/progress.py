"""How far a replay is, told by what is stored of its group, never by counting on the way. Changes nothing.

All its figures are those of the plan by which it began. What the group finishes between plan and move, the first event
of its own job for one, is handled again too, and not counted.
"""

from functools import partial

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.replay.look import Part, parts_of
from consumers.replay.request import About
from consumers.replay.rows import Left
from eventstore.job_state import Job
from eventstore.store import EventStore
from infrastructure.tasks import together


class Replay(Struct, frozen=True):
    """A replay as it is now: of `total` events `open` are not handled again yet, `waiting` ones neither, because an
    event before them failed in the replay. `moved` are the partitions in which the group has been moved."""

    job: Job
    about: About
    moved: tuple[int, ...]
    open: int
    waiting: int
    total: int
    is_over: bool

    @property
    def is_moved(self) -> bool:
        return len(self.moved) == len(self.about.concerned)

    @property
    def done(self) -> int:
        return self.total - self.open - self.waiting


async def look(store: EventStore, job: Job) -> Replay:
    """Raises Unavailable, LogDamaged."""
    about = About.of(job.about)
    if job.ended_at is not None:
        return _ended(job, about)
    try:
        parts = [part for part in await parts_of(store.log, about.group) if part.partition in about.concerned]
    except GroupNotFound:
        parts = []
    moved = [part for part in parts if part.scope is not None and part.scope.job == job.id]
    lefts: list[Left] = await together([partial(_left, store, about, part) for part in moved])
    there = tuple(part.partition for part in moved)
    unmoved = [each for each in about.concerned if each not in there]
    opened = sum(each.open for each in lefts) + sum(map(about.events_in, unmoved))
    waiting = min(sum(each.waiting for each in lefts), about.events)
    left = min(opened, about.events - waiting)
    return Replay(job, about, there, left, waiting, about.events, is_over=not unmoved and opened == 0)


async def _left(store: EventStore, about: About, part: Part) -> Left:
    until = None if part.scope is None else part.scope.until
    return Left(0, 0) if part.mute else await part.left(store.log, about.group, until)


def _ended(job: Job, about: About) -> Replay:
    total = job.total or 0
    left = total - job.done
    is_done = job.state == "done"
    return Replay(job, about, about.concerned, 0 if is_done else left, left if is_done else 0, total, is_over=True)
