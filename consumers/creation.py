"""Makes a group where there is none.

It has a part in each partition, and that of its home partition is made last: while there is none, whoever comes goes on
with what a crash may have left half made. Once it is there the group is whole, and a part that is missing is lost. It
is never made anew behind somebody's back: it would begin at the wrong place.
"""

from functools import partial

from consumers.errors import GroupNotFound
from consumers.keys import GroupKeys, group_keys, home_of
from consumers.lease_calls import create
from consumers.rights import check_rights
from consumers.start import Start
from eventstore import read
from eventstore.cursor import Cursor, usable
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together


async def ensure_group(log: Log, group: str, start: Start | Cursor) -> bool:
    """Makes the group, to begin at `start`, or behind a cursor; False if it is there. Raises GroupNotFound if a part of
    it is lost, Unavailable, also for want of rights: before anything is written."""
    await check_rights(log)
    parts = [group_keys(log.keys, group, p) for p in range(log.partitions)]
    home = parts[home_of(group, log.partitions)]
    there = await together([partial(_exists, log, each) for each in parts])
    missing = [each for each, is_there in zip(parts, there, strict=True) if not is_there]
    if home not in missing:
        if missing:
            raise _lost(group, missing)
        return False
    places = (await _cursor(log, start)).places
    await together([partial(create, log, each, places[each.partition]) for each in missing if each is not home])
    return await create(log, home, places[home.partition])


async def _exists(log: Log, keys: GroupKeys) -> bool:
    (reply,) = await replies(log.redis, keys.control, ("EXISTS", keys.control))
    return bool(reply)


async def _cursor(log: Log, start: Start | Cursor) -> Cursor:
    if isinstance(start, Cursor):
        return usable(start, log.partitions)
    match start.end:
        case "earliest":
            return Cursor.start(log.partitions)
        case "latest":
            return await read.heads(log)
    ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
    return await read.position_at(log, start.time(int(seconds) * 1_000_000 + int(microseconds)) - 1)


def _lost(group: str, missing: list[GroupKeys]) -> GroupNotFound:
    partitions = ", ".join(str(each.partition) for each in missing)
    return GroupNotFound(
        group,
        f"group {group} has lost its part in partition {partitions}: {missing[0].control} is gone",
        "restore a backup; or delete the group (eventstore groups delete) and make it anew where it shall begin",
    )
