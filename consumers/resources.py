"""Resources: a database pool, an HTTP client; opened once per worker, given to handlers by type.

    await run(store, [charge], resources=[Resource(Pool, make_pool)])

Each is opened and closed in a task of its own, which nothing else cancels: closing is not broken off by what ends the
worker, and takes `CLOSE_SECONDS` at most.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from msgspec import Struct

from consumers.errors import InvalidConsumer
from consumers.handlers import Handler
from infrastructure.tasks import to_the_end

CLOSE_SECONDS = 10.0
_logger = structlog.get_logger(__name__)


class Resource(Struct, frozen=True):
    """What parameters annotated with `kind` get: `factory` itself; or what that gives, if it is a function without
    arguments, async or not. An async context manager is entered, and left at the end."""

    kind: Any
    factory: Any


def checked_resources(given: Iterable[Resource], handlers: Iterable[Handler]) -> tuple[Resource, ...]:
    """Before anything is opened: each handler gets all it wants. Raises InvalidConsumer."""
    if isinstance(given, Resource) or not isinstance(given, Iterable):
        raise InvalidConsumer(
            f"resources is {given!r:.80}, no list", field="resources", remedy="resources=[Resource(type, factory)]"
        )
    resources = tuple(given)
    kinds: set[Any] = set()
    for each in resources:
        if not isinstance(each, Resource):
            raise InvalidConsumer(f"{each!r:.80} is no Resource", field="resources", remedy="Resource(type, factory)")
        if each.kind in kinds:
            raise InvalidConsumer(
                f"there are two resources of {_spelt(each.kind)}",
                field="resources",
                remedy='tell them apart by Annotated: Resource(Annotated[Pool, "orders"], ...), and so in the handler',
            )
        kinds.add(each.kind)
    for handler in handlers:
        _must_have(handler, kinds)
    return resources


def arguments(handler: Handler, opened: Mapping[Any, Any]) -> dict[str, Any]:
    """What the handler is called with, by parameter."""
    _must_have(handler, opened.keys())
    return {wanted.parameter: opened[wanted.kind] for wanted in handler.resources if wanted.kind in opened}


def _must_have(handler: Handler, kinds: Collection[Any]) -> None:
    for wanted in handler.resources:
        if wanted.kind not in kinds and not wanted.has_default:
            kind = _spelt(wanted.kind)
            raise InvalidConsumer(
                f"handler {handler.name}({wanted.parameter}) wants a resource of {kind}, and there is none",
                field="resources",
                remedy=f"resources=[Resource({kind}, factory)]; of a module that `eventstore work` or `up` runs: define"
                f" it there, such as resource = Resource({kind}, factory); a Context is annotated with Context",
            )


@asynccontextmanager
async def opened(resources: Iterable[Resource]) -> AsyncIterator[dict[Any, Any]]:
    """The values by kind, opened in the order given and closed in the reverse. Raises what opening one raises."""
    kept: list[_Kept] = []
    values: dict[Any, Any] = {}
    try:
        for resource in resources:
            keeper = _Kept(resource)
            kept.append(keeper)
            values[resource.kind] = await keeper.opened()
        yield values
    finally:
        await to_the_end(partial(_close, kept[::-1]))


class _Kept:
    """A resource, held open by its task."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.closing = asyncio.Event()
        self._value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.task = asyncio.get_running_loop().create_task(self._hold())

    async def opened(self) -> Any:
        await asyncio.wait((self.task, self._value), return_when=asyncio.FIRST_COMPLETED)
        if not self._value.done():
            self.task.result()  # raises: it has ended without a value
        return self._value.result()

    async def _hold(self) -> None:
        made = await _made(self.resource)
        if not hasattr(made, "__aenter__"):
            self._value.set_result(made)
            return
        async with made as value:
            self._value.set_result(value)
            await self.closing.wait()

    def close(self) -> None:
        self.closing.set()
        if not self._value.done():
            self.task.cancel()


async def _made(resource: Resource) -> Any:
    factory = resource.factory
    is_value = isinstance(resource.kind, type) and type(factory) is resource.kind
    made = factory() if callable(factory) and not is_value else factory
    return await made if inspect.isawaitable(made) and not hasattr(made, "__aenter__") else made


async def _close(kept: Iterable[_Kept]) -> None:
    last = asyncio.get_running_loop().time() + CLOSE_SECONDS
    for each in kept:
        each.close()
        await asyncio.wait((each.task,), timeout=max(last - asyncio.get_running_loop().time(), 0))
        if not each.task.done():
            each.task.cancel()
            await asyncio.wait((each.task,), timeout=1)
            _logger.warning("resource_not_closed", resource=_spelt(each.resource.kind), seconds=CLOSE_SECONDS)
        elif not each.task.cancelled() and (error := each.task.exception()) is not None:
            _logger.warning("resource_not_closed", resource=_spelt(each.resource.kind), error=repr(error))


def _spelt(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
