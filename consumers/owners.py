"""Who holds the leases of a group, as the partitions have it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio

from consumers.errors import Unavailable
from consumers.keys import GroupKeys
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together

if TYPE_CHECKING:
    from infrastructure.connect import Command


async def owners_of(
    log: Log, keys: Sequence[GroupKeys], before: Mapping[int, str], patience_seconds: float
) -> dict[int, str]:
    """The owner of each partition whose lease somebody holds, or held and nobody has taken since. One exchange with a
    lone server, which raises Unavailable. In a Cluster one for each partition: where a master is away, or says nothing
    for so long, it is the owner who was known `before`, and the partitions of the others may move."""
    if not log.redis.is_cluster:
        return await _asked(log, keys)

    async def ask(each: GroupKeys) -> dict[int, str]:
        with suppress(Unavailable), anyio.move_on_after(patience_seconds):
            return await _asked(log, [each])
        return {each.partition: before[each.partition]} if each.partition in before else {}

    found = await together([partial(ask, each) for each in keys])
    return {partition: owner for owners in found for partition, owner in owners.items()}


async def holders_of(log: Log, keys: Sequence[GroupKeys], patience_seconds: float) -> dict[int, str]:
    """In a Cluster: who holds the lease of each partition now, empty for nobody; nothing of those whose master is away,
    or says nothing for so long."""

    async def ask(each: GroupKeys) -> dict[int, str]:
        with suppress(Unavailable), anyio.move_on_after(patience_seconds):
            commands: list[Command] = [("HMGET", each.control, "owner", "until"), ("TIME",)]
            (owner, until_ms), (seconds, _) = await replies(log.redis, each.control, *commands)
            is_over = owner is None or int(until_ms) < int(seconds) * 1_000
            return {each.partition: "" if is_over else owner.decode()}
        return {}

    found = await together([partial(ask, each) for each in keys])
    return {partition: owner for owners in found for partition, owner in owners.items()}


async def _asked(log: Log, keys: Sequence[GroupKeys]) -> dict[int, str]:
    commands: list[Command] = [("HGET", each.control, "owner") for each in keys]
    owners = await replies(log.redis, keys[0].control, *commands)
    return {each.partition: owner.decode() for each, owner in zip(keys, owners, strict=True) if owner}
