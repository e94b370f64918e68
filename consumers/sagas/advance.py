"""What follows from what a saga's stream holds: pure, and complete. Whoever appends an input to the stream appends this
behind it, at the version that it has loaded; so no two decisions are ever made on one state.

    advance(saga, state, at, types) -> the facts that follow, folded into the state

    an input is decided                        first come, first served: the first in the stream wins a race
    running:       the first unfinished stage  each of its steps is begun, tried again, or skipped; all done: completed
                   a step failed for good      compensating, or stuck if it only goes forward
    compensating:  attempts under way end, then what has succeeded is taken back, the last one first
    final:         pending timers are cancelled

Nothing here knows a clock: `at` is when the newest input was recorded.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from consumers.sagas import facts
from consumers.sagas.actions import as_builtins, changes_of
from consumers.sagas.facts import EventReceived, Fact, Reason, TimerFired, UndoNoted
from consumers.sagas.outputs import event_of, following
from consumers.sagas.saga import Saga
from consumers.sagas.state import DEADLINE, RETRY, UNDO, WAIT, Received, State, key_of
from consumers.sagas.steps import Step
from eventstore.event_types import EventTypes
from infrastructure.durations import format_duration

MOST_FACTS = 10_000


def advance(saga: Saga, state: State, at: int, types: EventTypes) -> list[Fact]:
    """All facts that follow. Raises what reactions and conditions raise: the state is good for nothing then."""
    done: list[Fact] = []
    while found := list(_next(saga, state, at, types)):
        for fact in found:
            state.fold(fact, at)
        done += found
        if len(done) > MOST_FACTS:
            raise RuntimeError(f"{saga!r} decides without end")
    return done


def data_of(saga: Saga, state: State) -> Any:
    """The data as the saga's Struct."""
    return msgspec.convert(state.data, saga.data)


def is_past_pivot(saga: Saga, state: State) -> bool:
    """Whether it only goes forward: its pivot has succeeded, or a step behind it was begun."""
    if passed_pivot(saga, state) is not None:
        return True
    return any(each.kind == "retriable" and state.step(each.name).action.started_at for each in saga.steps)


def passed_pivot(saga: Saga, state: State) -> Step | None:
    """The pivot, if it has succeeded."""
    pivots = (each for each in saga.steps if each.kind == "pivot")
    return next((each for each in pivots if state.step(each.name).action.phase == "succeeded"), None)


def _next(saga: Saga, state: State, at: int, types: EventTypes) -> Iterable[Fact]:
    if state.saga_version not in (0, saga.version) and not state.is_final:
        changed = saga.migrations[state.saga_version](dict(state.data))
        return [facts.Migrated(saga.version, as_builtins(msgspec.convert(changed, saga.data)))]
    match state.status:
        case "unstarted":
            return _begun(saga, state, types)
        case "stuck":
            return _freed(state)
        case "running" if state.abort is not None or not state.inbox:  # or nothing would end what cannot be decided
            return _on(saga, state, at, types)
        case "compensating" if not state.inbox or _may_turn(saga, state):
            return _back(saga, state, at)
        case "running" | "compensating":
            return _decided(saga, state, state.inbox[0], types)
    return _ended(saga, state)


# ---- inputs ----


def _begun(saga: Saga, state: State, types: EventTypes) -> Iterable[Fact]:
    """The first event that begins a saga; what came before it is decided on then."""
    for received in state.inbox:
        if isinstance(received.fact, EventReceived):
            reaction = saga.reaction(received.fact.type)
            if reaction is not None and reaction.starts:
                first, *others = following(reaction, saga, None, received, state, types)
                data = first.changes if isinstance(first, facts.Reacted) else {}
                started = facts.Started(saga.version, data, due_of(saga, received.at))
                return [started, facts.Reacted(received.fact.cause, {}), *others]
    return ()


def due_of(saga: Saga, at: int) -> int | None:
    """When a saga that is started now is over its time."""
    seconds = saga.deadline_seconds
    return None if seconds is None else at + round(seconds * 1_000_000)


def _decided(saga: Saga, state: State, received: Received, types: EventTypes) -> Iterable[Fact]:
    fact, key = received.fact, key_of(received.fact)
    if received.is_late:
        return [facts.Ignored(key, "the timer was cancelled")]
    if state.status != "running":
        return [facts.Ignored(key, f"the saga is {state.status}")]
    if isinstance(fact, TimerFired) and fact.name.startswith("$"):
        return _over_time(saga, state, fact)
    event_type = fact.type if isinstance(fact, EventReceived) else f"timer {fact.name}"
    reaction = saga.reaction(event_type)
    if reaction is not None and reaction.starts:
        return [facts.Ignored(key, "the saga has started")]
    if reaction is not None:
        return following(reaction, saga, data_of(saga, state), received, state, types)
    phases = [state.step(each.name).action.phase for each in saga.steps if _waits_for(each, event_type)]
    if not phases:
        return [facts.Ignored(key, "nothing of this version takes it")]
    if any(phase in ("none", "waiting") for phase in phases):
        return [facts.Kept(key)]
    return [facts.Ignored(key, "nothing waits for it any more")]


def _over_time(saga: Saga, state: State, fired: TimerFired) -> Iterable[Fact]:
    """Of the saga, or of a step that waits."""
    key, name = key_of(fired), fired.name.removeprefix(WAIT)
    now, step = state.step(name).action, saga.find(name)
    if fired.name == DEADLINE and is_past_pivot(saga, state):
        return [facts.Ignored(key, "it is past its pivot")]
    if fired.name == DEADLINE:
        limit = format_duration(saga.deadline_seconds or 0.0)
        return [facts.Reacted(key, {}), facts.Compensating(f"it took longer than {limit}")]
    if now.phase != "waiting" or step is None or _answer(state, step):
        return [facts.Ignored(key, f"step {name} does not wait any more")]
    seconds = step.timeout_seconds or 0.0
    reason = Reason("TimeoutError", f"no event came within {format_duration(seconds)}")
    return [facts.Reacted(key, {}), facts.StepFailed(name, now.attempt, reason, seconds)]


def _waits_for(step: Step, event_type: str) -> bool:
    return step.wait is not None and step.wait.event.name == event_type


# ---- going on ----


def _on(saga: Saga, state: State, at: int, types: EventTypes) -> Iterable[Fact]:
    asked = _asked(saga, state)
    if asked:
        return asked
    if state.due is not None:
        return [facts.TimerSet(DEADLINE, state.due)]
    for stage in saga.stages:
        if all(state.step(each.name).action.phase in ("succeeded", "skipped") for each in stage):
            continue
        failed = [each for each in stage if state.step(each.name).action.phase == "failed"]
        return [fact for each in failed[:1] or stage for fact in _stepped(saga, state, each, at, types)]
    return [facts.Completed()] if saga.stages else ()


def _asked(saga: Saga, state: State) -> list[Fact]:
    """What an operator wants."""
    if state.retry is not None:
        return _hurried(state, state.retry, RETRY, "running")
    if state.skip is not None:
        return _skipped(saga, state, state.skip.step, state.skip.who)
    if state.abort is None:
        return []
    if is_past_pivot(saga, state):
        return [facts.Ignored("abort", "it is past its pivot")]
    return [facts.Compensating(f"aborted by {state.abort.who}")]


def _hurried(
    state: State, retry: facts.RetryRequested, timers: str, to: Literal["running", "compensating"]
) -> list[Fact]:
    """What waits to be tried again is tried now."""
    waiting = [name for name in state.timers if name.startswith(timers)]
    if not waiting:
        return [facts.Ignored("retry", "nothing waits to be tried again")]
    return [facts.Forward(f"retried by {retry.who}", to), *_cancelled(state, waiting)]


def _skipped(saga: Saga, state: State, name: str, who: str) -> list[Fact]:
    """A step that waits may be passed over; one whose action is under way has an outcome first."""
    phase = state.step(name).action.phase
    if saga.find(name) is None or phase not in ("none", "waiting", "retrying", "failed"):
        return [facts.Ignored("skip", f"step {name} is {phase}" if saga.find(name) else f"there is no step {name}")]
    return [facts.StepSkipped(name, f"by {who}"), *_cancelled(state, [RETRY + name, WAIT + name])]


def _stepped(saga: Saga, state: State, step: Step, at: int, types: EventTypes) -> Iterable[Fact]:
    """What follows for one step of the stage that is under way."""
    now = state.step(step.name).action
    match now.phase:
        case "none":
            if step.when is not None and not step.when(data_of(saga, state)):
                return [facts.StepSkipped(step.name, "its condition does not hold")]
            return [facts.StepStarted(step.name, 1, waits=step.wait is not None)]
        case "waiting":
            return _waited(saga, state, step, at, types)
        case "retrying":
            return _retried(state, RETRY + step.name, now.retry_at, at, facts.StepStarted(step.name, now.attempt + 1))
        case "failed" if is_past_pivot(saga, state):
            return [facts.Stuck(step.name, _why(step.name, now.reason))]
        case "failed":
            return [facts.Compensating(_why(step.name, now.reason))]
    return ()


def _waited(saga: Saga, state: State, step: Step, at: int, types: EventTypes) -> Iterable[Fact]:
    now = state.step(step.name).action
    timer = _cancelled(state, [WAIT + step.name])
    if answer := _answer(state, step):
        data, changes = data_of(saga, state), {}
        if step.wait is not None and step.wait.then is not None:
            changes = changes_of(step.wait.then(data, event_of(answer, types)), data, f"then of {step.name}")
        return [
            facts.Reacted(answer.cause, changes),
            facts.StepSucceeded(step.name, now.attempt, {}, max(at - now.started_at, 0) / 1_000_000),
            *timer,
        ]
    if step.timeout_seconds is not None and WAIT + step.name not in state.timers:
        return [facts.TimerSet(WAIT + step.name, now.started_at + round(step.timeout_seconds * 1_000_000))]
    return ()


def _answer(state: State, step: Step) -> EventReceived | None:
    """The first event that a step waits for."""
    kept = (each.fact for each in state.kept if isinstance(each.fact, EventReceived))
    return next((each for each in kept if _waits_for(step, each.type)), None)


def _cancelled(state: State, names: Iterable[str]) -> list[Fact]:
    found = [(name, state.timers[name]) for name in names if name in state.timers]
    return [facts.TimerCancelled(name, timer.set_at, timer.due) for name, timer in found]


def _retried(state: State, timer: str, retry_at: int, at: int, begin: Fact) -> Iterable[Fact]:
    if timer in state.timers:
        return ()
    return [begin] if retry_at <= at else [facts.TimerSet(timer, retry_at)]


def _why(step: str, reason: Reason | None) -> str:
    return f"{step} failed: {reason.type}: {reason.message}" if reason is not None else f"{step} failed"


# ---- going back ----


def _may_turn(saga: Saga, state: State) -> bool:
    """Whether it goes on, or may yet: its pivot is under way. What comes meanwhile waits until that is known."""
    is_tried = any(each.kind == "pivot" and state.step(each.name).action.phase == "running" for each in saga.steps)
    return is_tried or _turns(saga, state)


def _turns(saga: Saga, state: State) -> bool:
    return is_past_pivot(saga, state) and not state.has_gone_back


def _back(saga: Saga, state: State, at: int) -> Iterable[Fact]:
    if _turns(saga, state):
        return [facts.Forward("its pivot succeeded", "running")]
    if state.is_busy:
        return ()
    if state.abort is not None:
        return [facts.Ignored("abort", "the saga is compensating")]
    if pivot := _late_pivot(saga, state):
        return [facts.Stuck(pivot.name, f"{pivot.name} succeeded after the saga had begun to go back")]
    if useless := [name for name in state.timers if not name.startswith(UNDO)]:
        return _cancelled(state, useless)
    if state.retry is not None:
        return _hurried(state, state.retry, UNDO, "compensating")
    if state.skip is not None:
        return _undo_skipped(state, state.skip)
    return _taken_back(state, state.undo[-1], at) if state.undo else [facts.Compensated(state.why)]


def _taken_back(state: State, last: str | UndoNoted, at: int) -> Iterable[Fact]:
    if isinstance(last, UndoNoted):
        return [facts.Sent(last.stream, last.type, last.schema_version, last.data, undo=True)]
    now = state.step(last).undo
    match now.phase:
        case "none":
            return [facts.CompensationStarted(last, 1)]
        case "retrying":
            return _retried(state, UNDO + last, now.retry_at, at, facts.CompensationStarted(last, now.attempt + 1))
        case "failed":
            return [facts.Stuck(last, _why(f"compensation of {last}", now.reason))]
        case "succeeded" | "skipped":  # of a step that has succeeded once more
            return [facts.CompensationStarted(last, 1)]
    return ()


def _late_pivot(saga: Saga, state: State) -> Step | None:
    """One that has succeeded after all, too late to go on, and that no operator knows of."""
    pivot = passed_pivot(saga, state)
    return pivot if pivot is not None and state.step(pivot.name).undo.phase == "none" else None


def _undo_skipped(state: State, skip: facts.SkipRequested) -> list[Fact]:
    is_next = bool(state.undo) and state.undo[-1] == skip.step
    if not is_next or state.step(skip.step).undo.phase == "running":
        return [facts.Ignored("skip", f"the compensation of {skip.step} is not waiting")]
    return [facts.CompensationSkipped(skip.step, f"by {skip.who}"), *_cancelled(state, [UNDO + skip.step])]


def _freed(state: State) -> Iterable[Fact]:
    """Stuck: until an operator says how it goes on, or what was given up has succeeded after all."""
    step, is_undo = state.step(state.stuck_at), state.stuck_while == "compensating"
    if (step.undo if is_undo else step.action).phase == "succeeded":
        return [facts.Forward(f"{state.stuck_at} succeeded after all", state.stuck_while)]
    if state.retry is not None:
        return [facts.Forward(f"retried by {state.retry.who}", state.stuck_while)]
    if state.skip is not None and state.skip.step != state.stuck_at:
        return [facts.Ignored("skip", f"it is stuck at {state.stuck_at}")]
    if state.skip is not None:
        who = f"by {state.skip.who}"
        skipped = facts.CompensationSkipped if state.stuck_while == "compensating" else facts.StepSkipped
        return [skipped(state.skip.step, who), facts.Forward(f"skipped {who}", state.stuck_while)]
    if state.abort is not None:
        return [facts.Ignored("abort", "it is past its pivot" if state.stuck_while == "running" else "it goes back")]
    return ()


def _ended(saga: Saga, state: State) -> Iterable[Fact]:
    if state.inbox:
        keys = dict.fromkeys(key_of(each.fact) for each in state.inbox)  # a timer may have fired twice
        return [facts.Ignored(key, f"the saga is {state.status}") for key in keys]
    if state.timers:
        return _cancelled(state, state.timers)
    if state.status == "compensated" and (state.undo or _late_pivot(saga, state)):
        return [facts.Compensating(state.why)]
    for what, asked in (("abort", state.abort), ("retry", state.retry), ("skip", state.skip)):
        if asked is not None:
            return [facts.Ignored(what, f"the saga is {state.status}")]
    return ()
