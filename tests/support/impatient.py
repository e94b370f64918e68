"""A store that waits for a server's replies only shortly, so that a stall is soon a lost reply."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from eventstore import EventStore, Unavailable
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.stores import open_store


@asynccontextmanager
async def impatient_store(port: int, seconds: float, **log: Any) -> AsyncIterator[EventStore]:
    """Opened as often as it takes: a busy machine may not answer in so short a time."""
    url = SecretUrl(f"redis://127.0.0.1:{port}")
    where = RedisSettings(url=url, socket_timeout_seconds=seconds)
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(open_store(where, **log))
                break
            except Unavailable as error:
                if error.reason != "timeout":
                    raise
        yield store
