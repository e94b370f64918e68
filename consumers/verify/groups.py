"""Verify: what is stored of the groups, against the log and against itself (DESIGN.md section 8).

    3  the offset, and up to where a group had come before, are places that the log has; a detached stream stands at a
       version that it has or that comes next; the Redis group shows the offset
    6  the pending list shows exactly the streams that are retrying or parked, at the entry where each stands; `:due`
       has exactly those that are retrying, with their time; `:errors` only such; orders can be read
    1  what handlers returned, and is on its way, can be read (returned.py); events that wait for their time, too
       (timers.py)

Of each group all that is stored in one partition is read at one moment, so workers may go on beside it.
"""

from consumers.keys import group_keys, group_of, groups_pattern, home_of, members_key
from consumers.membership import Members
from consumers.verify.part import Part, check_part
from consumers.verify.returned import check_returned
from consumers.verify.stored import stored_group
from consumers.verify.timers import check_timers
from eventstore.errors import LogDamaged
from eventstore.key_scan import keys_of
from eventstore.log import Log
from eventstore.verify import Findings, OnProgress
from infrastructure.patience import replies


async def check_groups(log: Log, findings: Findings, on_progress: OnProgress) -> None:
    """The groups, what their handlers returned, and what is scheduled: invariants 1, 3 and 6. For `verify`, beside
    `check_log`, which tells of the progress: this takes moments. Raises Unavailable."""
    for group in await names_of_groups(log):
        await _check_group(log, group, findings)
    for partition in range(log.partitions):
        await check_returned(log, partition, findings)
        await check_timers(log, partition, findings)


async def names_of_groups(log: Log) -> list[str]:
    """By their keys: Redis may have lost all groups of a name."""
    parts = range(log.partitions) if log.redis.is_cluster else [None]
    found = [await keys_of(log, part or 0, groups_pattern(log.keys, part)) for part in parts]
    return sorted({name for keys in found for key in keys if (name := group_of(log.keys, key))})


async def _check_group(log: Log, group: str, findings: Findings) -> None:
    home = home_of(group, log.partitions)
    parts: list[Part] = []
    for partition in range(log.partitions):
        keys = group_keys(log.keys, group, partition)
        parts.append(Part(keys, await stored_group(log, keys), findings))
    for part in parts:
        await check_part(log, part)
    # Without its home part the group is just being made, or deleted: that part is the last of both.
    (is_whole,) = await replies(log.redis, parts[home].keys.control, ("EXISTS", parts[home].keys.control))
    for part in parts:
        if is_whole and not part.stored.control and part.keys.control not in part.stored.damaged:
            part.say(
                "lost", 3, part.keys.control, f"there is nothing of it in this partition: no worker starts; {part.anew}"
            )
    try:
        await Members(log, group).live()
    except LogDamaged as error:
        remedy = f"HDEL it from {members_key(log.keys, group, log.partitions)}: whoever lives says so again in a second"
        parts[home].say("member", 3, "members", f"{error.detail}; {remedy}")
