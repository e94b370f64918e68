"""What a worker's log tells its operator, and what it spares him."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from consumers.consumer import consumer
from consumers.retry import Immediate
from eventstore import EventStore, RecordedEvent
from tests.support.running import running
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


async def test_that_an_event_was_parked_is_told_once_with_what_to_look_at(store: EventStore) -> None:
    @consumer("telling", retry=Immediate(attempts=4))
    async def handle(event: RecordedEvent) -> None:
        if event.version == 2:
            raise ValueError("no money")

    await store.append("order-42", [Noted(1), Noted(2), Noted(3)])
    with capture_logs() as logs:
        async with running(store, handle):
            await until(lambda: any(each["event"] == "event_parked" for each in logs))
    (told,) = [each for each in logs if each["event"] == "event_parked"]
    assert told["error"].startswith("ValueError: no money at test_told.py:")
    assert {name: told[name] for name in ("log_level", "group", "at", "type", "attempts", "remedy")} == {
        "log_level": "warning",
        "group": "telling",
        "at": "order-42@2",
        "type": "Noted",
        "attempts": 4,
        "remedy": "eventstore dlq show telling order-42",
    }
