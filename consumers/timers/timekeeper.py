"""The timekeeper of a worker: fires the timers of its share of the partitions, each at its time.

    share      who lives is asked thrice in the time of a lease, and when the bell of the members rings (members.py)
    look       what is due, or will be in a moment, and when the next one is
    fire       appends what is due, a page at a time, and tells what a look would
    sleep      until the next one, or until a timer is scheduled that is due before it: its bell rings (bells.py)

So nothing is asked while nothing is due, however many wait. What was due while no worker ran is fired when one comes,
in order of the due times. Firing needs no lease: which timers wait is decided by the script that appends them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.errors import EventStoreError, GroupNotFound, Unavailable
from consumers.keys import timer_keys
from consumers.lease import LEASE_SECONDS
from consumers.membership import new_member
from consumers.rights import check_rights
from consumers.timers.bells import Bells
from consumers.timers.calls import prepare
from consumers.timers.firing import Due, fire, look
from consumers.timers.members import Timekeepers
from eventstore.log import Log
from infrastructure.tasks import plain_errors

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

HEARTBEATS = 3
"""In the time to live of a member."""
LEAVE_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 1.0
SOON_MS = 5.0
"""What is due so much later is named, too: it may be due when the call arrives."""
NEAR_SECONDS, FAR_SECONDS = 10.0, 600.0
"""Up to so near a timer is slept to without another look, and never longer than so far: two clocks go differently."""

logger = structlog.get_logger(__name__)


@asynccontextmanager
async def keeping_time(log: Log, *, lease_seconds: float = LEASE_SECONDS) -> "AsyncIterator[Timekeeper]":
    """Fires timers for as long as the block lasts; then leaves its partitions to others at once. A member that falls
    silent for `lease_seconds` is replaced. While the server cannot be reached it waits. Raises Unavailable if its user
    lacks a right; in its own time LogDamaged: what no repetition mends."""
    keeper = Timekeeper(log, lease_seconds)
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.run)
            try:
                yield keeper
            finally:
                tasks.cancel_scope.cancel()


class Timekeeper:
    """Made by `keeping_time`. `partitions` are those whose timers it fires now, `fired` counts the timers that it has
    appended."""

    def __init__(self, log: Log, lease_seconds: float) -> None:
        self.partitions: frozenset[int] = frozenset()
        self.fired = 0
        self._log, self._lease_seconds = log, lease_seconds
        self._members = Timekeepers(log, ttl_seconds=lease_seconds)
        self._bells = Bells(log)
        self._clocks: dict[int, Clock] = {}
        self._look = asyncio.Event()
        self._member = new_member(time.time_ns() // 1_000)
        self._is_prepared, self._known_until = False, -inf

    async def run(self) -> None:
        """For `keeping_time`."""
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(self._bells.run)
                self._watch()
                while True:
                    self._look.clear()
                    await self._share(tasks)
                    with anyio.move_on_after(self._lease_seconds / HEARTBEATS):
                        await self._look.wait()
        finally:
            with anyio.move_on_after(LEAVE_SECONDS, shield=True):
                await self._leave()

    async def _share(self, tasks: "TaskGroup") -> None:
        """Who does not know who lives fires all timers: that does no harm, and those of others may be nobody's."""
        try:
            if not self._is_prepared:
                await check_rights(self._log)
                await prepare(self._log, self._members.home)
                self._is_prepared = True
            self._take(await self._members.share(self._member), tasks)
            self._known_until = anyio.current_time() + self._lease_seconds
        except GroupNotFound:  # somebody has emptied the server
            self._is_prepared = False
            self._look.set()
        except Unavailable as error:
            if error.reason == "permission":
                raise
            logger.warning("timers_share_unknown", why=str(error))
            if anyio.current_time() > self._known_until:
                self._take(frozenset(range(self._log.partitions)), tasks)

    def _take(self, share: frozenset[int], tasks: "TaskGroup") -> None:
        if share == self.partitions:
            return
        for partition in self.partitions - share:
            self._clocks.pop(partition).stop()
        for partition in share - self.partitions:
            clock = self._clocks[partition] = Clock(self._log, partition, self._count)
            tasks.start_soon(clock.run)
        self.partitions = share
        self._watch()
        logger.info("timers_taken", partitions=f"{len(share)} of {self._log.partitions}")

    def _watch(self) -> None:
        bells = {timer_keys(self._log.keys, p).bell: clock.ring for p, clock in self._clocks.items()}
        self._bells.watch({self._members.bell: self._look.set, **bells})

    def _count(self, fired: int) -> None:
        self.fired += fired

    async def _leave(self) -> None:
        try:
            await self._members.leave(self._member)
        except EventStoreError as error:
            logger.warning("timers_not_left", why=str(error))


class Clock:
    """The timers of one partition, as long as they are this worker's to fire."""

    def __init__(self, log: Log, partition: int, on_fired: Callable[[int], None]) -> None:
        self._log, self._partition, self._on_fired = log, partition, on_fired
        self._scope = anyio.CancelScope()
        self._rung = asyncio.Event()
        self._ahead_ms = 0.0

    def ring(self) -> None:
        """A timer may be due before the one that is slept to."""
        self._rung.set()

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Until `stop`. Raises LogDamaged."""
        pause, is_prepared = FIRST_PAUSE_SECONDS, False
        due: Due | None = None  # None: it must look
        with self._scope:
            while True:
                self._rung.clear()
                try:
                    if not is_prepared:
                        await prepare(self._log, self._partition)
                        is_prepared = True
                    due = await self._fire(due)
                except Unavailable as error:
                    logger.warning("timers_wait", partition=self._partition, why=str(error))
                    await anyio.sleep(pause)
                    pause, due = min(2 * pause, LAST_PAUSE_SECONDS), None
                    continue
                pause = FIRST_PAUSE_SECONDS
                due = due if await self._sleep(due) else None

    async def _fire(self, due: Due | None) -> Due:
        """All that is due, in its order; what waits then."""
        if due is None:
            due = self._heard(await look(self._log, self._partition))
        while due.next_ms is not None and due.next_ms <= self._server_ms:
            timers = due.until(self._server_ms + SOON_MS)
            call = fire(self._log, self._partition, timers) if timers else look(self._log, self._partition)
            due = self._heard(await call)
            self._on_fired(due.fired)
        return due

    async def _sleep(self, due: Due) -> bool:
        """Until the next one is due, as far as is known. False: another look must be taken before."""
        seconds = inf if due.next_ms is None else max(due.next_ms - self._server_ms, 0) / 1_000
        nap = slumber(seconds)
        with anyio.move_on_after(nap):
            await self._rung.wait()
        return nap == seconds and not self._rung.is_set()

    def _heard(self, due: Due) -> Due:
        self._ahead_ms = due.now_ms - time.monotonic() * 1_000
        return due

    @property
    def _server_ms(self) -> float:
        """The server's time, or a moment less."""
        return time.monotonic() * 1_000 + self._ahead_ms


def slumber(seconds: float) -> float:
    """For how long to sleep towards what is due so late. Far ahead only most of the time, and then another look is
    taken: the server's clock may go faster than ours, or be set."""
    return seconds if seconds <= NEAR_SECONDS or seconds == inf else min(0.9 * seconds, FAR_SECONDS)
