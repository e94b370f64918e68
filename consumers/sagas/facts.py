"""The facts of a saga: what its stream keeps, and all that there is of it.

Inputs are recorded as they come, from whoever brings them; decisions follow from them, most often in the same append:

    input     Started, EventReceived, TimerFired, StepSucceeded, StepFailed, CompensationDone, CompensationFailed,
              RetryRequested, SkipRequested, AbortRequested
    decision  all others

Names that begin with `saga.` are the system's. Times are microseconds since 1970, durations seconds.
"""

from typing import Any, Literal, get_args

from msgspec import Struct

from eventstore.envelope import RecordedEvent
from eventstore.errors import LogDamaged
from eventstore.event_types import EventTypes, event

PREFIX = "saga."


class Early(Struct, frozen=True):
    """The content of an event that cannot be decided on yet."""

    schema_version: int
    data: Any


class Reason(Struct, frozen=True):
    """Why an attempt has failed. `where` is the place in the user's code, as in `charge.py:31`."""

    type: str
    message: str
    where: str = ""
    traceback: str = ""


@event(name="saga.started")
class Started(Struct, frozen=True):
    """`saga_version` is that of the definition, which the saga keeps. `due` is its deadline."""

    saga_version: int
    data: Any
    due: int | None = None


@event(name="saga.event_received")
class EventReceived(Struct, frozen=True):
    """An event that was correlated to this saga; `cause` is its id. `early` is what it says, if that may be needed
    later."""

    cause: str
    type: str
    stream: str
    version: int
    early: Early | None = None


@event(name="saga.timer_fired")
class TimerFired(Struct, frozen=True):
    """`set_at` is the version of its `TimerSet`: one that was cancelled or set anew meanwhile is ignored."""

    name: str
    set_at: int


@event(name="saga.reacted")
class Reacted(Struct, frozen=True):
    """What an event or a timer came to: the fields of the data that it changed."""

    to: str
    changes: dict[str, Any]


@event(name="saga.kept")
class Kept(Struct, frozen=True):
    """An event that a later step waits for."""

    cause: str


@event(name="saga.ignored")
class Ignored(Struct, frozen=True):
    """An input that changes nothing, and why. `what` is the cause of an event, the name of a timer, or a request."""

    what: str
    why: str


@event(name="saga.step_started")
class StepStarted(Struct, frozen=True):
    """`waits` says that an event ends it, and no action."""

    step: str
    attempt: int
    waits: bool = False


@event(name="saga.step_succeeded")
class StepSucceeded(Struct, frozen=True):
    """`changes` are the fields of the data that the step has changed. `undo` says that it has a compensation."""

    step: str
    attempt: int
    changes: dict[str, Any]
    seconds: float
    undo: bool = False


@event(name="saga.step_failed")
class StepFailed(Struct, frozen=True):
    """`retry_at` is when the next attempt is made; None: the step has failed for good."""

    step: str
    attempt: int
    reason: Reason
    seconds: float
    retry_at: int | None = None


@event(name="saga.step_skipped")
class StepSkipped(Struct, frozen=True):
    step: str
    why: str


@event(name="saga.compensation_started")
class CompensationStarted(Struct, frozen=True):
    step: str
    attempt: int


@event(name="saga.compensation_done")
class CompensationDone(Struct, frozen=True):
    step: str
    attempt: int
    seconds: float


@event(name="saga.compensation_failed")
class CompensationFailed(Struct, frozen=True):
    """`retry_at` is when the next attempt is made; None: the saga is stuck."""

    step: str
    attempt: int
    reason: Reason
    seconds: float
    retry_at: int | None = None


@event(name="saga.compensation_skipped")
class CompensationSkipped(Struct, frozen=True):
    step: str
    why: str


@event(name="saga.timer_set")
class TimerSet(Struct, frozen=True):
    """Fires at `due`, as `TimerFired`, unless it is cancelled."""

    name: str
    due: int


@event(name="saga.timer_cancelled")
class TimerCancelled(Struct, frozen=True):
    """Of the timer that was set by the version `set_at`, for `due`."""

    name: str
    set_at: int
    due: int


@event(name="saga.sent")
class Sent(Struct, frozen=True):
    """An event that is on its way to a stream. `undo` is set if it takes back what the saga had done."""

    stream: str
    type: str
    schema_version: int
    data: Any
    undo: bool = False


@event(name="saga.undo_noted")
class UndoNoted(Struct, frozen=True):
    """An event that is sent if the saga is compensated."""

    stream: str
    type: str
    schema_version: int
    data: Any


@event(name="saga.compensating")
class Compensating(Struct, frozen=True):
    """The saga goes back: attempts under way end, nothing new is begun, then compensations run in reverse order."""

    why: str


@event(name="saga.forward")
class Forward(Struct, frozen=True):
    """The saga goes on: it was stuck and somebody asked for it, or it passed its pivot while it was to go back."""

    why: str
    to: Literal["running", "compensating"]


@event(name="saga.migrated")
class Migrated(Struct, frozen=True):
    """The saga goes on under another version of its definition."""

    saga_version: int
    data: Any


@event(name="saga.completed")
class Completed(Struct, frozen=True):
    pass


@event(name="saga.compensated")
class Compensated(Struct, frozen=True):
    why: str


@event(name="saga.stuck")
class Stuck(Struct, frozen=True):
    """Nothing goes on until an operator says how. `step` is the one that has failed for good."""

    step: str
    why: str


@event(name="saga.retry_requested")
class RetryRequested(Struct, frozen=True):
    who: str
    why: str | None = None


@event(name="saga.skip_requested")
class SkipRequested(Struct, frozen=True):
    step: str
    who: str
    why: str | None = None


@event(name="saga.abort_requested")
class AbortRequested(Struct, frozen=True):
    who: str
    why: str | None = None


Fact = (
    Started
    | EventReceived
    | TimerFired
    | Reacted
    | Kept
    | Ignored
    | StepStarted
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | CompensationStarted
    | CompensationDone
    | CompensationFailed
    | CompensationSkipped
    | TimerSet
    | TimerCancelled
    | Sent
    | UndoNoted
    | Compensating
    | Forward
    | Migrated
    | Completed
    | Compensated
    | Stuck
    | RetryRequested
    | SkipRequested
    | AbortRequested
)


def know_facts(types: EventTypes) -> None:
    """Facts are read as such then."""
    for struct in get_args(Fact):
        types.add_json(struct)


def fact_of(event: RecordedEvent) -> Fact:
    """What an event of a saga's stream holds. Raises LogDamaged for a stranger's."""
    if not isinstance(event.data, Fact):
        raise LogDamaged(
            f"version {event.version} of {event.stream} is no fact of a saga, but {event.type}",
            remedy="streams that begin with saga- are kept by sagas: append to another one",
        )
    return event.data
