"""A log of any size, filled through the public API, and what is measured on it.

Each stream has as many events, in two places of the log. Half of the streams are appended to while it is measured; the
other half are read, so that what is read is the same at every size.
"""

import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from msgspec import Struct

from benchmarks.log_appends import settings
from benchmarks.measure import Sample, check_count, timed
from benchmarks.own_server import BenchServer
from eventstore.expected import Expected
from eventstore.store import EventStore

PARTITIONS = 16
FILLING_TASKS = 512
TASKS = 50


class Counted(Struct, frozen=True):
    """Some 100 bytes of JSON: 10,000,000 of them are to fit into memory."""

    number: int
    account: str = "customer-00001234"
    note: str = "as agreed on the telephone, delivery on Monday"


class FlatLog:
    """`streams` are there, with `each` events and those that were appended beyond."""

    def __init__(self, server: BenchServer, store: EventStore, each: int, empty_bytes: int) -> None:
        self.streams = 0
        self._server, self._store, self._each, self._empty_bytes = server, store, each, empty_bytes
        self._beyond: dict[int, int] = {}  # versions above `each`
        self._chance = random.Random(1)

    async def grow(self, streams: int) -> None:
        """To so many streams; counted at the server."""
        for half in (self._each // 2, self._each - self._each // 2):
            if half:
                await _by_tasks(FILLING_TASKS, partial(self._fill, self.streams, streams, half))
        self.streams = streams
        keys = self._store.log.keys
        stored = [await self._server.admin.xlen(keys.events(p)) for p in range(PARTITIONS)]
        check_count("the log", sum(stored), self.events)

    @property
    def events(self) -> int:
        return self.streams * self._each + sum(self._beyond.values())

    async def bytes_per_event(self) -> float:
        """All memory of the server that was not in use when the log was empty."""
        memory = await self._server.admin.info("memory")
        return float(memory["used_memory"] - self._empty_bytes) / self.events

    async def append(self, times: int, *, exact: bool) -> Sample:
        """One event each to random streams."""
        work = partial(_by_tasks, TASKS, partial(self._append, times // TASKS, exact))
        return await timed(self._server, times // TASKS * TASKS, work)

    async def read(self, times: int) -> Sample:
        """All events of random streams. A sample's `events` are streams here."""
        work = partial(_by_tasks, TASKS, partial(self._read, times // TASKS))
        return await timed(self._server, times // TASKS * TASKS, work)

    async def _fill(self, first: int, end: int, events: int, task: int) -> None:
        for stream in range(first + task, end, FILLING_TASKS):
            await self._store.append(_name(stream), [Counted(number) for number in range(events)])

    async def _append(self, times: int, exact: bool, task: int) -> None:
        for _ in range(times):
            stream = self._chosen(task, 0)
            beyond = self._beyond.get(stream, 0)
            expected = self._each + beyond if exact else Expected.ANY
            receipt = await self._store.append(_name(stream), [Counted(beyond)], expected=expected)
            self._beyond[stream] = beyond + 1
            check_count(_name(stream), receipt.version, self._each + beyond + 1)

    async def _read(self, times: int, task: int) -> None:
        for _ in range(times):
            stream = _name(self._chosen(task, 1))
            found = [event.version async for event in self._store.read(stream)]
            check_count(stream, len(found), self._each)

    def _chosen(self, task: int, odd: int) -> int:
        """A stream of the task's own: nobody else appends to it. Even ones are for appends, odd ones for reads."""
        return 2 * (task + TASKS * self._chance.randrange(self.streams // (2 * TASKS))) + odd


@asynccontextmanager
async def flat_log(server: BenchServer, each: int) -> AsyncIterator[FlatLog]:
    """An empty log; its server is empty again when the block ends."""
    async with EventStore.open(settings=settings(server, PARTITIONS), types=[Counted]) as store:
        memory = await server.admin.info("memory")
        yield FlatLog(server, store, each, memory["used_memory"])
    await server.clean()


async def _by_tasks(tasks: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as group:
        for task in range(tasks):
            group.start_soon(work, task)


def _name(stream: int) -> str:
    return f"order-{stream}"
