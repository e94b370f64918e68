"""What a reaction has returned, as facts."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from consumers.context import To
from consumers.sagas import facts
from consumers.sagas.actions import as_builtins, changes_of
from consumers.sagas.facts import EventReceived, Fact
from consumers.sagas.reactions import CancelTimer, Compensate, Complete, Reaction, Timer, Undo
from consumers.sagas.saga import Saga
from consumers.sagas.state import Pending, Received, State, key_of
from eventstore.errors import InvalidEvent
from eventstore.event_types import EventTypes
from eventstore.names import publishable

_REMEDY = "return the saga's data, To, Undo, Timer, CancelTimer, Complete(), Compensate(why), a list of these, or None"


def following(
    reaction: Reaction, saga: Saga, data: Any, received: Received, state: State, types: EventTypes
) -> list[Fact]:
    """Calls the reaction; the first of the facts is `Reacted`. Raises what it raises; InvalidEvent for what it may not
    return."""
    fact = received.fact
    given = (data,) if not isinstance(fact, EventReceived) else (data, event_of(fact, types))
    returned = _last_timers(_listed(reaction(*given)))
    _check(returned, reaction, saga, is_first=data is None)
    changes: dict[str, Any] = {}
    for each in returned:
        if isinstance(each, saga.data):
            changes |= as_builtins(each) if data is None else changes_of(each, data, reaction.name)
    made: list[Fact] = [facts.Reacted(key_of(fact), changes)]
    pending = {**state.timers}
    for each in returned:
        if not isinstance(each, saga.data):
            made += _made(each, reaction, received, pending, types)
    return made


def _check(returned: list[Any], reaction: Reaction, saga: Saga, *, is_first: bool) -> None:
    """Raises InvalidEvent."""
    if is_first and not any(isinstance(each, saga.data) for each in returned):
        kind = saga.data.__name__
        what = f"{reaction.name} begins a saga and returned no {kind}"
        raise InvalidEvent(what, field=reaction.name, remedy=f"return its first {kind}")
    if sum(isinstance(each, Complete | Compensate) for each in returned) > 1:
        what = f"{reaction.name} returned more than one of Complete and Compensate"
        raise InvalidEvent(what, field=reaction.name, remedy="return one of them")


def _listed(returned: Any) -> list[Any]:
    if returned is None:
        return []
    return list(returned) if isinstance(returned, Iterable) and not isinstance(returned, Struct) else [returned]


def _last_timers(returned: list[Any]) -> list[Any]:
    """What is said last of a timer counts."""
    last = {each.name: at for at, each in enumerate(returned) if isinstance(each, Timer | CancelTimer)}
    return [
        each for at, each in enumerate(returned) if not isinstance(each, Timer | CancelTimer) or last[each.name] == at
    ]


def _made(
    output: Any, reaction: Reaction, received: Received, pending: dict[str, Pending], types: EventTypes
) -> Iterator[Fact]:
    """`pending` are the timers that are set; one that is set anew is cancelled first."""
    match output:
        case To(stream, event):
            yield sent(stream, event, types)
        case Undo(stream, event):
            going = sent(stream, event, types)
            yield facts.UndoNoted(going.stream, going.type, going.schema_version, going.data)
        case Timer(name) | CancelTimer(name):
            if name in pending:
                before = pending.pop(name)
                yield facts.TimerCancelled(name, before.set_at, before.due)
            if isinstance(output, Timer):
                yield facts.TimerSet(name, output.due_us(received.at))
        case Complete():
            yield facts.Completed()
        case Compensate(why):
            yield facts.Compensating(why)
        case _:
            what = f"{reaction.name} returned a {type(output).__name__} ({output!r:.80})"
            raise InvalidEvent(what, field=reaction.name, remedy=_REMEDY)


def sent(stream: str, event: Any, types: EventTypes) -> facts.Sent:
    """An event on its way. Raises InvalidEvent, InvalidRequest for what could not be appended."""
    name, schema_version, data = types.encode(event)
    return facts.Sent(publishable(stream), name, schema_version, msgspec.json.decode(data))


def event_of(fact: EventReceived, types: EventTypes) -> Any:
    """The event that a fact has kept."""
    if fact.early is None:
        raise RuntimeError(f"the fact of event {fact.cause} has no data")
    return types.decode(fact.type, fact.early.schema_version, msgspec.json.encode(fact.early.data))
