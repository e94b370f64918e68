"""A log of its own for each test, on a server that tests share."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from msgspec import Struct

from eventstore import EventStore
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.servers import Server


class Noted(Struct, frozen=True):
    n: int
    text: str = ""


def settings_of(where: Server | RedisSettings, **log: Any) -> Settings:
    """Settings of a log with four partitions, unless `log` says otherwise: on a shared server under a fresh prefix, on
    one that is given by its settings under the usual one."""
    if isinstance(where, Server):
        chosen = {"prefix": f"t-{uuid4().hex[:8]}", "partitions": 4, **log}
        return Settings(redis=where.settings, eventstore=LogSettings(**chosen))
    return Settings(redis=where, eventstore=LogSettings(**{"partitions": 4, "durability": "memory", **log}))


@asynccontextmanager
async def open_store(
    where: Server | RedisSettings, *, types: Sequence[type[Struct]] = (Noted,), read_only: bool = False, **log: Any
) -> AsyncIterator[EventStore]:
    """A log. On a shared server its keys go when the block ends."""
    settings = settings_of(where, **log)
    async with EventStore.open(settings=settings, types=types, read_only=read_only) as store:
        yield store
    if isinstance(where, Server):
        keys = where.admin("KEYS", f"{settings.eventstore.prefix}:*")
        if keys:
            where.admin("DEL", *keys)


async def forget_ids(store: EventStore) -> None:
    """What the log remembers of ids when the duplicate window has passed: nothing."""
    log = store.log
    for partition in range(log.partitions):
        for bucket in log.keys.duplicates(partition):
            await log.redis.run(bucket, ("DEL", bucket), ("HSET", bucket, "", ""))


def rewrite(server: Server, key: str, change: Callable[[int, bytes], bytes]) -> None:
    """Makes the stream `key` anew with the same ids, each value changed: what somebody with access to Redis can do."""
    stored = server.admin("XRANGE", key, "-", "+")
    server.admin("DEL", key)
    for entry_id, (field, value) in stored:
        server.admin("XADD", key, entry_id, field, change(int(entry_id.partition(b"-")[2]), value))


_OF_GROUP = rb"g:[\w.-]+(:(detached|due|orders|errors|bell|members))?|x:[\w.-]+:.+"
_OF_TIMERS = rb"timers(:(what|bell|members(:bell)?))?"
_OF_PARTITION = rb"log|head|urgent|dup:[01]|out|in|i:.+|snap:.+|" + _OF_TIMERS + rb"|" + _OF_GROUP
_KNOWN_KEY = re.compile(rb"[\w.:-]+:(log|\{log\.\d+\.\d+\}:(" + _OF_PARTITION + rb"))", re.DOTALL)


def strange_keys(server: Server) -> list[bytes]:
    """Keys that no log has: left behind by a script, or spelled wrongly."""
    return [key for key in server.admin("KEYS", "*") if not _KNOWN_KEY.fullmatch(key)]
