"""React: what the facts of a saga ask for is done. An ordinary consumer of the sagas' own streams.

    StepStarted, CompensationStarted   the action is called, its outcome appended with what follows from it
    TimerSet, TimerCancelled           the timer is set, or cancelled
    Sent                               the event is returned, so that it reaches its stream exactly once
    an input that nobody has decided   what follows is appended: a timer that fired, an operator's request

Before anything is done the state is asked whether it still is to be. After a conflict the outcome is appended once
more; nothing is ever done again for it. The actions of a saga that are to run at once run at once, from the first of
their facts on.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol
from uuid import UUID, uuid5

import anyio
import structlog
from msgspec import Struct

from consumers.context import Context, To
from consumers.sagas import facts, index
from consumers.sagas.actions import changes_of
from consumers.sagas.advance import data_of
from consumers.sagas.attempts import Actions, Done
from consumers.sagas.context import StepContext
from consumers.sagas.facts import Fact, Reason
from consumers.sagas.instances import Instances
from consumers.sagas.outputs import sent
from consumers.sagas.saga import Saga
from consumers.sagas.state import State, Trial
from eventstore.envelope import NewEvent, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent, InvalidRequest, TooLarge
from infrastructure.tasks import Spawn, plain_errors

_TIMERS = UUID("5f7bb1c2-7a3e-4a0e-9a55-6d5b6f2f7d10")
_INPUTS = (facts.TimerFired, facts.RetryRequested, facts.SkipRequested, facts.AbortRequested)
ASK_FOR_NOTHING = (
    facts.Reacted,
    facts.Kept,
    facts.Ignored,
    facts.StepSucceeded,
    facts.StepFailed,
    facts.StepSkipped,
    facts.CompensationDone,
    facts.CompensationFailed,
    facts.CompensationSkipped,
    facts.UndoNoted,
)
"""What follows from these stands behind them: a worker passes over them unread."""
_logger = structlog.get_logger("sagas")


class Timers(Protocol):
    """Where timers are set: in the partition of the saga's stream, or in a test's."""

    async def schedule_event(self, stream: str, event: NewEvent, due_us: int, cause_recorded_at: int) -> object: ...
    async def unschedule(self, stream: str, id: UUID) -> object: ...  # noqa: A002 - as an event's


class Open(Struct, frozen=True):
    """An attempt that has no outcome."""

    step: str
    undo: bool
    attempt: int


class React:
    """Of one type of saga. `spawn` has something done behind the handling."""

    def __init__(
        self,
        instances: Instances,
        actions: Actions,
        timers: Timers,
        spawn: Spawn,
    ) -> None:
        self._instances, self._actions, self._timers, self._spawn = instances, actions, timers, spawn

    async def handle(self, fact: Struct, ctx: Context) -> list[To] | None:
        """Of one fact. Raises what an append raises, UnknownSagaVersion, and what conditions and reactions raise."""
        event = ctx.event
        state = await self._instances.load(event.stream, event.version, event.epoch)
        if isinstance(fact, _INPUTS) or self._is_to_migrate(state):
            state = await self._instances.change(
                event.stream, _nothing, at_least=event.version, at=event.recorded_at, cause=event
            )
        index.note(ctx.effects, state, fact, event)
        match fact:
            case facts.StepStarted() | facts.CompensationStarted():
                await self._run(state, ctx)
            case facts.RetryRequested() | facts.SkipRequested() | facts.AbortRequested():
                await self._run(state, ctx)  # whose fact was discarded as a dead letter: nobody else would
            case facts.TimerSet():
                await self._set(state, fact, event)
            case facts.TimerCancelled():
                await self._timers.unschedule(event.stream, timer_id(event.stream, fact.set_at, fact.due))
            case facts.Sent():
                return [To(fact.stream, Untyped(fact.type, fact.data, fact.schema_version))]
        return None

    def _is_to_migrate(self, state: State) -> bool:
        definition = self._instances.definition(state)
        return not state.is_final and state.saga_version not in (0, definition.version)

    # ---- timers ----

    async def _set(self, state: State, fact: facts.TimerSet, event: RecordedEvent) -> None:
        pending = state.timers.get(fact.name)
        if pending is None or pending.set_at != event.version:
            return
        fired = NewEvent(
            data=facts.TimerFired(fact.name, event.version),
            id=timer_id(event.stream, event.version, fact.due),
            metadata=event.metadata,
        )
        await self._timers.schedule_event(event.stream, fired, fact.due, event.recorded_at)

    # ---- actions ----

    async def _run(self, state: State, ctx: Context) -> None:
        """All attempts that have no outcome; most often it is one."""
        waiting = open_attempts(state)
        if len(waiting) == 1:
            await self._attempt(state, waiting[0], ctx)
            return
        with plain_errors():  # an outage is one, however many attempts it meets
            async with anyio.create_task_group() as tasks:
                for each in waiting:
                    tasks.start_soon(self._attempt, state, each, ctx)

    async def _attempt(self, state: State, opened: Open, ctx: Context) -> None:
        saga = self._instances.definition(state)
        step = saga.find(opened.step)
        action = None if step is None else step.undo if opened.undo else step.action
        if step is None or action is None:
            reason = Reason("LookupError", f"{saga!r} has no {'compensation of ' if opened.undo else ''}{opened.step}")
            return await self._append(state.stream, opened, _failure(opened, reason, 0.0, None), ctx.event)
        asked = StepContext(
            state.stream,
            opened.step,
            undo=opened.undo,
            attempt=opened.attempt,
            correlation_id=state.correlation_id,
            traceparent=state.traceparent,
            fencing_token=ctx.fencing_token,
        )
        data = data_of(saga, state)
        rules = step.undo_rules if opened.undo else step.rules
        has_undo = step.undo is not None

        def finished(done: Done) -> list[Fact]:
            changes = {} if opened.undo else changes_of(done.returned, data, action.name)
            going = [sent(to.stream, to.event, self._instances.types) for to in done.sent]
            return [_success(opened, changes, done.seconds, has_undo), *going]

        def late(returned: object, sent: tuple[To, ...], seconds: float) -> None:
            self._spawn(partial(self._late, state.stream, opened, partial(finished, Done(returned, sent, seconds))))

        outcome = await self._actions.attempt(action, rules, data, asked, late)
        if isinstance(outcome, Done):
            try:
                made = self._storable(finished(outcome))
            except (InvalidEvent, InvalidRequest) as error:  # what it returned, or sends, cannot be kept
                outcome = self._actions.failed(action, rules, error, opened.attempt, outcome.seconds)
            else:
                try:
                    return await self._append(state.stream, opened, made, ctx.event)
                except TooLarge as error:
                    outcome = self._actions.failed(action, rules, error, opened.attempt, outcome.seconds)
        retry_at = None if outcome.delay is None else self._instances.clock() + round(outcome.delay * 1_000_000)
        failed = _failure(opened, outcome.reason, outcome.seconds, retry_at)
        return await self._append(state.stream, opened, failed, ctx.event)

    def _storable(self, made: list[Fact]) -> list[Fact]:
        """Looked at before what follows is: whoever is to blame for that, it is not the action. Raises InvalidEvent."""
        for fact in made:
            self._instances.types.encode(fact)
        return made

    async def _append(self, stream: str, opened: Open, outcome: list[Fact], cause: RecordedEvent | None = None) -> None:
        def inputs(state: State, saga: Saga) -> Sequence[Fact]:
            return outcome if still_matters(state, opened, outcome[0]) else ()

        await self._instances.change(stream, inputs, at_least=0, cause=cause)

    async def _late(self, stream: str, opened: Open, finished: Callable[[], list[Fact]]) -> None:
        """An action that was given up has succeeded."""
        try:
            await self._append(stream, opened, finished())
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            _logger.warning("late_success_lost", saga=stream, step=opened.step, error=repr(error))


def open_attempts(state: State) -> list[Open]:
    """What is to run now."""
    running = [Open(name, False, each.action.attempt) for name, each in state.steps.items() if _runs(each.action)]
    undoing = [Open(name, True, each.undo.attempt) for name, each in state.steps.items() if _runs(each.undo)]
    return running + undoing


def still_matters(state: State, opened: Open, outcome: Fact) -> bool:
    """Whether an outcome is to be recorded: its attempt has none yet; or it is a success of a step that was given up,
    which may have to be taken back."""
    step = state.step(opened.step)
    trial = step.undo if opened.undo else step.action
    if _runs(trial) and trial.attempt == opened.attempt:
        return True
    if trial.attempt < opened.attempt or not isinstance(outcome, facts.StepSucceeded | facts.CompensationDone):
        return False
    return trial.phase in ("running", "retrying", "failed", "skipped")


def _runs(trial: Trial) -> bool:
    return trial.phase == "running"


def timer_id(stream: str, set_at: int, due: int) -> UUID:
    """Of the timer that was set by this version of the stream; `due` tells it from one that a failover has lost."""
    return uuid5(_TIMERS, f"{stream}@{set_at}:{due}")


def _nothing(state: State, saga: Saga) -> Sequence[Fact]:
    return ()


def _success(opened: Open, changes: dict[str, Any], seconds: float, has_undo: bool) -> Fact:
    if opened.undo:
        return facts.CompensationDone(opened.step, opened.attempt, seconds)
    return facts.StepSucceeded(opened.step, opened.attempt, changes, seconds, has_undo)


def _failure(opened: Open, reason: Reason, seconds: float, retry_at: int | None) -> list[Fact]:
    kind = facts.CompensationFailed if opened.undo else facts.StepFailed
    return [kind(opened.step, opened.attempt, reason, seconds, retry_at)]
