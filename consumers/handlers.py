"""Handlers: what a function takes, told by the annotations of its parameters.

    async def charge(event: OrderPlaced, ctx: Context, pool: Pool) -> PaymentTaken: ...

The first parameter says which events: a Struct, a union of them, or RecordedEvent for those of every type. A parameter
annotated with Context gets it, whatever its name; every other one gets the resource of the annotated type, or keeps its
default where there is none. Looked at once, when the consumer is defined: what cannot work is refused there.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from consumers.context import Context
from consumers.errors import InvalidConsumer
from eventstore.envelope import NewEvent, RecordedEvent, Untyped
from eventstore.errors import EventTypeError, InvalidRequest
from eventstore.event_types import EventType, event_type

OnReplay = Literal["drop", "emit", "skip"]
_NO_EVENTS = (Struct, NewEvent, Untyped, Context)
_FIRST = "annotate it with the event that it takes: event: OrderPlaced, a union, or RecordedEvent for every type"


class Wanted(Struct, frozen=True):
    """A parameter that gets a resource. `kind` is its annotation."""

    parameter: str
    kind: Any
    has_default: bool


class Handler(Struct, frozen=True):
    """A function of a group and the events it takes: those of `types`, or of every type in their envelopes."""

    function: Callable[..., Any]
    name: str
    types: tuple[EventType, ...]
    takes_envelope: bool
    context: str | None
    """The parameter that gets the Context."""
    resources: tuple[Wanted, ...]
    is_async: bool
    timeout_seconds: float
    on_replay: OnReplay

    @property
    def file(self) -> str:
        """Where it is written, for its place in a traceback."""
        code = getattr(inspect.unwrap(_plain(self.function)), "__code__", None)
        return code.co_filename if code is not None else ""


def handler_of(
    function: Callable[..., Any], timeout_seconds: float, on_replay: OnReplay, context_type: type[Context] = Context
) -> Handler:
    """Raises InvalidConsumer, which names function, parameter and remedy."""
    name = name_of(function)
    is_async = is_async_function(function, name)
    first, *others = parameters_of(function, name)
    types, takes_envelope = _taken(first.annotation, f"{name}({first.name})")
    context, resources = further(others, context_type, name)
    return Handler(function, name, types, takes_envelope, context, resources, is_async, timeout_seconds, on_replay)


def further(parameters: Iterable[inspect.Parameter], context: type, name: str) -> tuple[str | None, tuple[Wanted, ...]]:
    """The parameter that gets the context, and those that get resources."""
    others = tuple(parameters)
    contexts = [each.name for each in others if each.annotation is context]
    if len(contexts) > 1:
        raise unusable(f"{name}({contexts[1]})", f"is a second {context.__name__}", "take it once")
    resources = (
        Wanted(each.name, each.annotation, each.default is not each.empty)
        for each in others
        if each.annotation is not context
    )
    return contexts[0] if contexts else None, tuple(resources)


def structs_of(handlers: Iterable[Handler]) -> tuple[type[Struct], ...]:
    """The events that are taken."""
    return tuple(kind.struct for handler in handlers for kind in handler.types)


def name_of(function: Callable[..., Any]) -> str:
    """As messages call it."""
    name = getattr(_plain(function), "__qualname__", None) or repr(function)
    return str(name).rpartition("<locals>.")[2]


def refuse_two_for_one(handlers: Iterable[Handler]) -> None:
    """An event of a group has one handler, or nobody could say when it is finished."""
    taken: dict[str, Handler] = {}
    every: Handler | None = None
    for handler in handlers:
        for kind in handler.types:
            for name in (kind.name, *kind.formerly):
                if name in taken:
                    raise _both(name, taken[name], handler)
                taken[name] = handler
        if every is not None:
            raise _both("events of every type", every, handler)
        if handler.takes_envelope and taken:
            raise _both(f"events of every type, {next(iter(taken))} too", next(iter(taken.values())), handler)
        every = handler if handler.takes_envelope else None


def _both(what: str, one: Handler, other: Handler) -> InvalidConsumer:
    return InvalidConsumer(
        f"both {one.name} and {other.name} take {what}, in one group",
        field="event",
        remedy="one handler for each type; give one of them a group of its own: @consumer(name)",
    )


def is_async_function(function: Callable[..., Any], name: str) -> bool:
    plain = _plain(function)
    if not callable(function) or isinstance(function, type):
        raise unusable(name, "is no function", "decorate a function: async def handler(event: OrderPlaced)")
    called = plain if inspect.isroutine(plain) else type(plain).__call__  # of an object that is called
    if inspect.isasyncgenfunction(called) or inspect.isgeneratorfunction(called):
        raise unusable(name, "is a generator", "return a list of events")
    return inspect.iscoroutinefunction(called)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without functools.partial around it."""
    while isinstance(function, partial):
        function = function.func
    return function


def parameters_of(
    function: Callable[..., Any],
    name: str,
    *,
    what: str = "event",
    first: str = _FIRST,
    context: str = "Context",
) -> Iterator[inspect.Parameter]:
    """With the annotations as types, where they are written as text. `what` it takes first, and how that and its
    context are annotated, is told where they are not."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise unusable(name, f"has no signature ({error})", "decorate a plain function") from error
    if not parameters or parameters[0].kind in (parameters[0].KEYWORD_ONLY, parameters[0].VAR_KEYWORD):
        raise unusable(name, f"takes no {what}", f"give it a first parameter, and {first}")
    for place, parameter in enumerate(parameters):
        where = f"{name}({parameter.name})"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise unusable(where, "takes any number of arguments", "name and annotate each parameter")
        if place and parameter.kind is parameter.POSITIONAL_ONLY:
            raise unusable(where, "can only be given by its place", "move the / behind the first parameter")
        if parameter.annotation is parameter.empty and (not place or parameter.default is parameter.empty):
            remedy = f"annotate it with {context}, or with the type of a resource" if place else first
            raise unusable(where, "has no annotation", remedy)
        yield parameter.replace(annotation=_evaluated(function, parameter, where))


def _evaluated(function: Callable[..., Any], parameter: inspect.Parameter, where: str) -> Any:
    """Each on its own, so that a name which only the type checker knows may stand elsewhere."""
    if parameter.annotation is parameter.empty:
        return Any
    known = getattr(inspect.unwrap(_plain(function)), "__globals__", {})
    alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        found = get_type_hints(alone, known, _names_around(), include_extras=True)[parameter.name]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise unusable(
            where,
            f"has an annotation that cannot be told: {error}",
            "import what it names where the handler is defined, not under TYPE_CHECKING",
        ) from error
    return getattr(found, "__value__", found)  # of `type Orders = OrderPlaced | OrderPaid`


def _names_around() -> dict[str, Any]:
    """The local names of where the consumer is defined, for annotations written as text inside of a function."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "consumers":
        frame = frame.f_back
    return dict(frame.f_locals) if frame is not None else {}


def _taken(annotation: Any, where: str) -> tuple[tuple[EventType, ...], bool]:
    """The event types, or whether it is the envelope of all."""
    if annotation is RecordedEvent:
        return (), True
    return tuple(event_type_of(member, where) for member in dict.fromkeys(_members(annotation))), False


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(getattr(member, "__value__", member))
    else:
        yield get_args(annotation)[0] if origin is Annotated else annotation


def event_type_of(member: Any, where: str) -> EventType:
    if member is RecordedEvent:
        raise unusable(where, "takes RecordedEvent beside other types", "RecordedEvent alone: it is for every type")
    if not isinstance(member, type) or not issubclass(member, Struct) or member in _NO_EVENTS:
        raise unusable(where, f"is annotated with {_spelt(member)}, which is no event", _FIRST)
    try:
        return event_type(member)
    except (EventTypeError, InvalidRequest) as error:
        raise unusable(where, f"takes {member.__name__}: {error.detail}", error.remedy or _FIRST) from error


def _spelt(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def unusable(where: str, why: str, remedy: str) -> InvalidConsumer:
    return InvalidConsumer(f"handler {where} {why}", field=where, remedy=remedy)
