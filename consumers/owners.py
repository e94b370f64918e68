"""Who holds the leases of a group, as the partitions have it."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from consumers.keys import GroupKeys
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together

if TYPE_CHECKING:
    from infrastructure.connect import Command


async def owners_of(log: Log, keys: Sequence[GroupKeys]) -> dict[int, str]:
    """The owner of each partition whose lease somebody holds, or held and nobody has taken since. One exchange with a
    lone server, one for each partition in a Cluster. Raises Unavailable."""
    asked = [[each] for each in keys] if log.redis.is_cluster else [list(keys)]
    found = await together([partial(_asked, log, each) for each in asked])
    return {partition: owner for owners in found for partition, owner in owners.items()}


async def _asked(log: Log, keys: Sequence[GroupKeys]) -> dict[int, str]:
    commands: list[Command] = [("HGET", each.control, "owner") for each in keys]
    owners = await replies(log.redis, keys[0].control, *commands)
    return {each.partition: owner.decode() for each, owner in zip(keys, owners, strict=True) if owner}
