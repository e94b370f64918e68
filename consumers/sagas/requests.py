"""What an operator may ask of a saga, as far as its state tells: its definition need not be here. What is not refused
by this may still be ignored by the worker, which says why in the saga's stream."""

from collections.abc import Sequence

from msgspec import Struct

from consumers.sagas import facts
from consumers.sagas.facts import Fact
from consumers.sagas.shape import Action
from consumers.sagas.state import RETRY, UNDO, State

ACTIONS: tuple[Action, ...] = ("retry", "skip-step", "abort")
_BEHIND = ("none", "waiting", "retrying", "failed")
"""Phases of a step that can be passed over."""


class Refusal(Struct, frozen=True):
    """Why it cannot be done, and what can."""

    detail: str
    remedy: str


def refusal(state: State, action: Action, step: str = "") -> Refusal | None:
    """None if it can be asked for."""
    if state.status == "unstarted":
        return Refusal(f"nothing has started {state.stream} yet", "start it, or wait for the event that does")
    if state.is_final:
        return Refusal(f"{state.stream} is {state.status}", f"eventstore sagas show {state.stream}")
    match action:
        case "retry":
            return _no_retry(state)
        case "abort":
            return _no_abort(state)
    return _no_skip(state, step)


def actions(state: State) -> tuple[Action, ...]:
    """What is not refused."""
    steps = skippable(state)
    return tuple(each for each in ACTIONS if (steps if each == "skip-step" else refusal(state, each) is None))


def skippable(state: State) -> Sequence[str]:
    """Steps that were begun, or compensations, that can be passed over now."""
    if state.status == "stuck":
        return [state.stuck_at]
    if state.status == "compensating":
        last = state.undo[-1] if state.undo else None
        return [last] if isinstance(last, str) and state.step(last).undo.phase != "running" else []
    if state.status != "running":
        return []
    return [name for name, each in state.steps.items() if each.action.phase in ("waiting", "retrying")]


def asked(state: State) -> tuple[Action, ...]:
    """What was asked for, and nobody has carried out."""
    pending = (state.retry, state.skip, state.abort)
    return tuple(action for action, request in zip(ACTIONS, pending, strict=True) if request is not None)


def request(action: Action, step: str, who: str, why: str | None) -> Fact:
    match action:
        case "retry":
            return facts.RetryRequested(who, why)
        case "abort":
            return facts.AbortRequested(who, why)
    return facts.SkipRequested(step, who, why)


def _no_retry(state: State) -> Refusal | None:
    if state.status == "stuck" or any(name.startswith((RETRY, UNDO)) for name in state.timers):
        return None
    return Refusal(f"nothing of {state.stream} waits to be tried again", f"eventstore sagas show {state.stream}")


def _no_abort(state: State) -> Refusal | None:
    retried = f"eventstore sagas retry {state.stream}, or skip-step {state.stream} {state.stuck_at}"
    match state.status, state.stuck_while:
        case "compensating", _:
            return Refusal(f"{state.stream} goes back already", f"eventstore sagas show {state.stream}")
        case "stuck", "compensating":
            return Refusal(f"{state.stream} goes back already, and is stuck at {state.stuck_at}", retried)
        case "stuck", _:
            return Refusal(f"{state.stream} is past its pivot: it only goes forward", retried)
    return None


def _no_skip(state: State, step: str) -> Refusal | None:
    can = skippable(state)
    if step in can:
        return None
    remedy = f"eventstore sagas skip-step {state.stream} {can[0]}" if can else f"eventstore sagas show {state.stream}"
    if state.status == "stuck":
        return Refusal(f"{state.stream} is stuck at {state.stuck_at}, not at {step}", remedy)
    if state.status == "compensating":
        return Refusal(f"the compensation of {step} is not what {state.stream} waits for", remedy)
    phase = state.step(step).action.phase
    if phase in _BEHIND:  # one that was not begun is known to the worker alone
        return None
    under_way = f"an attempt at {step} is under way" if phase == "running" else f"step {step} is {phase}"
    return Refusal(under_way, "wait for its outcome" if phase == "running" else remedy)
