"""The state of a saga: the fold of the facts in its stream. There is no other copy.

    status   unstarted -> running -> completed
                          running -> compensating -> compensated
                          running | compensating -> stuck -> (an operator) -> running | compensating

A step goes `running -> succeeded | retrying | failed`, or `waiting -> succeeded | failed` if an event ends it, or is
`skipped`; its compensation `running -> done | retrying | failed`, or is `skipped`. Facts are folded whether they make
sense or not: what is recorded has happened.
"""

from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from consumers.sagas import facts
from consumers.sagas.facts import EventReceived, Fact, Reason, TimerFired, UndoNoted, fact_of
from eventstore.envelope import RecordedEvent

Status = Literal["unstarted", "running", "compensating", "completed", "compensated", "stuck"]
STATUSES: tuple[Status, ...] = ("unstarted", "running", "compensating", "stuck", "completed", "compensated")
Phase = Literal["none", "running", "waiting", "retrying", "succeeded", "failed", "skipped"]
RETRY, UNDO, WAIT, DEADLINE = "$retry.", "$undo.", "$wait.", "$deadline"
"""Timers of the saga's own, before the name of a step; names of users' timers do not begin so."""


class Trial(Struct, frozen=True):
    """Where an action stands: a step's, or its compensation's. `retry_at` is 0 when the time has come."""

    phase: Phase = "none"
    attempt: int = 0
    started_at: int = 0
    ended_at: int = 0
    seconds: float = 0.0
    reason: Reason | None = None
    retry_at: int = 0
    why: str = ""
    """It was skipped."""


NEVER_TRIED = Trial()


class StepState(Struct, frozen=True):
    action: Trial = NEVER_TRIED
    undo: Trial = NEVER_TRIED


class Pending(Struct, frozen=True):
    """A timer that has not fired. `set_at` is the version of its fact."""

    set_at: int
    due: int


class Received(Struct, frozen=True):
    """An input that nothing follows from yet. `is_late`: of a timer that was cancelled, or set anew."""

    fact: EventReceived | TimerFired
    at: int
    is_late: bool = False


class State(Struct):
    """Of one saga, at `version` of its stream. `fold` changes it in place; `copy` is cheap."""

    stream: str
    version: int = 0
    epoch: int = 0
    """Of the newest fact: what is known from an earlier one may have been lost."""
    status: Status = "unstarted"
    saga_version: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    undo: tuple[str | UndoNoted, ...] = ()
    """What is to be taken back if it comes to that, the last one first."""
    timers: dict[str, Pending] = field(default_factory=dict)
    inbox: tuple[Received, ...] = ()
    kept: tuple[Received, ...] = ()
    """Events that later steps wait for."""
    causes: set[str] = field(default_factory=set)
    """The ids of all events that were ever brought to it."""
    input: Any = None
    """What it was started with."""
    due: int | None = None
    """Its deadline, until a timer is set for it."""
    started_at: int = 0
    ended_at: int = 0
    why: str = ""
    """It goes back, went back, or is stuck."""
    why_back: str = ""
    """It goes back, also while it is stuck on the way."""
    stuck_at: str = ""
    stuck_while: Literal["running", "compensating"] = "running"
    has_gone_back: bool = False
    """Something was taken back, or may have been."""
    abort: facts.AbortRequested | None = None
    retry: facts.RetryRequested | None = None
    skip: facts.SkipRequested | None = None
    correlation_id: str | None = None
    traceparent: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in ("completed", "compensated")

    @property
    def is_busy(self) -> bool:
        """Whether an action of a step is under way."""
        return any(step.action.phase == "running" for step in self.steps.values())

    def step(self, name: str) -> StepState:
        return self.steps.get(name, _NEW)

    def copy(self) -> "State":
        return replace(self, steps={**self.steps}, timers={**self.timers}, causes={*self.causes})

    def take(self, event: RecordedEvent) -> None:
        """Takes in the next event of its stream. Raises LogDamaged if it is no fact."""
        fact = fact_of(event)
        self.epoch = event.epoch
        self.correlation_id = self.correlation_id or event.metadata.correlation_id
        self.traceparent = self.traceparent or event.metadata.traceparent
        self.fold(fact, event.recorded_at)

    def fold(self, fact: Fact, at: int) -> None:
        """Takes in the fact of the next version, recorded `at`."""
        self.version += 1
        _FOLDS[type(fact)](self, fact, at)

    # ---- what the folds share ----

    def _act(self, step: str, **changes: Any) -> None:
        before = self.step(step)
        self.steps[step] = replace(before, action=replace(before.action, **changes))

    def _undo(self, step: str, **changes: Any) -> None:
        before = self.step(step)
        self.steps[step] = replace(before, undo=replace(before.undo, **changes))

    def _taken_back(self, what: object) -> None:
        """The newest of these, which a success that came late may have got above."""
        for place in reversed(range(len(self.undo))):
            if self.undo[place] == what:
                self.undo = (*self.undo[:place], *self.undo[place + 1 :])
                return

    def _decided(self, key: str) -> None:
        self.inbox = tuple(each for each in self.inbox if key_of(each.fact) != key)
        self.kept = tuple(each for each in self.kept if key_of(each.fact) != key)


_NEW = StepState()


def key_of(fact: EventReceived | TimerFired) -> str:
    """How decisions name an input."""
    return fact.cause if isinstance(fact, EventReceived) else f"{fact.name}@{fact.set_at}"


def _started(state: State, fact: facts.Started, at: int) -> None:
    state.status, state.saga_version, state.started_at = "running", fact.saga_version, at
    state.data, state.input, state.due = {**fact.data}, fact.data, fact.due


def _event_received(state: State, fact: EventReceived, at: int) -> None:
    state.causes.add(fact.cause)
    state.inbox = (*state.inbox, Received(fact, at))


def _timer_fired(state: State, fact: TimerFired, at: int) -> None:
    """Those of retries need no decision on their own: what was to come at this time may come. All others race with
    events, and wait for their turn."""
    pending = state.timers.get(fact.name)
    if pending is None or pending.set_at != fact.set_at:
        state.inbox = (*state.inbox, Received(fact, at, is_late=True))
        return
    del state.timers[fact.name]
    kind, _, step = fact.name.partition(".")
    if kind == "$retry":
        state._act(step, retry_at=0)
    elif kind == "$undo":
        state._undo(step, retry_at=0)
    else:
        state.inbox = (*state.inbox, Received(fact, at))


def _reacted(state: State, fact: facts.Reacted, at: int) -> None:
    state.data = {**state.data, **fact.changes}
    state._decided(fact.to)


def _kept(state: State, fact: facts.Kept, at: int) -> None:
    kept = tuple(each for each in state.inbox if key_of(each.fact) == fact.cause)
    state._decided(fact.cause)
    state.kept += kept


def _ignored(state: State, fact: facts.Ignored, at: int) -> None:
    match fact.what:
        case "abort":
            state.abort = None
        case "retry":
            state.retry = None
        case "skip":
            state.skip = None
        case key:
            state._decided(key)


def _step_started(state: State, fact: facts.StepStarted, at: int) -> None:
    phase: Phase = "waiting" if fact.waits else "running"
    state._act(fact.step, phase=phase, attempt=fact.attempt, started_at=at, ended_at=0, retry_at=0, reason=None)


def _step_succeeded(state: State, fact: facts.StepSucceeded, at: int) -> None:
    state.data = {**state.data, **fact.changes}
    state._act(fact.step, phase="succeeded", attempt=fact.attempt, ended_at=at, seconds=fact.seconds, reason=None)
    if fact.undo:
        state.undo = (*state.undo, fact.step)


def _failed(fact: facts.StepFailed | facts.CompensationFailed, at: int) -> dict[str, Any]:
    """Where an action stands whose attempt has failed."""
    return {
        "phase": "failed" if fact.retry_at is None else "retrying",
        "attempt": fact.attempt,
        "ended_at": at,
        "seconds": fact.seconds,
        "reason": fact.reason,
        "retry_at": fact.retry_at or 0,
    }


def _step_failed(state: State, fact: facts.StepFailed, at: int) -> None:
    state._act(fact.step, **_failed(fact, at))


def _step_skipped(state: State, fact: facts.StepSkipped, at: int) -> None:
    state._act(fact.step, phase="skipped", ended_at=at, why=fact.why)
    _skipped(state, fact.step)


def _compensation_started(state: State, fact: facts.CompensationStarted, at: int) -> None:
    state.has_gone_back = True
    state._undo(fact.step, phase="running", attempt=fact.attempt, started_at=at, ended_at=0, retry_at=0, reason=None)


def _compensation_done(state: State, fact: facts.CompensationDone, at: int) -> None:
    state._undo(fact.step, phase="succeeded", attempt=fact.attempt, ended_at=at, seconds=fact.seconds, reason=None)
    state._taken_back(fact.step)


def _compensation_failed(state: State, fact: facts.CompensationFailed, at: int) -> None:
    state._undo(fact.step, **_failed(fact, at))


def _compensation_skipped(state: State, fact: facts.CompensationSkipped, at: int) -> None:
    state._undo(fact.step, phase="skipped", ended_at=at, why=fact.why)
    state._taken_back(fact.step)
    _skipped(state, fact.step)


def _skipped(state: State, step: str) -> None:
    if state.skip is not None and state.skip.step == step:
        state.skip = None
    if state.stuck_at == step:
        state.stuck_at = ""


def _timer_set(state: State, fact: facts.TimerSet, at: int) -> None:
    state.timers[fact.name] = Pending(state.version, fact.due)
    if fact.name == DEADLINE:
        state.due = None


def _timer_cancelled(state: State, fact: facts.TimerCancelled, at: int) -> None:
    state.timers.pop(fact.name, None)
    kind, _, step = fact.name.partition(".")
    if kind == "$retry" and state.step(step).action.phase == "retrying":  # somebody wants it now
        state._act(step, retry_at=0)
    elif kind == "$undo" and state.step(step).undo.phase == "retrying":
        state._undo(step, retry_at=0)


def _sent(state: State, fact: facts.Sent, at: int) -> None:
    if fact.undo:
        state.has_gone_back = True
        state._taken_back(UndoNoted(fact.stream, fact.type, fact.schema_version, fact.data))


def _undo_noted(state: State, fact: UndoNoted, at: int) -> None:
    state.undo = (*state.undo, fact)


def _compensating(state: State, fact: facts.Compensating, at: int) -> None:
    state.status, state.why, state.why_back, state.ended_at = "compensating", fact.why, fact.why, 0
    state.abort = None


def _forward(state: State, fact: facts.Forward, at: int) -> None:
    """What was stuck begins anew, with all of its attempts. A pivot that was too late stays: now somebody knows."""
    if state.step(state.stuck_at).action.phase == "failed" and fact.to == "running":
        state._act(state.stuck_at, phase="retrying", attempt=0, retry_at=0)
    elif state.step(state.stuck_at).undo.phase == "failed" and fact.to == "compensating":
        state._undo(state.stuck_at, phase="retrying", attempt=0, retry_at=0)
    elif state.stuck_at and fact.to == "compensating" and state.step(state.stuck_at).undo.phase == "none":
        state._undo(state.stuck_at, phase="skipped", ended_at=at, why=fact.why)
    state.status, state.stuck_at, state.retry = fact.to, "", None
    state.why = state.why_back if fact.to == "compensating" else ""


def _migrated(state: State, fact: facts.Migrated, at: int) -> None:
    state.saga_version, state.data = fact.saga_version, {**fact.data}


def _completed(state: State, fact: facts.Completed, at: int) -> None:
    state.status, state.ended_at, state.why = "completed", at, ""


def _compensated(state: State, fact: facts.Compensated, at: int) -> None:
    state.status, state.ended_at = "compensated", at


def _stuck(state: State, fact: facts.Stuck, at: int) -> None:
    state.stuck_while = "compensating" if state.status == "compensating" else "running"
    state.status, state.stuck_at, state.why = "stuck", fact.step, fact.why


def _retry_requested(state: State, fact: facts.RetryRequested, at: int) -> None:
    state.retry = fact


def _skip_requested(state: State, fact: facts.SkipRequested, at: int) -> None:
    state.skip = fact


def _abort_requested(state: State, fact: facts.AbortRequested, at: int) -> None:
    state.abort = fact


_FOLDS: dict[type, Any] = {
    facts.Started: _started,
    facts.EventReceived: _event_received,
    facts.TimerFired: _timer_fired,
    facts.Reacted: _reacted,
    facts.Kept: _kept,
    facts.Ignored: _ignored,
    facts.StepStarted: _step_started,
    facts.StepSucceeded: _step_succeeded,
    facts.StepFailed: _step_failed,
    facts.StepSkipped: _step_skipped,
    facts.CompensationStarted: _compensation_started,
    facts.CompensationDone: _compensation_done,
    facts.CompensationFailed: _compensation_failed,
    facts.CompensationSkipped: _compensation_skipped,
    facts.TimerSet: _timer_set,
    facts.TimerCancelled: _timer_cancelled,
    facts.Sent: _sent,
    facts.UndoNoted: _undo_noted,
    facts.Compensating: _compensating,
    facts.Forward: _forward,
    facts.Migrated: _migrated,
    facts.Completed: _completed,
    facts.Compensated: _compensated,
    facts.Stuck: _stuck,
    facts.RetryRequested: _retry_requested,
    facts.SkipRequested: _skip_requested,
    facts.AbortRequested: _abort_requested,
}
