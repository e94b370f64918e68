"""A process that reads a log slowly, to see what it holds meanwhile: `python -m tests.support.slow_reader JSON`.

It says `open` and its memory when its store is open, and `reading` once each of its readers has had an event. It ends
with its input.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
from msgspec import Struct, json

from eventstore import EventStore
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.memory import peak_bytes
from tests.support.stores import Noted

Way = Literal["subscribe", "read_all"]
Pace = Literal["stopped", "slow", "fast"]
SLOW_SECONDS = 0.1


class Slow(Struct, frozen=True):
    """How many readers of which kind, and what each does after its first event: `stopped` takes no more, `slow` ten a
    second, `fast` all of them, again and again."""

    url: str
    prefix: str
    way: Way = "subscribe"
    order: Literal["partition", "total"] = "partition"
    readers: int = 1
    pace: Pace = "stopped"


def start(slow: Slow) -> "subprocess.Popen[str]":
    """Whoever starts it kills it, or closes its input."""
    command = [sys.executable, "-m", "tests.support.slow_reader", json.encode(slow).decode()]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], text=True, **pipes)


async def main(slow: Slow) -> None:
    settings = Settings(redis=RedisSettings(url=SecretUrl(slow.url)), eventstore=LogSettings(prefix=slow.prefix))
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(EventStore.open(settings=settings, types=[Noted]))
        print("open", peak_bytes(os.getpid()), flush=True)

        def begin() -> Any:
            return store.subscribe(order=slow.order) if slow.way == "subscribe" else store.read_all(order=slow.order)

        readers = [await stack.enter_async_context(aclosing(begin())) for _ in range(slow.readers)]
        for reader in readers:
            await anext(reader)
        print("reading", flush=True)
        async with anyio.create_task_group() as tasks:
            if slow.pace == "slow":
                tasks.start_soon(_take_slowly, readers)
            if slow.pace == "fast":
                tasks.start_soon(_take_all, begin)
            await anyio.to_thread.run_sync(sys.stdin.read)
            tasks.cancel_scope.cancel()


async def _take_slowly(readers: list[Any]) -> None:
    while True:
        await anyio.sleep(SLOW_SECONDS)
        for reader in readers:
            await anext(reader)


async def _take_all(begin: Callable[[], Any]) -> None:
    while True:
        async with aclosing(begin()) as subscription:
            await anext(subscription)
            while not subscription.caught_up:
                await anext(subscription)


if __name__ == "__main__":
    anyio.run(main, json.decode(sys.argv[1], type=Slow))
