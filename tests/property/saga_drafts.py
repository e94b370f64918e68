"""Definitions of sagas at random: steps in sequence and at once, waits, conditions, a pivot, what only goes forward;
and reactions. What a reaction to an event does is said by the event.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from consumers.context import To
from consumers.retry import Fixed, Immediate, Park, Policy
from consumers.sagas.context import StepContext
from consumers.sagas.reactions import CancelTimer, Compensate, Complete, Reaction, Timer, Undo, on
from consumers.sagas.saga import Saga
from consumers.sagas.steps import Step, step

STEPS = "abcdefgh"
TIMERS = ("t1", "t2")
OUT = ("out-1", "out-2")
MOST_ATTEMPTS = 3


class Data(Struct, frozen=True):
    """Each step counts in a field of its own."""

    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0
    f: int = 0
    g: int = 0
    h: int = 0
    notes: int = 0


class Begins(Struct, frozen=True):
    ids: tuple[str, ...]
    do: tuple[str, ...]


class Told(Struct, frozen=True):
    ids: tuple[str, ...]
    do: tuple[str, ...]


class First(Struct, frozen=True):
    ids: tuple[str, ...]


class Second(Struct, frozen=True):
    ids: tuple[str, ...]


class Out(Struct, frozen=True):
    what: str


ANSWERS: tuple[type[First] | type[Second], ...] = (First, Second)


class StepPlan(Struct, frozen=True):
    """What a model knows of a step. `waits` is the type of the event that ends it."""

    name: str
    kind: str = "compensatable"
    undo: bool = False
    attempts: int = 1
    undo_attempts: int = 1
    waits: str = ""
    timeout: bool = False
    when: bool = False


class Plan(Struct, frozen=True):
    """`later` is the next version of `saga`: what has begun is carried over, or finishes on the version it has."""

    saga: Saga
    later: Saga
    stages: tuple[tuple[StepPlan, ...], ...]
    reacts: frozenset[str]
    """To these types of events and timers."""
    starts: bool
    answers: frozenset[str]

    def find(self, name: str) -> StepPlan:
        return next(each for stage in self.stages for each in stage if each.name == name)


def draft(choose: Random) -> Plan:
    stages: list[tuple[StepPlan, ...]] = []
    names = iter(STEPS)
    pivot = choose.choice(["none", "pivot", "retriable"])
    for _ in range(choose.choice([0, 1, 2, 3, 3])):
        count = choose.choice([0, 1, 1, 1, 2, 3])
        some = [name for _, name in zip(range(max(count, 1)), names, strict=False)]
        stages.append(
            (_wait(choose, some[0]),) if not count else tuple(_step(choose, name, "compensatable") for name in some)
        )
    if pivot == "pivot":
        stages += [(_step(choose, name, "pivot"),) for name in [next(names, "")] if name]
    if pivot != "none":
        for _ in range(choose.choice([0, 1, 2])):
            count = choose.choice([1, 1, 2])
            made = [_step(choose, name, "retriable") for _, name in zip(range(count), names, strict=False)]
            stages += [tuple(made)] if made else []
    stages = [stage for stage in stages if stage]
    starts, reactions = choose.random() < 0.5 or not stages, []
    if starts:
        reactions.append(_begins)
    if choose.random() < 0.7 or not stages:
        reactions += [_told, *_on_timers(choose)]
    saga = Saga("s", data=Data, reactions=reactions, deadline=choose.choice([None, None, 40, 7_000]))
    saga = _filled(saga, stages)
    answers = frozenset(each.waits for stage in stages for each in stage if each.waits)
    later = replace(saga, version=2)
    later = later.migrate(1, dict) if choose.random() < 0.5 else replace(later, earlier=[saga])
    return Plan(saga, later, tuple(stages), frozenset(each.key for each in reactions), starts, answers)


def _wait(choose: Random, name: str) -> StepPlan:
    event = choose.choice(ANSWERS).__name__
    return StepPlan(name, waits=event, timeout=choose.random() < 0.6, when=choose.random() < 0.2)


def _step(choose: Random, name: str, kind: str) -> StepPlan:
    undo = kind == "compensatable" and choose.random() < 0.8
    attempts, undo_attempts = choose.randint(1, MOST_ATTEMPTS), choose.randint(1, MOST_ATTEMPTS)
    return StepPlan(name, kind, undo, attempts, undo_attempts, when=choose.random() < 0.2)


def _filled(saga: Saga, stages: Sequence[Sequence[StepPlan]]) -> Saga:
    for stage in stages:
        made = [_made(saga, each) for each in stage]
        saga = saga.parallel(*made)
    return saga


def _made(saga: Saga, plan: StepPlan) -> Step:
    condition = _has_notes if plan.when else None
    if plan.waits:
        event = next(each for each in ANSWERS if each.__name__ == plan.waits)
        waits = Saga(saga.name, data=Data).wait(
            plan.name,
            event,
            correlate=ids,
            then=_counting(plan.name),
            timeout=30 if plan.timeout else None,
            when=condition,
        )
        return waits.steps[0]
    return step(
        plan.name,
        _act,
        compensate=_undo if plan.undo else None,
        retry=_policy(plan.attempts),
        retry_compensation=_policy(plan.undo_attempts),
        when=condition,
        kind=plan.kind,  # type: ignore[arg-type]
    )


def _policy(attempts: int) -> Policy:
    """Of two attempts at once, of three with a pause."""
    policies: dict[int, Policy] = {1: Park(), 2: Immediate(2), 3: Fixed("5s", attempts=3, immediate=1)}
    return policies[attempts]


def _has_notes(data: Data) -> bool:
    return data.notes % 2 == 0


async def _act(data: Data, ctx: StepContext) -> Data:
    ctx.send(OUT[0], Out(ctx.idempotency_key))
    return replace(data, **{ctx.step: getattr(data, ctx.step) + 1})


async def _undo(data: Data, ctx: StepContext) -> None:
    ctx.send(OUT[1], Out(ctx.idempotency_key))


def _counting(name: str) -> Any:
    def then(data: Data, event: First | Second) -> Data:
        return replace(data, **{name: getattr(data, name) + 1})

    return then


def ids(event: Begins | Told | First | Second) -> tuple[str, ...]:
    return event.ids


@on(Begins, correlate=ids, starts=True)
def _begins(data: None, event: Begins) -> list[object]:
    return [Data(), *_done(Data(), event.do)]


@on(Told, correlate=ids)
def _told(data: Data, event: Told) -> list[object]:
    return _done(data, event.do)


def _on_timers(choose: Random) -> list[Reaction]:
    """The second may be set by the first, and sets none itself: time comes to an end."""
    last = choose.choice([["complete"], ["compensate"], ["note", "undo"], ["send"]])
    return [_on_timer("t1", choose.choice([["note"], ["timer t2 3"], ["compensate"]])), _on_timer("t2", last)]


def _on_timer(name: str, do: Sequence[str]) -> Reaction:
    @on(Timer(name))
    def fired(data: Data) -> list[object]:
        return _done(data, do)

    return fired


def instructions(choose: Random) -> tuple[str, ...]:
    """What a reaction is to do."""
    known = ["note", "note", "send", "undo", "timer t1 10", "timer t2 20", "cancel t1", "cancel t2"]
    made = [choose.choice(known) for _ in range(choose.randint(0, 3))]
    if choose.random() < 0.15:
        made.append(choose.choice(["complete", "compensate"]))
    return tuple(made)


def _done(data: Data, do: Sequence[str]) -> list[object]:
    made: list[object] = []
    for number, each in enumerate(do):
        match each.split():
            case ["note"]:
                data = replace(data, notes=data.notes + 1)
            case ["send"]:
                made.append(To(OUT[0], Out(f"told {number}")))
            case ["undo"]:
                made.append(Undo(OUT[1], Out(f"back {number}")))
            case ["timer", name, seconds]:
                made.append(Timer(name, after=float(seconds)))
            case ["cancel", name]:
                made.append(CancelTimer(name))
            case ["complete"]:
                made.append(Complete())
            case ["compensate"]:
                made.append(Compensate("told to"))
    return [data, *made]
