"""A log of its own for each test of code that is not async."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from eventstore import SyncEventStore
from tests.support.servers import Server
from tests.support.stores import Noted, settings_of


@contextmanager
def open_sync_store(
    server: Server, *, types: Sequence[type[Struct]] = (Noted,), **log: Any
) -> Iterator[SyncEventStore]:
    """A log under a fresh prefix, with four partitions. Its keys go when the block ends."""
    settings = settings_of(server, **log)
    try:
        with SyncEventStore.open(settings=settings, types=types) as store:
            yield store
    finally:
        if keys := server.admin("KEYS", f"{settings.eventstore.prefix}:*"):
            server.admin("DEL", *keys)


def tasks_of(store: SyncEventStore) -> int:
    """How much runs in the loop of a store, beside what holds it open and this question itself."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 2

    return store._loop.call(count)
