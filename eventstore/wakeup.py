"""Waits until partitions have something new, without taking it: what is woken reads by the one read path.

One blocking call serves all partitions of a lone server; in a Cluster each partition needs its own. A call ends after
5 s at the latest. It outlives the wait that began it, so that a reader whose waits are cancelled again and again (a
timeout around each) does not cost a connection each time; it belongs to its Wakeup, which ends it when closed.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventstore.cursor import Place
from eventstore.errors import EventStoreError
from eventstore.log import Log

if TYPE_CHECKING:
    from infrastructure.connect import Command

BLOCK_SECONDS = 5.0


class Wakeup:
    def __init__(self, log: Log) -> None:
        self._log = log
        everything = list(range(log.partitions))
        self._groups = [[p] for p in everything] if log.redis.is_cluster else [everything]
        self._calls: dict[int, asyncio.Task[set[int] | EventStoreError]] = {}

    async def wait(self, places: Sequence[Place]) -> set[int]:
        """Partitions to look at: they have entries behind their places, or were not looked at for 5 s. Raises
        Unavailable; waiting again is safe."""
        for i, group in enumerate(self._groups):
            if i not in self._calls:
                self._calls[i] = asyncio.create_task(self._call(group, places))
        await asyncio.wait(self._calls.values(), return_when=asyncio.FIRST_COMPLETED)
        return self._ended()

    async def aclose(self) -> None:
        """Ends all calls."""
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            call.cancel()
        if calls:
            await asyncio.wait(calls)

    def _ended(self) -> set[int]:
        woken: set[int] = set()
        failure: EventStoreError | None = None
        for i in [i for i, call in self._calls.items() if call.done()]:
            call = self._calls.pop(i)
            if call.cancelled():
                continue
            outcome = call.result()
            if isinstance(outcome, EventStoreError):
                failure = outcome
            else:
                woken |= outcome
        if failure is not None:
            raise failure
        return woken

    async def _call(self, group: Sequence[int], places: Sequence[Place]) -> set[int] | EventStoreError:
        """An error is a result here: nobody may be waiting when the call ends."""
        keys = [self._log.keys.events(p) for p in group]
        ids = [f"{epoch}-{position}" for epoch, position in (places[p] for p in group)]
        block: Command = ("XREAD", "COUNT", 1, "BLOCK", int(BLOCK_SECONDS * 1000), "STREAMS", *keys, *ids)
        try:
            reply = await self._log.redis.block(keys[0], *block, seconds=BLOCK_SECONDS)
        except EventStoreError as error:
            return error
        if reply is None:
            return set(group)
        found = {key.decode() for key, _ in reply}
        return {p for p, key in zip(group, keys, strict=True) if key in found}
