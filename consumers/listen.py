"""Waits at the server for what partitions at the head of their log wait for: the next event, or the bell.

One blocking call serves all partitions of a lone server; in a Cluster each has its own. A call that is under way when
another partition comes to its head, or one goes, is broken off and made anew, which harms nothing: it only reads.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.errors import EventStoreError, Unavailable
from consumers.owned import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Owned
from eventstore.log import Log
from infrastructure.tasks import unless

if TYPE_CHECKING:
    from infrastructure.connect import Command, Reply

BLOCK_SECONDS = 5.0
EVENTS_PER_CALL, BYTES_PER_CALL = 64, 2 << 20
"""Of each partition: whoever has more to read reads pages."""

logger = structlog.get_logger(__name__)


class Listener:
    """Listens for some of a member's partitions, whichever `owned` names at the time."""

    def __init__(self, log: Log, owned: Callable[[], Sequence[Owned]]) -> None:
        self._log, self._owned = log, owned
        self._changed = asyncio.Event()

    def change(self) -> None:
        """What is to be listened to has changed."""
        self._changed.set()

    async def run(self) -> None:
        """For as long as it is not cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._changed.clear()
            owned = [each for each in self._owned() if each.is_alive]
            if not owned:
                await self._changed.wait()
                continue
            try:
                await self._listen(owned)
                pause = FIRST_PAUSE_SECONDS
            except Unavailable as error:
                logger.warning("listening_again", group=owned[0].keys.group, why=str(error))
                await anyio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)

    async def _listen(self, owned: Sequence[Owned]) -> None:
        """One call, or less if something changes meanwhile."""
        count = self._count(owned)
        await self._tell(owned, await unless(self._changed, self._call(owned, count)), count)

    def _count(self, owned: Sequence[Owned]) -> int:
        """How many events surely fit into a call's bytes: XREAD has no bound of its own. What the newest answers tell
        of the largest event may be of before an event that is larger still, which came a moment ago."""
        most = self._log.settings.max_event_bytes
        heaviest = max((each.reading.largest or most for each in owned if each.reading.at_head), default=1)
        return max(1, min(EVENTS_PER_CALL, BYTES_PER_CALL // heaviest))

    async def _call(self, owned: Sequence[Owned], count: int) -> "Reply":
        watched = {each.keys.bell: each.bell for each in owned}
        watched |= {each.keys.log: each.reading.last_id for each in owned if each.reading.at_head}
        block: Command = ("XREAD", "COUNT", count, "BLOCK", int(BLOCK_SECONDS * 1000), "STREAMS")
        return await self._log.redis.block(
            owned[0].keys.log, *block, *watched, *watched.values(), seconds=BLOCK_SECONDS
        )

    async def _tell(self, owned: Sequence[Owned], reply: "Reply", count: int) -> None:
        by_log = {each.keys.log: each for each in owned}
        by_bell = {each.keys.bell: each for each in owned}
        for key, entries in reply or ():
            name = key.decode()
            if name in by_log:
                by_log[name].reading.heard(entries, all_of_them=len(entries) < count)
            elif by_bell[name].is_alive:
                await self._ring(by_bell[name], entries[-1][0].decode())

    async def _ring(self, owned: Owned, entry_id: str) -> None:
        try:
            await owned.rung(entry_id)
        except EventStoreError as error:
            owned.lose(str(error))
