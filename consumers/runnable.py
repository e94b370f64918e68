"""What is given to `run`, looked at before anything is opened or made."""

from collections.abc import Iterable, Sequence

from consumers.consumer import Consumer
from consumers.errors import InvalidConsumer
from consumers.resources import Resource, checked_resources
from consumers.sagas.groups import react_group
from consumers.sagas.saga import Saga

Runnable = Consumer | Saga


def checked(
    consumers: Sequence[Runnable], resources: Iterable[Resource] = ()
) -> tuple[tuple[Runnable, ...], tuple[Resource, ...]]:
    """What to run, and the resources. Raises InvalidConsumer for what cannot be run together, or lacks a resource."""
    values = _consumers(consumers)
    called = [each for value in values for each in (value.actions if isinstance(value, Saga) else value.handlers)]
    return values, checked_resources(resources, called)


def _consumers(given: Sequence[Runnable]) -> tuple[Runnable, ...]:
    if isinstance(given, Runnable) or callable(given) or not isinstance(given, Iterable):
        raise InvalidConsumer(f"consumers is {given!r:.80}, no list", field="consumers", remedy="run(store, [charge])")
    values = tuple(given)
    if not values:
        raise InvalidConsumer("there is nothing to run", field="consumers", remedy="run(store, [charge])")
    names: set[str] = set()
    for each in values:
        if not isinstance(each, Runnable):
            raise InvalidConsumer(
                f"{each!r:.80} is no consumer", field="consumers", remedy="decorate a function: @consumer(name)"
            )
        name = react_group(each.name) if isinstance(each, Saga) else each.name
        if name in names:
            raise _twice(each)
        names.add(name)
    return values


def _twice(value: Runnable) -> InvalidConsumer:
    what, remedy = "consumers", "@charge.also() adds a handler to a group; or give one another name: @consumer(name)"
    if isinstance(value, Saga):
        what, remedy = "sagas", "older versions go into the newest one: earlier=[...]"
    return InvalidConsumer(f"two {what} are called {value.name}", field="consumers", remedy=remedy)
