"""Middleware: what is told of every attempt of a group, for metrics, traces and logs.

It watches. An error of its own is logged and changes no outcome.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from consumers.context import Context
from consumers.errors import InvalidConsumer
from eventstore.envelope import RecordedEvent

Hook = Callable[..., Any]


class Middleware:
    """Override what is of interest; any object that has one of these methods will do, async or not. They share the
    event loop with the handlers, so one that waits must be async."""

    async def start(self, event: RecordedEvent, ctx: Context) -> None:
        """An attempt begins."""

    async def success(self, event: RecordedEvent, ctx: Context, seconds: float) -> None:
        """The handler has returned after so long, something that can be carried out."""

    async def failure(self, event: RecordedEvent, ctx: Context, error: BaseException, seconds: float) -> None:
        """The attempt has failed. An interrupted one (shutdown) is neither this nor a success."""


class Hooks(Struct, frozen=True):
    """The methods of all middleware of a group that do something."""

    start: tuple[Hook, ...] = ()
    success: tuple[Hook, ...] = ()
    failure: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.start or self.success or self.failure)


def hooks_of(middleware: Iterable[object]) -> Hooks:
    """The first that was given is told of a start first, of an end last."""
    given = tuple(middleware)
    return Hooks(_named("start", given), _named("success", given)[::-1], _named("failure", given)[::-1])


def checked_middleware(given: Iterable[object]) -> tuple[object, ...]:
    """Raises InvalidConsumer for what would never be called."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidConsumer("middleware is no list", field="middleware", remedy="middleware=[Metrics()]")
    checked = tuple(given)
    for each in checked:
        if isinstance(each, type) or not any(_named(name, (each,)) for name in Hooks.__struct_fields__):
            raise InvalidConsumer(
                f"{each!r:.80} has no method start, success or failure",
                field="middleware",
                remedy="an instance of a class that overrides one of those of consumers.Middleware",
            )
    return checked


def _named(name: str, middleware: Iterable[object]) -> tuple[Hook, ...]:
    found = (getattr(each, name, None) for each in middleware)
    nothing = getattr(Middleware, name)
    return tuple(hook for hook in found if callable(hook) and getattr(hook, "__func__", None) is not nothing)
