"""Consumers that run beside a test, until it has seen enough."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from consumers.keys import effect_key, group_keys
from consumers.resources import Resource
from consumers.run import run
from consumers.runnable import Runnable
from eventstore import EventStore
from infrastructure.tasks import plain_errors
from tests.support.servers import tries


@asynccontextmanager
async def running(
    store: EventStore,
    *consumers: Runnable,
    resources: Sequence[Resource] = (),
    lease_seconds: float = 10.0,
) -> AsyncIterator[anyio.Event]:
    """One worker, for as long as the block lasts; then it drains and hands over. Yields what stops it earlier."""
    stop = anyio.Event()
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, store, consumers, resources, stop, lease_seconds)
            try:
                yield stop
            finally:
                stop.set()


async def _run(
    store: EventStore,
    consumers: Sequence[Runnable],
    resources: Sequence[Resource],
    stop: anyio.Event,
    lease_seconds: float,
) -> None:
    await run(store, consumers, resources=resources, stop=stop, lease_seconds=lease_seconds)


async def control(store: EventStore, group: str, partition: int) -> dict[str, str]:
    """What is stored of a group in a partition."""
    key = group_keys(store.log.keys, group, partition).control
    flat: list[Any] = await store.log.redis.execute(key, "HGETALL", key)
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


async def owners(store: EventStore, group: str) -> list[str]:
    """Who holds each partition; empty for nobody."""
    return [(await control(store, group, p)).get("owner", "") for p in range(store.log.partitions)]


async def lag(store: EventStore, group: str) -> int | None:
    """Events behind the offsets, as Redis counts them for its own groups; None while the group is not there."""
    total = 0
    for partition in range(store.log.partitions):
        key = store.log.keys.events(partition)
        found = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in await _groups(store, key)]
        ours = [facts for facts in found if facts[b"name"] == group.encode()]
        if not ours:
            return None
        total += int(ours[0][b"lag"])
    return total


async def _groups(store: EventStore, key: str) -> list[list[Any]]:
    groups: list[list[Any]] = await store.log.redis.execute(key, "XINFO", "GROUPS", key)
    return groups


async def until_lag(store: EventStore, group: str, wanted: int = 0) -> None:
    async for _ in tries():
        if await lag(store, group) == wanted:
            return


async def counted(store: EventStore, group: str, name: str) -> dict[str, int]:
    """What handlers counted by effects in the hashes of that name, of all partitions."""
    found: dict[str, int] = {}
    for partition in range(store.log.partitions):
        key = effect_key(store.log.keys, group, partition, name)
        flat: list[Any] = await store.log.redis.execute(key, "HGETALL", key)
        found |= {field.decode(): int(n) for field, n in zip(flat[::2], flat[1::2], strict=True)}
    return found
