"""The relay of a worker: carries on what handlers returned, exactly once to its streams (PROTOCOLS.md section 5).

    commit          writes returned events to `:out` of the cause's partition, with all else that the commit writes
    relay           reads on in `:out`, once it is durable; sends what follows the mark of each target
    target          takes it if its mark is still that one, and moves the mark in the same script
    relay           removes what was taken, once that is durable

It has no lease: each worker carries on what it is told of, and two that do the same work do no harm, for the mark lets
only one of them through. What is left when a worker ends, or dies, waits for the next that takes a lease of the
partition. While a server cannot be reached what is for it waits, and nothing else does. outbox.py has the rules.
"""

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.errors import Unavailable
from consumers.outbox import Call, Flow, Outbox
from consumers.relay_calls import forget_outgoing, read_outgoing, take
from eventstore.cursor import Place
from eventstore.log import Log
from infrastructure.tasks import plain_errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup, TaskStatus

LEAVE_SECONDS = 2.0
SLOW_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.02, 1.0
REMOVED_AT_ONCE = 1_000

logger = structlog.get_logger(__name__)


@asynccontextmanager
async def relaying(log: Log, *, leave_seconds: float = LEAVE_SECONDS) -> "AsyncIterator[Relay]":
    """The relay of a worker, for as long as the block lasts; then for `leave_seconds` at the most, until what it was
    told of has been carried on. Raises LogDamaged in its own time: what no repetition mends."""
    relay = Relay(log)
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            await tasks.start(relay.run)
            try:
                yield relay
            finally:
                await relay.leave(leave_seconds)


class Relay:
    """Made by `relaying`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._sources: dict[int, _Source] = {}
        self._scope = anyio.CancelScope(shield=True)  # what cancels a worker leaves it the time to end well
        self._ended = False
        self._rested = asyncio.Event()
        self._tasks: TaskGroup

    def notify(self, partition: int) -> None:
        """Returned events may wait in this partition."""
        if self._ended:
            return
        if partition not in self._sources:
            self._sources[partition] = _Source(self._log, partition, self._tasks, self._rested)
            self._tasks.start_soon(self._sources[partition].run)
        self._sources[partition].notify()

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """For `relaying`."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    task_status.started()
                    await anyio.sleep_forever()
        finally:
            self._ended = True
            self._rested.set()

    async def leave(self, seconds: float) -> None:
        """For `relaying`: ends when nothing is left to be carried on, or after so many seconds."""
        try:
            with anyio.move_on_after(seconds, shield=True):
                while not self._ended and not all(source.is_at_rest for source in self._sources.values()):
                    self._rested.clear()
                    await self._rested.wait()
        finally:
            self._scope.cancel()


class _Source:
    """One partition from which events are carried on: a task that reads and removes, and one for each target while
    there is something for it."""

    def __init__(self, log: Log, partition: int, tasks: "TaskGroup", rested: asyncio.Event) -> None:
        self._log, self._partition, self._tasks, self._rested = log, partition, tasks, rested
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._is_busy = False

    def notify(self) -> None:
        self._outbox.tell()
        self._wake.set()

    @property
    def is_at_rest(self) -> bool:
        busy = self._is_busy or any(flow.is_carried for flow in self._outbox.flows.values())
        return not busy and self._outbox.is_empty

    async def run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._is_busy = True
            try:
                await self._remove()
                await self._read()
                pause = FIRST_PAUSE_SECONDS
            except Unavailable as error:
                logger.warning("relay_repeats", partition=self._partition, why=str(error))
                self.notify()
                await anyio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
            self._is_busy = False
            self._rested.set()

    async def _remove(self) -> None:
        box = self._outbox
        while box.process is not None and (ids := box.taken[:REMOVED_AT_ONCE]):
            box.removed(ids, await forget_outgoing(self._log, self._partition, box.process, ids))

    async def _read(self) -> None:
        while reading := self._outbox.next_reading():
            self._outbox.read(reading, await read_outgoing(self._log, self._partition, reading))
            for flow in self._outbox.flows.values():
                if flow.call is not None and not flow.is_carried:
                    flow.is_carried = True
                    self._tasks.start_soon(self._carry, flow)

    async def _carry(self, flow: Flow) -> None:
        """What waits for one target, until nothing does."""
        pause = FIRST_PAUSE_SECONDS
        while (call := flow.call) is not None:
            try:
                mark = await self._take(flow, call)
            except Unavailable as error:
                logger.warning("relay_waits", partition=self._partition, target=flow.target, why=str(error))
                self._is_slow(flow)
                await anyio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
                continue
            self._outbox.answered(flow, mark)
            pause = FIRST_PAUSE_SECONDS
            self._wake.set()
        flow.is_carried = False
        self._rested.set()

    async def _take(self, flow: Flow, call: Call) -> Place:
        timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._is_slow, flow)
        try:
            return await take(self._log, self._partition, flow.target, call)
        finally:
            timer.cancel()

    def _is_slow(self, flow: Flow) -> None:
        """The others do not wait until the call has failed."""
        flow.fails = True
        self._wake.set()
