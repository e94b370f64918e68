"""What the log promises, on each server that it promises to run on, in a container: the core of the contract."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from eventstore import EventStore
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support import log_contract
from tests.support.log_contract import TYPES, holds

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

CORE = (
    log_contract.what_is_expected_decides,
    log_contract.a_repeat_gives_the_first_receipt,
    log_contract.concurrent_writers_lose_and_double_nothing,
    log_contract.several_streams_are_written_and_checked_at_once,
    log_contract.all_ways_of_reading_agree,
    log_contract.a_subscription_goes_from_history_to_live_and_resumes,
)


@pytest.fixture
async def store(any_server: str) -> AsyncIterator[EventStore]:
    settings = Settings(
        redis=RedisSettings(url=SecretUrl(any_server)),
        eventstore=LogSettings(prefix=f"t-{uuid4().hex[:8]}", partitions=4, durability="memory"),
    )
    async with EventStore.open(settings=settings, types=TYPES) as opened:
        yield opened


@pytest.mark.parametrize("promise", CORE, ids=lambda promise: promise.__name__)
async def test_the_log_keeps_its_promise(store: EventStore, promise: Callable[[EventStore], Awaitable[None]]) -> None:
    await holds(promise, store)
