"""How sagas are shown: in a list, one with its timeline, and all of them in figures."""

from typing import Any, Literal

from msgspec import Struct

from consumers.letter_shape import LetterShape
from consumers.sagas.facts import Reason
from consumers.sagas.state import Phase, Status

Action = Literal["retry", "skip-step", "abort"]


class SagaRow(Struct, frozen=True):
    """A saga in a list; `id` is the name of its stream. One that is `unstarted` has but received events, the first at
    `received_at`. `started_at` is told of those that are under way, `ended_at` of those that have ended; `step` and
    `why` of those that are stuck."""

    id: str
    type: str
    status: Status
    received_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    step: str | None = None
    why: str | None = None


class TrialShape(Struct, frozen=True, kw_only=True):
    """The last attempt at a step, or at its compensation, and how many there were."""

    status: Phase
    attempts: int
    started_at: str | None
    ended_at: str | None
    seconds: float
    retry_at: str | None
    error: Reason | None
    why: str | None


class StepShape(TrialShape, frozen=True, kw_only=True):
    """A step that was begun. `compensation` is None as long as it is not to be taken back."""

    name: str
    compensation: TrialShape | None


class TimerShape(Struct, frozen=True):
    """A timer that has not fired. `what` says what it is for."""

    name: str
    due_at: str
    what: str


class InputShape(Struct, frozen=True):
    """An event or a timer from which nothing has followed yet; `kept` for a step that waits for it later."""

    what: str
    at: str
    kept: bool


class Moment(Struct, frozen=True):
    """A line of the timeline: a step with all attempts in a row, an event, a timer, an operator's request, or what
    became of the saga. It began `at`, by the version `version` of the stream, and took `seconds` if it has ended.
    `is_stuck`: the saga is stuck there now."""

    version: int
    at: str
    what: str
    status: str
    attempts: int | None = None
    seconds: float | None = None
    error: Reason | None = None
    why: str | None = None
    is_stuck: bool = False


class SagaShape(Struct, frozen=True):
    """A saga. `version` is that of its definition, `stream_version` that of its stream, which has this name. Steps are
    those that were begun. `undo` is taken back if it goes back, or as it does, in this order. `actions` can be asked
    for now, `asked` are those that nobody has carried out yet.

    `letter` is told if the worker cannot handle a fact of it: retrying, it comes to it later; parked, the saga is stuck
    until the dead letter is dealt with. `workers` run sagas of its type."""

    id: str
    type: str
    version: int | None
    status: Status
    step: str | None
    why: str | None
    correlation_id: str | None
    traceparent: str | None
    started_at: str | None
    ended_at: str | None
    seconds: float | None
    deadline_at: str | None
    input: Any
    data: dict[str, Any]
    steps: tuple[StepShape, ...]
    undo: tuple[str, ...]
    is_going_back: bool
    timers: tuple[TimerShape, ...]
    inputs: tuple[InputShape, ...]
    actions: tuple[Action, ...]
    asked: tuple[Action, ...]
    letter: LetterShape | None
    workers: int
    stream_version: int
    timeline: tuple[Moment, ...]


class SagaCounts(Struct, frozen=True, kw_only=True):
    """How many sagas there are; a saga whose stream is parked counts as stuck. `completion_rate` is the share of the
    completed among those that have ended. The oldest are counted from when they began."""

    unstarted: int
    running: int
    compensating: int
    stuck: int
    completed: int
    compensated: int
    completion_rate: float | None
    oldest_running_seconds: float | None
    oldest_stuck_seconds: float | None


class TypeCounts(SagaCounts, frozen=True, kw_only=True):
    """`unrouted`: how many events of a type were for no saga. So many `workers` run sagas of this type; the counts are
    those of `behind` events ago, the first of which was recorded `behind_seconds` ago."""

    unrouted: dict[str, int]
    workers: int
    behind: int
    behind_seconds: float


class SagaStats(SagaCounts, frozen=True, kw_only=True):
    """Of all types, and by type."""

    by_type: dict[str, TypeCounts]


class Answer(Struct, frozen=True):
    """What became of an operator's request. `done`: a worker has carried it out, and the saga is `status` now;
    `recorded`: it stands in the saga's stream and will be, `why` says when."""

    id: str
    action: Action
    outcome: Literal["done", "recorded"]
    status: Status
    step: str | None
    why: str | None
    workers: int
