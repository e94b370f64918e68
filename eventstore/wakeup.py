"""Waits until partitions have something new, without taking it: what is woken reads by the one read path.

One blocking call serves all partitions of a lone server; in a Cluster each partition needs its own. All readers of a
log share these calls, so that fifty subscriptions cost no more connections than one. A call is made by the first
reader who waits, from that reader's places, and ends after 5 s at the latest. Another reader joins it, once:

    its place   the call's   the joining reader
    1-40        1-40         waits: the call ends with the next event
    1-42        1-40         waits: the call is about to end, and it looks once too often
    1-38        1-40         looks at once: there are events between, which the call does not tell
    1-44        1-40, and 41..44 were lost since: the same, or the call ends with its connection or by its time

A call outlives the wait that began it, so a reader whose waits are cancelled again and again (a timeout around each)
does not cost a connection each time, and still gets the outcome of each call that it has joined. It ends with the last
reader who has joined it.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakSet

from eventstore.cursor import Place
from eventstore.errors import EventStoreError
from eventstore.log import Log
from infrastructure.errors import own_copy

if TYPE_CHECKING:
    from infrastructure.connect import Command

BLOCK_SECONDS = 5.0


class Wakeup:
    """The blocking calls of one log. `reader()` gives a way to wait for each subscription."""

    def __init__(self, log: Log) -> None:
        self._log = log
        everything = list(range(log.partitions))
        self.groups = [[p] for p in everything] if log.redis.is_cluster else [everything]
        """Partitions that one call serves."""
        self._calls: dict[int, _Call] = {}

    def reader(self) -> "Reader":
        return Reader(self)

    def call(self, group: int, places: Sequence[Place]) -> "_Call":
        """The call in flight for a group; if there is none, one from these places."""
        call = self._calls.get(group)
        if call is None or call.task.done():
            call = self._calls[group] = _Call(self._log, {p: places[p] for p in self.groups[group]})
        return call


class Reader:
    """One subscription's way to wait. For one task at a time; to be closed."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._joined: dict[int, _Call] = {}

    async def wait(self, places: Sequence[Place]) -> set[int]:
        """Partitions to look at: they have entries behind their places, or were not looked at for 5 s. Raises
        Unavailable; waiting again is safe."""
        behind: set[int] = set()
        for group in range(len(self._wakeup.groups)):
            if group not in self._joined:
                behind |= self._join(group, places)
        if not behind:
            await asyncio.wait([call.task for call in self._joined.values()], return_when=asyncio.FIRST_COMPLETED)
        return behind | self._ended()

    async def aclose(self) -> None:
        """Ends the calls that no other reader has joined."""
        joined, self._joined = list(self._joined.values()), {}
        for call in joined:
            call.readers.discard(self)
        left = [call.task for call in joined if not call.readers]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _join(self, group: int, places: Sequence[Place]) -> set[int]:
        """The partitions of which the call does not tell all that is new to this reader."""
        call = self._joined[group] = self._wakeup.call(group, places)
        call.readers.add(self)
        return {p for p, place in call.places.items() if places[p] < place}

    def _ended(self) -> set[int]:
        woken: set[int] = set()
        failure: EventStoreError | None = None
        for group in [group for group, call in self._joined.items() if call.task.done()]:
            task = self._joined.pop(group).task
            if task.cancelled():
                continue
            outcome = task.result()
            if isinstance(outcome, EventStoreError):
                failure = outcome
            else:
                woken |= outcome
        if failure is not None:
            raise own_copy(failure)
        return woken


class _Call:
    """One blocking call: from where it watches, and who has joined it."""

    def __init__(self, log: Log, places: dict[int, Place]) -> None:
        self.places = places
        self.readers: WeakSet[Reader] = WeakSet()
        self.task = asyncio.create_task(_block(log, places))


async def _block(log: Log, places: dict[int, Place]) -> set[int] | EventStoreError:
    """The partitions with news; all of them when the time is over. An error is a result here: nobody may be waiting
    when the call ends."""
    keys = [log.keys.events(p) for p in places]
    ids = [f"{epoch}-{position}" for epoch, position in places.values()]
    block: Command = ("XREAD", "COUNT", 1, "BLOCK", int(BLOCK_SECONDS * 1000), "STREAMS", *keys, *ids)
    try:
        reply = await log.redis.block(keys[0], *block, seconds=BLOCK_SECONDS)
    except EventStoreError as error:
        return error
    if reply is None:
        return set(places)
    found = {key.decode() for key, _ in reply}
    return {p for p, key in zip(places, keys, strict=True) if key in found}
