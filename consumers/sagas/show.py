"""One saga, with all that is known of it."""

from collections.abc import Iterator
from typing import Any

from consumers.keys import group_keys
from consumers.letter_scan import letters_of
from consumers.letter_shape import LetterShape
from consumers.membership import Members
from consumers.sagas.facts import EventReceived
from consumers.sagas.groups import react_group
from consumers.sagas.history import History, history
from consumers.sagas.instances import parts_of
from consumers.sagas.requests import actions, asked
from consumers.sagas.shape import InputShape, SagaShape, StepShape, TimerShape, TrialShape
from consumers.sagas.state import DEADLINE, RETRY, UNDO, WAIT, State, StepState, Trial
from eventstore.log import Log
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from eventstore.wire import rfc3339

_SYSTEM = {RETRY: "the next attempt at {}", UNDO: "the next attempt to compensate {}", WAIT: "the end of the wait {}"}


async def get_saga(store: EventStore, stream: str) -> SagaShape:
    """A saga by the name of its stream, such as `saga-ingestion-42`; no definition is needed. Raises SagaNotFound if
    the stream has no events, or is no saga's; InvalidRequest, Unavailable, LogDamaged."""
    found = await history(store.log, stream)
    kind = kind_of(stream)
    letter = await letter_of(store.log, stream)
    workers = await Members(store.log, react_group(kind)).live()
    return _shape(found, kind, letter, len(workers))


async def letter_of(log: Log, stream: str) -> LetterShape | None:
    """What keeps the worker from handling the saga's facts, if anything does."""
    keys = group_keys(log.keys, react_group(kind_of(stream)), partition_of(stream, log.partitions))
    return next((each.shape() for each in await letters_of(log, keys, [stream])), None)


def kind_of(stream: str) -> str:
    parts = parts_of(stream)
    return "" if parts is None else parts[0]


def why_parked(letter: LetterShape) -> str:
    """In one line."""
    where = f" ({letter.where})" if letter.where else ""
    return f"version {letter.version} cannot be handled: {letter.error}: {letter.message}{where}"


def is_parked(state: State, letter: LetterShape | None) -> bool:
    """Nothing goes on before somebody deals with the letter."""
    return letter is not None and letter.state == "parked" and not state.is_final


def _shape(found: History, kind: str, letter: LetterShape | None, workers: int) -> SagaShape:
    state = found.state
    parked = why_parked(letter) if letter is not None and is_parked(state, letter) else None
    damage = None if found.damage is None else found.damage.detail
    deadline = state.timers[DEADLINE].due if DEADLINE in state.timers else state.due
    ended = state.ended_at if state.is_final else 0
    return SagaShape(
        id=state.stream,
        type=kind,
        version=state.saga_version or None,
        status="stuck" if parked else state.status,
        step=state.stuck_at or None,
        why=parked or damage or state.why or None,
        correlation_id=state.correlation_id,
        traceparent=state.traceparent,
        started_at=_time(state.started_at),
        ended_at=_time(ended),
        seconds=(ended - state.started_at) / 1e6 if ended else None,
        deadline_at=None if deadline is None else rfc3339(deadline),
        input=state.input,
        data=state.data,
        steps=tuple(_step(name, each) for name, each in state.steps.items()),
        undo=tuple(each if isinstance(each, str) else f"send {each.type}" for each in reversed(state.undo)),
        is_going_back="compensating" in (state.status, state.stuck_while if state.status == "stuck" else ""),
        timers=tuple(_timers(state)),
        inputs=tuple(_inputs(state)),
        actions=actions(state),
        asked=asked(state),
        letter=letter,
        workers=workers,
        stream_version=state.version,
        timeline=tuple(found.timeline.moments),
    )


def _step(name: str, step: StepState) -> StepShape:
    undo = step.undo
    compensation = None if undo.phase == "none" else TrialShape(**_trial(undo))
    return StepShape(name=name, compensation=compensation, **_trial(step.action))


def _trial(trial: Trial) -> dict[str, Any]:
    is_waiting = trial.phase == "retrying" and trial.retry_at > 0
    return {
        "status": trial.phase,
        "attempts": trial.attempt,
        "started_at": _time(trial.started_at),
        "ended_at": _time(trial.ended_at),
        "seconds": trial.seconds,
        "retry_at": _time(trial.retry_at if is_waiting else 0),
        "error": trial.reason,
        "why": trial.why or None,
    }


def _timers(state: State) -> Iterator[TimerShape]:
    for name, pending in sorted(state.timers.items(), key=lambda item: item[1].due):
        kind, dot, step = name.partition(".")
        what = "the deadline" if name == DEADLINE else _SYSTEM.get(kind + dot, "timer {}").format(step or name)
        yield TimerShape(name, rfc3339(pending.due), what)


def _inputs(state: State) -> Iterator[InputShape]:
    for kept, received in [(False, each) for each in state.inbox] + [(True, each) for each in state.kept]:
        fact = received.fact
        what = f"event {fact.type}" if isinstance(fact, EventReceived) else f"timer {fact.name}"
        yield InputShape(what, rfc3339(received.at), kept)


def _time(time_us: int) -> str | None:
    return rfc3339(time_us) if time_us > 0 else None
