"""The definition of a saga as a Mermaid diagram, which many viewers of Markdown draw."""

from collections.abc import Callable, Generator, Iterator
from itertools import pairwise
from typing import Any

from consumers.handlers import name_of
from consumers.sagas.reactions import Reaction
from consumers.sagas.saga import Saga
from consumers.sagas.steps import Step
from infrastructure.durations import format_duration

_CLASSES = ("classDef pivot stroke-width:4px", "classDef undo stroke-dasharray:4")


def mermaid(saga: Saga) -> str:
    """A flowchart: steps downwards, what runs at once side by side in a box; dashed to the compensations, which are
    gone through in reverse order; reactions beside it, by the event or the timer that they take."""
    lines = ["flowchart TD", *(f"    {each}" for each in _CLASSES)]
    lines += [f"    {each}" for each in (*_steps(saga), *_compensations(saga), *_reactions(saga))]
    return "\n".join(lines)


# ---- steps ----


def _steps(saga: Saga) -> Iterator[str]:
    deadline = saga.deadline_seconds
    within = "" if deadline is None else f"<br/>deadline {format_duration(deadline)}"
    yield f"started([{_text(f'{saga.name} v{saga.version}', within)}])"
    before = "started"
    for number in range(len(saga.stages)):
        before = yield from _stage(saga, number, before)
    if saga.stages:
        yield "completed([completed])"
        yield f"{before} --> completed"


def _stage(saga: Saga, number: int, before: str) -> Generator[str, None, str]:
    """Gives back what the next one follows."""
    first, *others = saga.stages[number]
    if others:
        yield f"subgraph stage{number} [{_text('at once')}]"
        yield from (f"    {_node(saga, each)}" for each in (first, *others))
        yield "end"
        yield f"{before} --> stage{number}"
        return f"stage{number}"
    yield _node(saga, first)
    if first.when is None:
        yield f"{before} --> {_id(saga, first)}"
        return _id(saga, first)
    yield f"when{number}{{{_text(_name(first.when))}}}"
    yield f"behind{number}(( ))"
    yield f"{before} --> when{number}"
    yield f"when{number} -->|yes| {_id(saga, first)}"
    yield f"when{number} -->|no| behind{number}"
    yield f"{_id(saga, first)} --> behind{number}"
    return f"behind{number}"


def _node(saga: Saga, step: Step) -> str:
    about = ""
    if step.wait is not None:
        about += f"<br/>waits for {_escaped(step.wait.event.name)}"
        about += "" if step.timeout_seconds is None else f", {format_duration(step.timeout_seconds)}"
    if step.when is not None and not _is_alone(saga, step):
        about += f"<br/>if {_escaped(_name(step.when))}"
    if step.kind != "compensatable":
        about += f"<br/>{step.kind}"
    opening, closing = ("{{", "}}") if step.wait is not None else ("[", "]")
    shape = f"{_id(saga, step)}{opening}{_text(step.name, about)}{closing}"
    return f"{shape}:::pivot" if step.kind == "pivot" else shape


def _is_alone(saga: Saga, step: Step) -> bool:
    return any(stage == (step,) for stage in saga.stages)


def _id(saga: Saga, step: Step) -> str:
    return f"step{saga.steps.index(step)}"


# ---- going back, and giving up ----


def _compensations(saga: Saga) -> Iterator[str]:
    undone = [each for each in saga.steps if each.compensate is not None]
    for each in undone:
        undo = f"undo{_id(saga, each)}"
        yield f"{undo}[{_text(_name(each.compensate))}]:::undo"
        yield f"{_id(saga, each)} -.->|compensate| {undo}"
    if any(each.kind != "retriable" for each in saga.steps):
        chain = [*(f"undo{_id(saga, each)}" for each in reversed(undone)), "compensated"]
        yield "compensated([compensated])"
        yield from (f"{one} -.-> {other}" for one, other in pairwise(chain))
    forward = [each for each in saga.steps if each.kind == "retriable"]
    if forward:
        yield "stuck([stuck])"
        yield from (f"{_id(saga, each)} -.->|gives up| stuck" for each in forward)


# ---- reactions ----


def _reactions(saga: Saga) -> Iterator[str]:
    if not saga.reactions:
        return
    yield f"subgraph reactions [{_text('reactions')}]"
    for number, each in enumerate(saga.reactions):
        yield f"    input{number}>{_text(_input(each))}]"
        yield f"    reaction{number}[{_text(each.name)}]"
        yield f"    input{number} --> reaction{number}"
    yield "end"
    yield from (f"reaction{n} -->|starts| started" for n, each in enumerate(saga.reactions) if each.starts)


def _input(reaction: Reaction) -> str:
    return reaction.event.name if reaction.event is not None else f"timer {reaction.timer}"


# ---- text ----


def _name(function: Callable[..., Any] | None) -> str:
    name = "" if function is None else name_of(function)
    return "its condition" if name.endswith("<lambda>") else name


def _text(text: str, more: str = "") -> str:
    """A label in quotes; `more` is markup already."""
    return f'"{_escaped(text)}{more}"'


def _escaped(text: str) -> str:
    """Mermaid's own way to write what would end a label, or be taken for markup."""
    return "".join(_ENTITIES.get(letter, letter) for letter in text)


_ENTITIES = {"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"}
