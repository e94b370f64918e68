"""@projection: from events to a read model, as a value that a module defines.

@projection("order-totals", sink=sql(order_totals))
def totals(event: OrderPlaced, rows: Rows) -> None:
    rows.add(order_totals, {"day": event.day}, orders=1)

@totals.also
def cancelled(event: OrderCancelled, rows: Rows) -> None: ...
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from consumers import retry as policies
from consumers.checks import duration, refused, whole
from consumers.consumer import Consumer, categories_of, group
from consumers.errors import InvalidConsumer
from consumers.handlers import Handler, handler_of, refuse_two_for_one, structs_of
from consumers.retry import Policy, Rules
from eventstore.errors import InvalidRequest
from eventstore.names import plain_name
from projections.rows import Rows
from projections.sink import Opens, Redis, Sql

Poison = Literal["detach", "stop", "skip"]
PREFIX = "projection."


def projection(
    name: str,
    *,
    sink: Opens | Redis,
    version: int = 1,
    categories: Iterable[str] = (),
    system: bool = False,
    poison: Poison = "detach",
    retry: Policy = policies.DEFAULT,
    on: Mapping[type[Exception], Policy] | None = None,
    timeout: str | float = "60s",
) -> Callable[[Any], "Projection"]:
    """Makes a function, or a class with such methods, a projection: it is called with each event of the type that its
    first parameter is annotated with, and says by `rows` what becomes of the read model. It must do nothing else, and
    wait for nothing. Each event has its effect exactly once, whatever fails.

    Events of one stream come in order of version; streams go side by side, so a row depends on one stream, or its
    changes commute (`rows.add`). `version` is raised when the functions or tables change: the read model is then built
    anew beside the present one, and read once it has caught up. `poison`: an event that fails for good takes its stream
    out ("detach": it waits as a dead letter), pauses the projection ("stop"), or is passed over and recorded ("skip").
    Raises InvalidConsumer."""
    if not isinstance(sink, Opens | Redis) or isinstance(sink, type):
        remedy = "sink=sql(Table(...)), redis(), or a value that opens one of your own"
        raise InvalidConsumer(f"sink is {sink!r:.80}", field="sink", remedy=remedy)
    if poison not in ("detach", "stop", "skip"):
        raise refused("poison", poison, "", '"detach", "stop" or "skip"')
    made = Projection(
        _name(name),
        whole("version", version, 1, 65_535),
        sink,
        categories_of(categories),
        system,
        poison,
        policies.rules_of(retry, on),
        duration("timeout", timeout, shortest=0.001),
    )
    return made.also


class Projection(Struct, frozen=True, eq=False):
    """Made by `projection`. Calling it calls the function for the event that is given, for unit tests."""

    name: str
    version: int
    sink: Opens | Redis
    categories: tuple[str, ...]
    system: bool
    poison: Poison
    rules: Rules
    timeout_seconds: float
    _handlers: list[Handler] = field(default_factory=list)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        return tuple(self._handlers)

    @property
    def types(self) -> tuple[type[Struct], ...]:
        return structs_of(self._handlers)

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(str(table.name) for table in self.sink.tables) if isinstance(self.sink, Sql) else ()

    def also(self, function: Any) -> "Projection":
        """Makes a function a further one of the projection, for events that none takes yet; of a class all methods
        whose names do not begin with `_`. Raises InvalidConsumer."""
        made = [handler_of(_inline(each), self.timeout_seconds, "emit", Rows) for each in _functions(function)]
        refuse_two_for_one([*self._handlers, *made])
        self._handlers.extend(made)
        return self

    def consumer(self, group_name: str) -> Consumer:
        """The group that fills a generation."""
        made = group(
            group_name,
            concurrency=1,
            timeout=self.timeout_seconds,
            on_replay="emit",
            categories=self.categories,
            system=self.system,
        )
        return replace(made, rules=self.rules, _handlers=list(self._handlers))

    async def run_in(self, worker: Any) -> None:
        """For `run`."""
        from projections.runner import Runner

        await Runner(self, worker).run()

    def __repr__(self) -> str:
        return f"projection {self.name} version {self.version}"


def _name(name: str) -> str:
    try:
        return plain_name(name, "projection")
    except InvalidRequest as error:
        raise InvalidConsumer(error.detail, field="name", remedy=error.remedy) from error


def _functions(given: Any) -> list[Callable[..., Any]]:
    if not isinstance(given, type):
        return [given]
    made = given()
    methods = [getattr(made, name) for name in vars(given) if not name.startswith("_")]
    found = [each for each in methods if callable(each)]
    if not found:
        raise InvalidConsumer(f"class {given.__name__} has no methods", field="projection", remedy="one for each event")
    return found


def _inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ordinary function is called where it is, for it only collects."""
    if inspect.iscoroutinefunction(function):
        return function

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    return call
