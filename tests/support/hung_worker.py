"""A worker process with a handler in a thread that never ends. SIGTERM stops it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from consumers.consumer import consumer
from consumers.run import run
from eventstore import EventStore, RecordedEvent
from tests.support.stopping import stopped_by_sigterm

GROUP = "hangs"


@consumer(GROUP, grace="100ms")
def hang(event: RecordedEvent) -> None:
    print("begun", flush=True)
    threading.Event().wait()


async def _work() -> None:
    async with EventStore.open() as store:
        with stopped_by_sigterm() as stop:
            await run(store, [hang], stop=stop)


@contextmanager
def hung_worker(store: EventStore, url: str) -> Iterator["subprocess.Popen[str]"]:
    """The process, killed when the block ends."""
    settings = {"REDIS_URL": url, "EVENTSTORE_PREFIX": store.log.settings.prefix}
    environment = {**os.environ, **settings, "EVENTSTORE_PARTITIONS": str(store.log.partitions)}
    command = [sys.executable, "-m", "tests.support.hung_worker"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until_begun(process: "subprocess.Popen[str]") -> None:
    """Returns when the handler runs."""
    assert process.stdout is not None
    assert any(line.startswith("begun") for line in process.stdout)


if __name__ == "__main__":
    anyio.run(_work)
