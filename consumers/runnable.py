"""What is given to `run`, looked at before anything is opened or made."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from consumers.consumer import Consumer
from consumers.errors import InvalidConsumer
from consumers.handlers import Handler
from consumers.resources import Resource, checked_resources
from consumers.sagas.groups import react_group
from consumers.sagas.saga import Saga

if TYPE_CHECKING:
    from consumers.worker import Worker


@runtime_checkable
class RunsItself(Protocol):
    """What is built on groups, and joins and leaves them as it sees fit: a projection."""

    @property
    def name(self) -> str: ...
    @property
    def handlers(self) -> tuple[Handler, ...]: ...

    async def run_in(self, worker: "Worker") -> None:
        """Until `worker.stop` is set."""


Runnable = Consumer | Saga | RunsItself


def checked(
    consumers: Sequence[Runnable], resources: Iterable[Resource] = ()
) -> tuple[tuple[Runnable, ...], tuple[Resource, ...]]:
    """What to run, and the resources. Raises InvalidConsumer for what cannot be run together, or lacks a resource."""
    values = _consumers(consumers)
    return values, checked_resources(resources, [each for value in values for each in called_by(value)])


def called_by(value: Runnable) -> tuple[Handler, ...]:
    """The functions that it may call."""
    return value.actions if isinstance(value, Saga) else value.handlers


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
        name = _unique(each)
        if name in names:
            raise _twice(each)
        names.add(name)
    return values


def _unique(value: Runnable) -> str:
    if isinstance(value, Saga):
        return react_group(value.name)
    return value.name if isinstance(value, Consumer) else f"{type(value).__name__} {value.name}"


def _twice(value: Runnable) -> InvalidConsumer:
    what, remedy = "consumers", "@charge.also() adds a handler to a group; or give one another name: @consumer(name)"
    if isinstance(value, Saga):
        what, remedy = "sagas", "older versions go into the newest one: earlier=[...]"
    elif not isinstance(value, Consumer):
        what, remedy = f"{type(value).__name__.lower()}s", "a name of its own for each"
    return InvalidConsumer(f"two {what} are called {value.name}", field="consumers", remedy=remedy)
