"""The Redis group of a group of ours: a mirror for Redis' own tools, made anew from what is stored where it is gone."""

import structlog

from consumers.keys import GroupKeys
from consumers.scripted import ask
from eventstore.errors import EventStoreError
from eventstore.log import Log
from infrastructure import lua

_remake_group = lua.load("consumers", "remake_group")

logger = structlog.get_logger(__name__)


async def remake_group(log: Log, keys: GroupKeys) -> None:
    """Somebody has destroyed the Redis group. Whether it can be made anew now or not: nothing of ours is read from it,
    and the next commit asks again."""
    try:
        await ask(log, _remake_group, [keys.log, keys.control, keys.detached], [keys.group])
    except EventStoreError as error:
        logger.warning("redis_group_missing", group=keys.group, partition=keys.partition, why=error.detail)
    else:
        logger.warning("redis_group_made_anew", group=keys.group, partition=keys.partition)
