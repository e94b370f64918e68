"""Who fires the timers of which partition: a soft share, that no lease guards.

Every worker says that it lives, hears who else does, and computes the same share from that. Two who see different lists
for a moment fire the same timers, which does no harm; what nobody counts as its own waits until all see the same one:
for a member that leaves, the moment in which the bell rings, for one that dies its time to live.
"""

from consumers.assignment import assign
from consumers.keys import TIMERS, home_of, timekeeper_keys, timer_keys
from consumers.membership import Member, Members
from eventstore.log import Log


class Timekeepers(Members):
    """They are listed beside the timers of their home partition: their group has no events, offsets or leases."""

    def __init__(self, log: Log, *, ttl_seconds: float) -> None:
        super().__init__(log, TIMERS, ttl_seconds=ttl_seconds)
        self.home = home_of(TIMERS, log.partitions)
        self._listed, self.bell = timekeeper_keys(log.keys, log.partitions)
        self._keys = (timer_keys(log.keys, self.home).what, self._listed, self.bell)

    async def share(self, member: Member) -> frozenset[int]:
        """The partitions whose timers a member fires, which says with it that it lives. Raises GroupNotFound if the
        home partition has not been prepared; Unavailable."""
        live = [each.id for each in await self.heartbeat(member)]
        ours = assign(self._log.partitions, live, {}, salt=TIMERS)
        return frozenset(partition for partition, owner in ours.items() if owner == member.id)
