"""A worker process whose handler charges every card, and notes in Redis, with the commit, whose it was."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from consumers.consumer import consumer
from consumers.context import Context
from consumers.keys import effect_key
from consumers.run import run
from eventstore import EventStore, RecordedEvent

GROUP, CHARGED, LEASE_SECONDS = "charge-cards", "charged", 1.0


@consumer(GROUP)
async def charge(event: RecordedEvent, ctx: Context) -> None:
    ctx.effects.hincrby(CHARGED, event.stream)


async def _work() -> None:
    async with EventStore.open() as store:
        await run(store, [charge], lease_seconds=LEASE_SECONDS)


async def charged(store: EventStore) -> dict[str, int]:
    """How many events of each stream have been handled."""
    found: dict[str, int] = {}
    for partition in range(store.log.partitions):
        key = effect_key(store.log.keys, GROUP, partition, CHARGED)
        flat = await store.log.redis.execute(key, "HGETALL", key)
        found |= {stream.decode(): int(times) for stream, times in zip(flat[::2], flat[1::2], strict=True)}
    return found


@contextmanager
def letter_worker(store: EventStore) -> Iterator["subprocess.Popen[bytes]"]:
    """One on the log of a store, killed when the block ends."""
    url = store.log.redis.settings.url
    assert url is not None
    environment = {"REDIS_URL": url.reveal(), "EVENTSTORE_PREFIX": store.log.settings.prefix}
    command = [sys.executable, "-m", "tests.support.letter_worker"]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    anyio.run(_work)
