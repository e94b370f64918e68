"""What is written of a job, and the job as the fold of it."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventstore.envelope import RecordedEvent
from eventstore.event_types import event

STALLED_SECONDS = 60.0
RECENT_SECONDS = 15.0
STARTED, PROGRESSED = "eventstore.JobStarted", "eventstore.JobProgressed"
CANCEL_REQUESTED, ENDED = "eventstore.JobCancelRequested", "eventstore.JobEnded"

State = Literal["running", "stalled", "done", "failed", "cancelled"]
Outcome = Literal["done", "failed", "cancelled"]
T = TypeVar("T", bound=Struct)


@event(name=STARTED)
class JobStarted(Struct, frozen=True):
    job: str
    kind: str
    who: str
    why: str | None
    total: int | None
    about: dict[str, Any] | None = None


@event(name=PROGRESSED)
class JobProgressed(Struct, frozen=True):
    done: int
    total: int | None


@event(name=CANCEL_REQUESTED)
class JobCancelRequested(Struct, frozen=True):
    who: str
    why: str | None


@event(name=ENDED)
class JobEnded(Struct, frozen=True):
    job: str
    state: Outcome
    done: int
    total: int | None
    error: str | None


class Job(Struct, frozen=True, kw_only=True):
    """A job as it was last heard of. Times are microseconds since 1970 on the server's clock; `total` is None where
    nobody knows it beforehand, `about` what its kind keeps of it."""

    id: str
    kind: str
    who: str
    why: str | None
    state: State
    done: int
    total: int | None
    started_at: int
    updated_at: int
    ended_at: int | None = None
    error: str | None = None
    cancel_requested_by: str | None = None
    about: dict[str, Any] | None = None
    recent_rate: float | None = None

    @property
    def rate(self) -> float | None:
        """Done per second: of late while it goes on, as far as that is known, else over all of its time. None before
        the first progress."""
        if self.ended_at is None and self.recent_rate:
            return self.recent_rate
        seconds = (self.updated_at - self.started_at) / 1e6
        return self.done / seconds if self.done and seconds > 0 else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at that rate, from the last progress on; None if it is not running or nobody knows."""
        if self.state != "running" or self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate


def fold(started: RecordedEvent, own: Sequence[RecordedEvent], ended: RecordedEvent | None, now: int) -> Job:
    """A job from its first event, the last events of its own stream in any order, and its end, as of a time."""
    begin = data_of(started, JobStarted)
    job = Job(
        id=begin.job,
        kind=begin.kind,
        who=begin.who,
        why=begin.why,
        state="running",
        done=0,
        total=begin.total,
        about=begin.about,
        started_at=started.recorded_at,
        updated_at=started.recorded_at,
    )
    marks: list[tuple[int, int]] = []
    for recorded in sorted(own, key=lambda each: each.version):
        if recorded.type == PROGRESSED:
            progress = data_of(recorded, JobProgressed)
            marks.append((recorded.recorded_at, progress.done))
            job = replace(job, done=progress.done, total=progress.total, updated_at=recorded.recorded_at)
        elif recorded.type == CANCEL_REQUESTED:
            job = replace(job, cancel_requested_by=data_of(recorded, JobCancelRequested).who)
    if ended is not None:
        end = data_of(ended, JobEnded)
        at = ended.recorded_at
        return replace(
            job, state=end.state, done=end.done, total=end.total, error=end.error, updated_at=at, ended_at=at
        )
    job = replace(job, recent_rate=_recent_rate(marks))
    stalled = now - job.updated_at > STALLED_SECONDS * 1e6
    return replace(job, state="stalled") if stalled else job


def _recent_rate(marks: Sequence[tuple[int, int]]) -> float | None:
    """Of what was done at which time, in order. How a job begins tells little of how it goes on: a replay may have
    waited for a worker, and workers for their leases."""
    if not marks:
        return None
    last, done = marks[-1]
    first, before = next(each for each in marks if each[0] >= last - RECENT_SECONDS * 1e6)
    return (done - before) / ((last - first) / 1e6) if last > first and done > before else None


def data_of(recorded: RecordedEvent, kind: type[T]) -> T:
    """A process that knows these types by this file only reads dicts."""
    return recorded.data if isinstance(recorded.data, kind) else msgspec.convert(recorded.data, kind)
