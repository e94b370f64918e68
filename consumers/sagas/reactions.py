"""Reactions: pure functions from the data of a saga and an event to what follows.

    @on(PaymentTaken, correlate=lambda event: event.order)
    def paid(data: Payment, event: PaymentTaken):
        return [replace(data, paid=True), CancelTimer("overdue"), Complete()]

    @on(Timer("overdue"))
    def overdue(data: Payment):
        return Compensate("not paid in time")

What follows is one of these, a list of them, or None: the data as they are then; `To`: an event for a stream; `Undo`:
one for when the saga goes back; `Timer`, `CancelTimer`; `Complete`, `Compensate`.
"""

import inspect
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from consumers.checks import duration
from consumers.errors import InvalidConsumer
from consumers.handlers import event_type_of, name_of
from eventstore.errors import InvalidEvent
from eventstore.event_types import EventType
from eventstore.names import stream_name

Correlate = Callable[[Any], str | Iterable[str] | None]


class Timer(Struct, frozen=True):
    """Fires `after` a while or `at` a time, once; setting one of the same name again puts it in the place of the
    first."""

    name: str
    after: str | float | None = None
    at: datetime | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name.startswith("$"):
            raise InvalidConsumer(f"a timer cannot be called {self.name!r}", field="name", remedy='Timer("overdue")')
        if self.after is not None and self.at is not None:
            raise InvalidConsumer("a timer has after and at", field="at", remedy="give one of them")
        if self.after is not None:
            duration("after", self.after)
        if self.at is not None and (not isinstance(self.at, datetime) or self.at.tzinfo is None):
            raise InvalidConsumer(f"at is {self.at!r:.80}", field="at", remedy="a datetime with a time zone")

    def due_us(self, now_us: int) -> int:
        """When it fires if it is set now."""
        if self.at is not None:
            return round(self.at.timestamp() * 1_000_000)
        if self.after is None:
            raise InvalidEvent(
                f"timer {self.name} has no time", field="after", remedy=f'Timer("{self.name}", after="15m")'
            )
        return now_us + round(duration("after", self.after) * 1_000_000)


class CancelTimer(Struct, frozen=True):
    name: str


class Undo(Struct, frozen=True):
    """An event that is sent to a stream if the saga goes back; the last one first."""

    stream: str
    event: Any


class Complete(Struct, frozen=True):
    pass


class Compensate(Struct, frozen=True):
    """The saga goes back."""

    why: str


class Reaction(Struct, frozen=True, eq=False):
    """Made by `on`. Calling it calls its function."""

    function: Callable[..., Any]
    event: EventType | None
    timer: str | None
    correlate: Correlate | None
    starts: bool

    @property
    def key(self) -> str:
        return self.event.name if self.event is not None else f"timer {self.timer}"

    @property
    def name(self) -> str:
        return name_of(self.function)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Wait(Struct, frozen=True, eq=False):
    """What a step waits for."""

    event: EventType
    correlate: Correlate
    then: Callable[[Any, Any], Any] | None


def on(
    what: type[Struct] | Timer, *, correlate: Correlate | None = None, starts: bool = False
) -> Callable[[Callable[..., Any]], Reaction]:
    """Makes a pure function the reaction of a saga to an event, `function(data, event)`, or to a timer,
    `function(data)`. `correlate(event)` gives the saga's id, several of them, or None if it is for no saga. With
    `starts` the event begins the saga; `data` is None then, and the function returns the first data. Raises
    InvalidConsumer."""

    def make(function: Callable[..., Any]) -> Reaction:
        name = name_of(function)
        if inspect.iscoroutinefunction(function):
            remedy = "def, without async: a reaction is pure; let a step do it, or a consumer of what is sent"
            raise InvalidConsumer(f"reaction {name} is async", field=name, remedy=remedy)
        if isinstance(what, Timer):
            return Reaction(function, None, what.name, None, False)
        if not callable(correlate):
            remedy = "@on(Event, correlate=lambda event: event.order)"
            raise InvalidConsumer(f"nothing ties the event of {name} to a saga", field="correlate", remedy=remedy)
        return Reaction(function, event_type_of(what, f"on({name})"), None, correlate, starts)

    return make


def wait_for(event: type[Struct], correlate: Correlate, then: Callable[[Any, Any], Any] | None) -> Wait:
    """Raises InvalidConsumer."""
    if not callable(correlate):
        remedy = "correlate=lambda event: event.order"
        raise InvalidConsumer("nothing ties the event to a saga", field="correlate", remedy=remedy)
    return Wait(event_type_of(event, "wait"), correlate, then)


def ids_of(correlate: Correlate, event: Any, saga: str) -> tuple[str, ...]:
    """The ids of the sagas that an event concerns, each once. Raises InvalidEvent for what is no id."""
    found = correlate(event)
    is_one = isinstance(found, str) or not isinstance(found, Iterable)
    every: tuple[Any, ...] = () if found is None else (found,) if is_one else tuple(found)
    for each in every:
        if not isinstance(each, str) or not each:
            raise InvalidEvent(
                f"correlate of saga {saga} gave {each!r:.80}",
                field="correlate",
                remedy="a text, several of them, or None",
            )
        stream_name(f"saga-{saga}-{each}")
    return tuple(dict.fromkeys(every))
