"""The only place that spells the keys of consumer groups (DESIGN.md sections 3 and 4).

All keys of a group in one partition lie in the partition's slot. `home` is the partition whose slot has what there is
once per group: its members.
"""

from msgspec import Struct

from eventstore.keys import Keys
from eventstore.partitions import partition_of


class GroupKeys(Struct, frozen=True):
    """The keys of one group in one partition of a log."""

    group: str
    partition: int
    log: str
    head: str
    out: str
    control: str
    """Hash: lease, offset, and whatever else the Redis group is made from if it is lost."""
    detached: str
    """Hash: stream -> row, of the streams that left the main pass."""
    due: str
    """Sorted set: stream -> milliseconds, of the rows that are retrying."""
    orders: str
    """Hash: what operators want done with a row, and what became of it."""
    errors: str
    """Hash: stream -> why its row is retrying or parked."""
    bell: str
    """Stream: an entry wakes the holder of the lease."""

    @property
    def all(self) -> tuple[str, ...]:
        """The keys that exist for as long as the group does."""
        return self.control, self.detached, self.due, self.orders, self.errors, self.bell


def group_keys(keys: Keys, group: str, partition: int) -> GroupKeys:
    control = _control(keys, group, partition)
    return GroupKeys(
        group,
        partition,
        keys.events(partition),
        keys.head(partition),
        keys.outgoing(partition),
        control,
        control + ":detached",
        control + ":due",
        control + ":orders",
        control + ":errors",
        control + ":bell",
    )


def groups_pattern(keys: Keys, partition: int | None) -> str:
    """Matches the keys of all groups in a partition, or with None in all of them, for SCAN; and a few others."""
    if partition is None:
        return f"{keys.stem(0).rpartition('{')[0]}{{*}}:g:*"
    return _control(keys, "*", partition)


def group_of(keys: Keys, key: str) -> str | None:
    """The group that a key belongs to, if it belongs to one."""
    stem, _, rest = key.partition("}:g:")
    return rest.partition(":")[0] if rest and f"{stem}}}:" in keys.stems else None


def home_of(group: str, partitions: int) -> int:
    """The partition in whose slot the members of a group are listed."""
    return partition_of(group, partitions)


def members_key(keys: Keys, group: str, partitions: int) -> str:
    """Hash: member id -> what it says of itself."""
    return _control(keys, group, home_of(group, partitions)) + ":members"


def effect_key(keys: Keys, group: str, partition: int, name: str) -> str:
    """What a handler keeps under a name of its own, in the slot of the events that it handles."""
    return f"{keys.stem(partition)}x:{group}:{name}"


TIMERS = "timers"
"""Who fires timers is a member of it; no group may have this name."""


class TimerKeys(Struct, frozen=True):
    """The keys of the timers of one partition: of events that are appended to its streams when they are due."""

    due: str
    """Sorted set: id -> milliseconds; and an id '' that is never due."""
    what: str
    """Hash: id -> the event, packed; and a field ''."""
    bell: str
    """Stream: an entry wakes who sleeps until the next is due."""


def timer_keys(keys: Keys, partition: int) -> TimerKeys:
    due = keys.stem(partition) + TIMERS
    return TimerKeys(due, due + ":what", due + ":bell")


def timekeeper_keys(keys: Keys, partitions: int) -> tuple[str, str]:
    """Hash of those who fire timers, and their bell, which rings when one comes or goes; in the slot of their home."""
    due = timer_keys(keys, home_of(TIMERS, partitions)).due
    return due + ":members", due + ":members:bell"


def _control(keys: Keys, group: str, partition: int) -> str:
    return f"{keys.stem(partition)}g:{group}"
