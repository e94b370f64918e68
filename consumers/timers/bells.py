"""Waits at the server for bells: streams of one entry, at each of which somebody sleeps here.

One blocking call serves all bells of a lone server; in a Cluster each bell has its own. What has rung between two calls
is heard by the next one, for it reads on behind the last entry that it has seen. After a failure nobody knows what was
missed, and which entries are still there: then all bells ring.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.errors import Unavailable
from eventstore.log import Log
from infrastructure.tasks import unless

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

    from infrastructure.connect import Command

BLOCK_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 1.0
BEGINNING = "0-0"

Ring = Callable[[], None]
logger = structlog.get_logger(__name__)


class Bells:
    """Calls a function for each bell that rings, and once for each when it begins to listen to it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._listeners: dict[str, _Listener] = {}
        self._tasks: TaskGroup

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """For as long as it is not cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            await anyio.sleep_forever()

    def watch(self, bells: Mapping[str, Ring]) -> None:
        """These, and no others, from now on."""
        if not self._log.redis.is_cluster:
            self._listen("", bells)
            return
        for key in {*bells, *self._listeners}:
            self._listen(key, {key: bells[key]} if key in bells else {})

    def _listen(self, name: str, bells: Mapping[str, Ring]) -> None:
        if name not in self._listeners:
            self._listeners[name] = _Listener(self._log)
            self._tasks.start_soon(self._listeners[name].run)
        self._listeners[name].watch(bells)


class _Listener:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._bells: dict[str, Ring] = {}
        self._seen: dict[str, str] = {}
        self._changed = asyncio.Event()

    def watch(self, bells: Mapping[str, Ring]) -> None:
        if bells != self._bells:
            self._bells = dict(bells)
            self._seen = {key: self._seen.get(key, BEGINNING) for key in bells}
            self._changed.set()

    async def run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._changed.clear()
            if not self._bells:
                await self._changed.wait()
                continue
            try:
                await unless(self._changed, self._read())
                pause = FIRST_PAUSE_SECONDS
            except Unavailable as error:
                logger.warning("timers_listen_again", why=str(error))
                await anyio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
                self._seen = dict.fromkeys(self._bells, BEGINNING)
                for ring in self._bells.values():
                    ring()

    async def _read(self) -> None:
        """One call, which is broken off if meanwhile other bells are to be heard."""
        watched = dict(self._seen)
        block: Command = ("XREAD", "BLOCK", int(BLOCK_SECONDS * 1_000), "STREAMS", *watched, *watched.values())
        reply = await self._log.redis.block(next(iter(watched)), *block, seconds=BLOCK_SECONDS)
        for raw, entries in reply or ():
            key = raw.decode()
            if key in self._bells:
                self._seen[key] = entries[-1][0].decode()
                self._bells[key]()
