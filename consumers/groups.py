"""What operators do with groups: make, delete, pause and resume them. Whatever is changed is an entry of the audit
stream: who, what and why."""

from contextlib import suppress
from difflib import get_close_matches
from functools import partial

import msgspec

from consumers import order_calls
from consumers.creation import ensure_group
from consumers.errors import GroupNotFound
from consumers.group_name import group_name
from consumers.group_shape import (
    GroupPartitionShape,
    GroupShape,
    GroupSummary,
    MemberShape,
    Paused,
    PausedShape,
    look_at,
)
from consumers.keys import GroupKeys, group_keys, home_of, members_key
from consumers.scripted import ask_durably
from consumers.start import Start
from eventstore import audit
from eventstore.cursor import Cursor
from eventstore.jobs import WrongState
from eventstore.log import Log
from eventstore.names import plain_name
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from infrastructure import lua
from infrastructure.patience import replies
from infrastructure.tasks import together

__all__ = [
    "GroupPartitionShape",
    "GroupShape",
    "GroupSummary",
    "MemberShape",
    "PausedShape",
    "create_group",
    "delete_group",
    "describe_group",
    "list_groups",
    "pause_group",
    "resume_group",
]
_delete_group = lua.load("consumers", "delete_group")


async def create_group(
    store: EventStore, group: str, start: Start | Cursor, *, who: str, why: str | None = None
) -> GroupShape:
    """Makes a group that begins at `start`; with a cursor, behind the events that a reader had who came there. All
    before counts as finished. Raises WrongState if there is one, GroupNotFound if one has lost a part of it,
    InvalidRequest, Unavailable."""
    group_name(group)
    if not await ensure_group(store.log, group, start):
        raise WrongState(
            f"there is a group {group} already",
            field="group",
            remedy=f"eventstore groups {group}; another place in the log: eventstore replay {group} --to ...",
            facts={"group": group},
        )
    shape = await describe_group(store, group)  # before the entry below lies ahead of it
    told = str(start) if isinstance(start, Cursor) else start.end or rfc3339(start.time(await _server_time(store.log)))
    await audit.record(store, who, "group-create", why, {"group": group, "start": told})
    return shape


async def delete_group(
    store: EventStore, group: str, *, who: str, why: str | None = None, force: bool = False
) -> GroupShape:
    """Deletes a group: offset, retries and dead letters are forgotten, the log stays as it is, and so does what
    handlers keep in Redis under names of their own. Returns what it was. Raises GroupNotFound, Unavailable; WrongState
    if a member lives. With `force` the members end with GroupNotFound."""
    shape = await describe_group(store, group)
    busy = {each.id for each in shape.members} | {each.owner for each in shape.partitions if each.owner is not None}
    if busy and not force:
        raise WrongState(
            f"group {group} has {len(busy)} member{'s' if len(busy) > 1 else ''}: {', '.join(sorted(busy)[:5])}",
            field="group",
            remedy=f"stop its workers first; or eventstore groups delete {group} --force, which ends them",
            facts={"group": group, "members": sorted(busy)},
        )
    # The part of the home partition goes last: without it the rest would be taken for a group that is being made.
    log = store.log
    parts = [group_keys(log.keys, group, p) for p in range(log.partitions)]
    *others, home = sorted(parts, key=lambda keys: keys.partition == home_of(group, log.partitions))
    await together([partial(_delete, log, keys) for keys in others])
    await _delete(log, home, members_key(log.keys, group, log.partitions))
    facts = {"group": group, "lag": shape.lag, "retrying": shape.retrying, "parked": shape.parked, "forced": bool(busy)}
    await audit.record(store, who, "group-delete", why, facts)
    return shape


async def _delete(log: Log, keys: GroupKeys, *more: str) -> None:
    await ask_durably(log, _delete_group, [keys.log, *keys.all, *more], [keys.group])


async def list_groups(store: EventStore, *, limit: int | None = None) -> list[GroupShape]:
    """The groups in order of their names, the first `limit` of them. Looks at each partition of each. Raises
    Unavailable, LogDamaged."""
    found = []
    for group in (await group_names(store.log))[:limit]:
        with suppress(GroupNotFound):  # deleted just now
            found.append(await look_at(store.log, group))
    return found


async def describe_group(store: EventStore, group: str) -> GroupShape:
    """Raises GroupNotFound, which names those that are called alike; Unavailable, LogDamaged."""
    plain_name(group, "group")
    try:
        return await look_at(store.log, group)
    except GroupNotFound as error:
        near = get_close_matches(group, await group_names(store.log), n=3)
        if not near:
            raise
        raise GroupNotFound(group, f"{error.detail}, did you mean {' or '.join(near)}?") from error


async def group_names(log: Log) -> list[str]:
    """The groups of which there is anything, in order of their names: by the groups that Redis has of each partition's
    log. Strangers' are left out, which have no offset of ours."""
    found = await together([partial(_redis_groups, log, partition) for partition in range(log.partitions)])
    return sorted({name for names in found for name in names})


async def _redis_groups(log: Log, partition: int) -> list[str]:
    events = log.keys.events(partition)
    (infos,) = await replies(log.redis, events, ("XINFO", "GROUPS", events))
    names = [bytes(info[1]).decode("utf-8", "replace") for info in infos]
    if not names:
        return []
    ours = [("EXISTS", group_keys(log.keys, name, partition).control) for name in names]
    there = await replies(log.redis, events, *ours)
    return [name for name, is_there in zip(names, there, strict=True) if is_there]


async def pause_group(store: EventStore, group: str, *, who: str, why: str | None = None) -> GroupShape:
    """No event of the group is handled until it is resumed; what is being handled ends. Its members stay, and so do
    their leases. Pausing it again changes who and why. Raises GroupNotFound, Unavailable."""
    await describe_group(store, group)
    paused = Paused(who, why, await _server_time(store.log))
    await _pause_all(store.log, group, msgspec.json.encode(paused).decode())
    await audit.record(store, who, "group-pause", why, {"group": group})
    return await describe_group(store, group)


async def resume_group(store: EventStore, group: str, *, who: str, why: str | None = None) -> GroupShape:
    """The group goes on. One that is not paused stays as it is, and nothing is recorded. Raises as `pause_group`."""
    shape = await describe_group(store, group)
    if shape.paused is None:
        return shape
    await _pause_all(store.log, group, "")
    facts = {"group": group, "paused_by": shape.paused.who, "paused_at": shape.paused.at}
    await audit.record(store, who, "group-resume", why, facts)
    return await describe_group(store, group)


async def _pause_all(log: Log, group: str, text: str) -> None:
    parts = [group_keys(log.keys, group, p) for p in range(log.partitions)]
    await together([partial(order_calls.pause, log, keys, text) for keys in parts])


async def _server_time(log: Log) -> int:
    ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
    return int(seconds) * 1_000_000 + int(microseconds)
