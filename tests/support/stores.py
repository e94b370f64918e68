"""A log of its own for each test, on a server that tests share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from eventstore.store import EventStore
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.servers import Server


def settings_of(server: Server, **log: Any) -> Settings:
    """Settings of a new log under a fresh prefix; four partitions unless `log` says otherwise."""
    chosen = {"prefix": f"t-{uuid4().hex[:8]}", "partitions": 4, **log}
    return Settings(redis=RedisSettings(url=server.settings.url), eventstore=LogSettings(**chosen))


@asynccontextmanager
async def open_store(server: Server, **log: Any) -> AsyncIterator[EventStore]:
    """A new log on the server, gone when the block ends."""
    settings = settings_of(server, **log)
    async with EventStore.open(settings=settings) as store:
        yield store
    keys = server.admin("KEYS", f"{settings.eventstore.prefix}:*")
    if keys:
        server.admin("DEL", *keys)


def rewrite(server: Server, key: str, change: Callable[[int, bytes], bytes]) -> None:
    """Makes the stream `key` anew with the same ids, each value changed: what somebody with access to Redis can do."""
    stored = server.admin("XRANGE", key, "-", "+")
    server.admin("DEL", key)
    for entry_id, (field, value) in stored:
        server.admin("XADD", key, entry_id, field, change(int(entry_id.partition(b"-")[2]), value))
