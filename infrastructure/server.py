"""The server that the settings name, or our own where they name none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from infrastructure.connect import Redis, connect
from infrastructure.embedded import embedded
from infrastructure.settings import SecretUrl, Settings


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[Redis]:
    """A connection to the configured server; without one, the embedded server of `data_dir` is started or adopted, and
    started again with its data if it dies. Raises Unavailable."""
    if settings.redis.configured:
        async with connect(settings.redis) as redis:
            yield redis
        return
    async with (
        embedded(settings.eventstore.data_dir) as server,
        connect(replace(settings.redis, url=SecretUrl(server.url)), revive=server.restart_if_dead) as redis,
    ):
        yield redis
