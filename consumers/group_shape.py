"""How a group is: who its members are, who holds what, how far it is behind, and what of it fails."""

import struct
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.keys import GroupKeys, group_keys
from consumers.membership import Member, Members
from consumers.scripted import ask, place
from eventstore.log import Log
from eventstore.wire import rfc3339
from infrastructure import lua
from infrastructure.patience import replies
from infrastructure.tasks import together

if TYPE_CHECKING:
    from infrastructure.connect import Command

FAILURES_AT_ONCE = 500
State = Literal["running", "idle", "paused", "incomplete"]
_oldest_parked = lua.load("consumers", "oldest_parked")
_recorded_at = struct.Struct(">Q")


class MemberShape(Struct, frozen=True):
    """A member that lives, as it says itself, once in a second. `breaker_error` is what fails while its breaker is
    open. Of the events that it is `handling`, `retrying` have failed just now and are tried again at once: no partition
    counts them as retrying."""

    id: str
    host: str
    pid: int
    started_at: str
    partitions: tuple[int, ...]
    breaker: str
    version: str
    breaker_error: str = ""
    handling: int = 0
    retrying: int = 0


class PausedShape(Struct, frozen=True):
    who: str
    why: str | None
    at: str | None


class GroupPartitionShape(Struct, frozen=True):
    """A group in one partition. `owner` holds the lease `until` then, None if nobody does. `lag` is head - offset;
    `behind_seconds` is how long ago the first event behind the offset was recorded. `detached` counts the streams that
    left the main pass, those that are retrying or parked among them."""

    partition: int
    owner: str | None
    term: int
    until: str | None
    offset: int
    head: int
    lag: int
    behind_seconds: float
    retrying: int
    parked: int
    detached: int


class GroupSummary(Struct, frozen=True, kw_only=True):
    """A group: running if it has members, idle if not, incomplete if there is nothing of it in the `missing`
    partitions. `lag` is the sum over the partitions, `behind_seconds` the most of them. Somebody holds the lease of
    `held` of its `partition_count` partitions. `breaker` is open while that of any member is."""

    group: str
    state: State
    lag: int
    behind_seconds: float
    retrying: int
    parked: int
    detached: int
    oldest_parked_at: str | None
    paused: PausedShape | None
    breaker: Literal["closed", "open"]
    member_count: int
    held: int
    partition_count: int
    missing: tuple[int, ...]


class GroupShape(GroupSummary, frozen=True, kw_only=True):
    """And its members, and how it is in each partition."""

    members: tuple[MemberShape, ...]
    partitions: tuple[GroupPartitionShape, ...]

    @property
    def summary(self) -> GroupSummary:
        return GroupSummary(**{name: getattr(self, name) for name in GroupSummary.__struct_fields__})


class _Part(Struct, frozen=True):
    """`shape` is None where there is nothing of the group."""

    shape: GroupPartitionShape | None
    paused: str = ""
    oldest_parked_us: int | None = None


async def look_at(log: Log, group: str) -> GroupShape:
    """Raises GroupNotFound if there is nothing of it in any partition, Unavailable, LogDamaged. One partition after the
    other is looked at, so all that is told of one belongs together."""
    found = await together([partial(_look_at_part, log, group_keys(log.keys, group, p)) for p in range(log.partitions)])
    shapes = tuple(part.shape for part in found if part.shape is not None)
    if not shapes:
        raise GroupNotFound(group)
    members = tuple(map(_member_shape, await Members(log, group).live()))
    missing = tuple(p for p, part in enumerate(found) if part.shape is None)
    paused = next((part.paused for part in found if part.paused), None)
    parked = [part.oldest_parked_us for part in found if part.oldest_parked_us is not None]
    is_alive = bool(members) or any(each.owner is not None for each in shapes)
    return GroupShape(
        group=group,
        state="incomplete" if missing else "paused" if paused else "running" if is_alive else "idle",
        lag=sum(each.lag for each in shapes),
        behind_seconds=max(each.behind_seconds for each in shapes),
        retrying=sum(each.retrying for each in shapes),
        parked=sum(each.parked for each in shapes),
        detached=sum(each.detached for each in shapes),
        oldest_parked_at=rfc3339(min(parked)) if parked else None,
        paused=None if paused is None else _paused_shape(paused),
        breaker="open" if any(each.breaker == "open" for each in members) else "closed",
        member_count=len(members),
        held=sum(each.owner is not None for each in shapes),
        partition_count=len(found),
        missing=missing,
        members=members,
        partitions=shapes,
    )


async def _look_at_part(log: Log, keys: GroupKeys) -> _Part:
    # The offset is read before the head, which is never behind it then.
    commands: list[Command] = [
        ("HMGET", keys.control, "owner", "term", "until", "epoch", "replid", "offset", "paused"),
        ("HMGET", keys.head, "replid", "number", "pos"),
        ("ZCARD", keys.due),
        ("HLEN", keys.errors),
        ("HLEN", keys.detached),
        ("TIME",),
    ]
    control, head, due, failing, detached, (seconds, microseconds) = await replies(log.redis, keys.control, *commands)
    owner, term, until_ms, epoch, replid, offset, paused = control
    if offset is None:
        return _Part(None)
    now_us = int(seconds) * 1_000_000 + int(microseconds)
    is_held = owner and int(until_ms) * 1_000 >= now_us and [replid, epoch] == head[:2]
    position, retrying = place(offset)[1], max(due - 1, 0)
    parked = max(failing - 1 - retrying, 0)
    lag = int(head[2]) - position
    shape = GroupPartitionShape(
        partition=keys.partition,
        owner=owner.decode() if is_held else None,
        term=int(term),
        until=rfc3339(int(until_ms) * 1_000) if is_held else None,
        offset=position,
        head=int(head[2]),
        lag=lag,
        behind_seconds=await _behind(log, keys, offset.decode(), now_us) if lag else 0.0,
        retrying=retrying,
        parked=parked,
        detached=max(detached - 1, 0),
    )
    return _Part(shape, paused.decode(), await _oldest(log, keys) if parked else None)


async def _behind(log: Log, keys: GroupKeys, offset: str, now_us: int) -> float:
    """Of an entry the time alone is needed, which stands behind its first byte (eventstore/codec.py)."""
    (entries,) = await replies(log.redis, keys.log, ("XRANGE", keys.log, f"({offset}", "+", "COUNT", 1))
    if not entries:
        return 0.0
    recorded_at: int = _recorded_at.unpack_from(entries[0][1][1], 1)[0]
    return max(now_us - recorded_at, 0) / 1e6


async def _oldest(log: Log, keys: GroupKeys) -> int | None:
    cursor, oldest = b"0", None
    while True:
        cursor, found = await ask(log, _oldest_parked, [keys.errors, keys.detached], [cursor, FAILURES_AT_ONCE])
        if found is not None:
            oldest = min(int(found), oldest or int(found))
        if cursor == b"0":
            return oldest


def _member_shape(member: Member) -> MemberShape:
    return MemberShape(
        id=member.id,
        host=member.host,
        pid=member.pid,
        started_at=rfc3339(member.started_us),
        partitions=member.partitions,
        breaker=member.breaker,
        version=member.version,
        breaker_error=member.breaker_error,
        handling=member.handling,
        retrying=member.retrying,
    )


class Paused(Struct, frozen=True):
    """As it is stored in every partition of a paused group, in JSON."""

    who: str
    why: str | None
    at_us: int


def _paused_shape(stored: str) -> PausedShape:
    try:
        paused = msgspec.json.decode(stored, type=Paused)
    except msgspec.MsgspecError:  # written by other hands: what it says is shown as it is
        return PausedShape("somebody", stored, None)
    return PausedShape(paused.who, paused.why, rfc3339(paused.at_us))
