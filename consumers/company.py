"""Among whom a group's partitions are shared: who lives, as its home partition has it.

In a Cluster the home partition's master may be away while others are not. Then nobody can say that he lives, and those
who were known last go on to share: who waits for the list to come back leaves the partitions of the dead to nobody.

    somebody holds a lease                                      he lives
    a partition is without a holder for longer than a lease     whoever should have it has gone: those who hold nothing
                                                                do not count any more, until the list is back

What is held where no master answers is no sign of life. As with the list itself, nothing depends on all members coming
to the same answer: the leases decide.
"""

from collections.abc import Sequence

import anyio
import structlog

from consumers.errors import Unavailable
from consumers.keys import GroupKeys
from consumers.membership import Member, Members
from consumers.owners import holders_of
from eventstore.log import Log

logger = structlog.get_logger(__name__)


class Company:
    """Of one member of a group. `keys` are the group's in each partition."""

    def __init__(
        self, log: Log, group: str, keys: Sequence[GroupKeys], *, lease_seconds: float, patience_seconds: float
    ) -> None:
        self._log, self._group, self._keys = log, group, keys
        self._lease_seconds, self._patience_seconds = lease_seconds, patience_seconds
        self._members = Members(log, group, ttl_seconds=lease_seconds)
        self._known: set[str] = set()
        self._gone: set[str] = set()
        self._free_since: dict[int, float] = {}
        self._is_away = False

    async def gather(self, me: Member) -> list[str]:
        """Says that `me` lives; the ids of all who do. Raises GroupNotFound, and Unavailable if there is nothing to go
        by."""
        try:
            live = await self._heard(me)
        except Unavailable as error:
            if not (self._log.redis.is_cluster and self._known):
                raise
            self._say_away(error)
            return sorted(await self._still_there(me.id))
        self._known, self._is_away = {each.id for each in live}, False
        self._gone.clear()
        self._free_since.clear()
        return sorted(self._known)

    async def leave(self, me: Member) -> None:
        """Raises Unavailable."""
        await self._members.leave(me)

    async def _heard(self, me: Member) -> list[Member]:
        if not self._log.redis.is_cluster:  # then nothing goes on without its one server
            return await self._members.heartbeat(me)
        with anyio.move_on_after(self._patience_seconds):
            return await self._members.heartbeat(me)
        raise Unavailable(f"no answer within {self._patience_seconds:.1f} s", reason="timeout", maybe_ran=True)

    async def _still_there(self, me: str) -> set[str]:
        held = await holders_of(self._log, self._keys, self._patience_seconds)
        now = anyio.current_time()
        free = {partition for partition, holder in held.items() if not holder}
        self._free_since = {partition: self._free_since.get(partition, now) for partition in free}
        holders = {me, *held.values()}
        if any(now - since > self._lease_seconds for since in self._free_since.values()):
            self._gone |= self._known - holders
        self._gone -= holders
        return (self._known - self._gone) | {me}

    def _say_away(self, error: Unavailable) -> None:
        if not self._is_away:
            self._is_away = True
            logger.warning("members_unknown", group=self._group, known=len(self._known), why=str(error))
