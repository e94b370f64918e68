"""Resources: opened once, given by type, closed in any case."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

import consumers.resources
from consumers.consumer import Consumer, consumer
from consumers.errors import InvalidConsumer
from consumers.resources import Resource, arguments, checked_resources, opened
from tests.support.orders import OrderPlaced

pytestmark = pytest.mark.anyio


class Pool:
    def __init__(self, name: str = "pool") -> None:
        self.name = name


class Client:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def __aenter__(self) -> "Client":
        self.log.append("client opened")
        return self

    async def __aexit__(self, *raised: object) -> None:
        await anyio.lowlevel.checkpoint()
        self.log.append("client closed")


def managed(log: list[str]) -> Any:
    @asynccontextmanager
    async def pool() -> AsyncIterator[Pool]:
        log.append("pool opened")
        async with anyio.create_task_group():  # a resource may have tasks: it must be left where it was entered
            yield Pool()
        log.append("pool closed")

    return pool


async def test_resources_are_opened_in_order_and_closed_in_reverse() -> None:
    log: list[str] = []
    async with opened([Resource(Pool, managed(log)), Resource(Client, Client(log)), Resource(int, 7)]) as values:
        assert (values[Pool].name, values[Client].log, values[int]) == ("pool", log, 7)
        log.append("used")
    assert log == ["pool opened", "client opened", "used", "client closed", "pool closed"]


@pytest.mark.parametrize("given", [Resource(int, 7), 7])
async def test_what_is_no_list_of_resources_is_refused(given: Any) -> None:
    with pytest.raises(InvalidConsumer, match="no list") as refused:
        checked_resources(given, ())
    assert refused.value.remedy == "resources=[Resource(type, factory)]"


async def test_a_function_gives_its_value_async_or_not() -> None:
    async def make() -> Pool:
        await anyio.lowlevel.checkpoint()
        return Pool("made")

    async with opened([Resource(Pool, make), Resource(Annotated[Pool, "b"], lambda: Pool("other"))]) as values:
        assert [each.name for each in values.values()] == ["made", "other"]


async def test_what_cannot_be_opened_closes_what_was_and_is_raised() -> None:
    log: list[str] = []

    def refuse() -> Pool:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError, match="no database"):
        async with opened([Resource(Client, Client(log)), Resource(Pool, refuse)]):
            log.append("used")
    assert log == ["client opened", "client closed"]


@pytest.mark.parametrize("by_scope", [True, False])
async def test_a_cancelled_worker_still_closes_its_resources(by_scope: bool) -> None:
    log: list[str] = []
    is_open = anyio.Event()

    async def work() -> None:
        async with opened([Resource(Pool, managed(log)), Resource(Client, Client(log))]):
            is_open.set()
            await anyio.sleep_forever()

    if by_scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await is_open.wait()
            tasks.cancel_scope.cancel()
    else:
        task = asyncio.create_task(work())
        await is_open.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert log[2:] == ["client closed", "pool closed"]


async def test_a_worker_that_is_cancelled_while_it_opens_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers.resources, "CLOSE_SECONDS", 3_600)  # nobody waits for what opens
    log: list[str] = []
    begun = anyio.Event()

    @asynccontextmanager
    async def slow() -> AsyncIterator[Pool]:
        begun.set()
        try:
            await anyio.sleep_forever()
            yield Pool()
        finally:
            log.append("given up")

    async def work() -> None:
        async with opened([Resource(Client, Client(log)), Resource(Pool, slow)]):
            raise AssertionError("it never opens")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await begun.wait()
        tasks.cancel_scope.cancel()
    assert log == ["client opened", "given up", "client closed"]


async def test_what_fails_to_close_is_logged_and_hides_no_error() -> None:
    @asynccontextmanager
    async def brittle() -> AsyncIterator[Pool]:
        yield Pool()
        raise OSError("broken pipe")

    with capture_logs() as logs, pytest.raises(ValueError, match="the worker's own"):
        async with opened([Resource(Pool, brittle)]):
            raise ValueError("the worker's own")
    assert [(each["event"], each["resource"]) for each in logs] == [("resource_not_closed", "Pool")]
    assert "broken pipe" in logs[0]["error"]


def charging() -> Consumer:
    @consumer("charge")
    async def charge(event: OrderPlaced, pool: Pool, limit: int = 7) -> None: ...

    return charge


def test_a_handler_that_wants_what_there_is_not_is_refused_by_name() -> None:
    handlers = charging().handlers
    with pytest.raises(InvalidConsumer, match=r"handler charge\(pool\) wants a resource of Pool") as caught:
        checked_resources([], handlers)
    assert "Resource(Pool, factory)" in (caught.value.remedy or "")
    checked = checked_resources([Resource(Pool, Pool())], handlers)
    assert arguments(handlers[0], {checked[0].kind: "the pool"}) == {"pool": "the pool"}
    assert arguments(handlers[0], {Pool: "the pool", int: 8}) == {"pool": "the pool", "limit": 8}


def test_two_resources_of_a_type_are_refused() -> None:
    with pytest.raises(InvalidConsumer, match="two resources of Pool") as caught:
        checked_resources([Resource(Pool, Pool()), Resource(Pool, Pool())], ())
    assert "Annotated" in (caught.value.remedy or "")
    with pytest.raises(InvalidConsumer, match="is no Resource"):
        checked_resources([Pool()], ())  # type: ignore[list-item]
