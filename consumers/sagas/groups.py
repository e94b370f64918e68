"""The two consumers of a saga, as a worker runs them: one brings events to it, one follows its streams.

saga.<type>.route   events that it is correlated with     only if it takes any
saga.<type>.react   streams `saga-<type>-...`
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from consumers.consumer import Consumer, group
from consumers.handlers import Handler
from consumers.retry import Exponential, Fixed, Policy
from consumers.sagas import facts
from consumers.sagas.attempts import THREAD_SECONDS, Actions
from consumers.sagas.errors import UnknownSagaVersion
from consumers.sagas.instances import Instances
from consumers.sagas.react import ASK_FOR_NOTHING, React
from consumers.sagas.route import Route
from consumers.sagas.saga import Saga
from consumers.sagas.stored import Stored
from eventstore.errors import DurabilityNotReached, OutcomeUnknown, Overloaded, Unavailable
from eventstore.event_types import event_type
from eventstore.store import EventStore
from infrastructure.tasks import Spawn

APPEND_SECONDS = 30.0
"""For the appends of one handling, beyond the time of its actions."""
_AGAIN = Exponential(first="200ms", cap="10s", attempts=1_000_000)
_NOT_ITS_FAULT: dict[type[Exception], Policy] = {
    **dict.fromkeys((Unavailable, OutcomeUnknown, Overloaded, DurabilityNotReached), _AGAIN),
    UnknownSagaVersion: Fixed("2s", attempts=1_000_000, immediate=1),
}


def route_group(saga: str) -> str:
    return f"saga.{saga}.route"


def react_group(saga: str) -> str:
    return f"saga.{saga}.react"


def group_names_of(saga: Saga) -> list[str]:
    """Of the groups that it is run by."""
    return [*([route_group(saga.name)] if saga.events else []), react_group(saga.name)]


def groups_of(store: EventStore, saga: Saga, opened: Mapping[Any, Any], spawn: Spawn) -> tuple[Consumer, ...]:
    """Consumers for `run`. `opened` are the resources of the worker, `spawn` has something done behind a handling."""
    stored = Stored(store)
    instances = Instances(stored, saga)
    react = React(instances, Actions(opened), stored, spawn)
    longest = max((action.timeout_seconds for action in saga.actions), default=0.0)
    following = group(
        react_group(saga.name),
        on=_NOT_ITS_FAULT,
        concurrency=saga.concurrency,
        timeout=longest + THREAD_SECONDS + APPEND_SECONDS,
        on_replay="skip",
        categories=(f"saga-{saga.name}",),
    )
    wanted = [fact for fact in get_args(facts.Fact) if fact not in ASK_FOR_NOTHING]
    following.add(_handler(react.handle, wanted, following))
    if not saga.events:
        return (following,)
    bringing = group(route_group(saga.name), on=_NOT_ITS_FAULT, concurrency=saga.concurrency, on_replay="emit")
    bringing.add(_handler(Route(instances).handle, [each.struct for each in saga.events], bringing))
    return (bringing, following)


def _handler(function: Callable[..., Any], structs: Any, of: Consumer) -> Handler:
    types = tuple(event_type(struct) for struct in structs)
    return Handler(function, of.name, types, False, "ctx", (), True, of.timeout_seconds, of.on_replay)
