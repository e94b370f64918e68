"""The lease of a group in one partition: make the group, take, renew and give back, by one script each.

Who decides is the script, by the server's clock and by what is stored. A lease ends when its time is over and somebody
takes it, when somebody takes it by force, or when another server process serves the partition (a new epoch). Its
holder learns of it by the next call that it makes: `Stale`. Everything it knows is then of the past.
"""

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from consumers.errors import GroupNotFound, Unavailable
from consumers.keys import GroupKeys
from consumers.mirror import remake_group
from consumers.orders import open_orders
from consumers.scripted import accepted, ask, ask_durably, entry_id, place, stale, words_of
from consumers.state import Row, Stored, Token
from eventstore.cursor import Place
from eventstore.errors import EventStoreError, InvalidRequest
from eventstore.log import Log
from infrastructure import lua
from infrastructure.connect import Redis, Reply
from infrastructure.tasks import together

_create_group = lua.load("consumers", "create_group")
_acquire = lua.load("consumers", "acquire")
_renew = lua.load("consumers", "renew")
_release = lua.load("consumers", "release")


class Held(Struct, frozen=True):
    """Somebody has the lease, until a time by the server's clock, which shows `now_ms`."""

    owner: str
    until_ms: int
    now_ms: int


class Renewed(Struct, frozen=True):
    """The lease has its full time from `now_ms` on, by the server's clock. `paused` tells who has paused the group, and
    why; empty if nobody has."""

    now_ms: int
    paused: str


async def create(log: Log, keys: GroupKeys, start: Place) -> bool:
    """Makes the group in this partition, to begin behind the entry `start`; False if it is there already. Raises
    InvalidRequest if the log has no such entry, Unavailable."""
    reply = await ask_durably(log, _create_group, [keys.head, keys.log, *keys.all], [keys.group, entry_id(start)])
    if reply == b"place":
        raise InvalidRequest(
            f"partition {keys.partition} has no entry {entry_id(start)} for a group to begin behind",
            field="start",
            remedy="choose the place anew: the log may have lost events in a failover",
        )
    return bool(reply == b"made")


async def acquire(
    log: Log, keys: GroupKeys, member: str, lease_ms: int, *, force: bool = False, above: int = 0
) -> Stored | Held:
    """Takes the lease for `member` if it is free or its own, by force in any case; then all that is stored. Each time
    with a new term, above every earlier one and above that given: what was known under another is of the past. Raises
    GroupNotFound, LogDamaged, Unavailable."""
    call = ask_durably if force else ask
    args = (keys.group, member, lease_ms, int(force), above)
    reply = await call(log, _acquire, [keys.head, keys.log, *keys.all], args)
    match reply:
        case [b"held", owner, until_ms, now_ms]:
            return Held(owner.decode(), until_ms, now_ms)
        case [b"missing", b"group"]:
            raise GroupNotFound(keys.group)
        case [b"missing", key]:
            raise GroupNotFound(
                keys.group,
                f"the group {keys.group} is damaged: {key.decode()} is gone",
                "restore a backup, or delete the group and make it anew",
            )
    if reply[12]:
        await remake_group(log, keys)
    return _stored(reply)


def _stored(reply: Sequence[Reply]) -> Stored:
    _, term, epoch, offset, fin, mute, paused, now_ms, head, epochs, largest, bell, _, *rest = reply
    rows, orders, replay, lapsed = rest
    fields = zip(rows[::2], rows[1::2], strict=True)
    return Stored(
        term=int(term),
        epoch=int(epoch),
        offset=place(offset),
        fin=place(fin)[1],
        mute=mute == b"1",
        paused=paused.decode(),
        rows={stream.decode(): Row.parse(row) for stream, row in fields if stream},
        orders=open_orders(orders),
        now_ms=now_ms,
        head=head,
        epochs=epochs,
        largest=None if largest is None else int(largest),
        bell=bell.decode(),
        replay=replay.decode(),
        lapsed=lapsed,
    )


async def renew(redis: Redis, keys: GroupKeys, token: Token, lease_ms: int) -> Renewed:
    """Gives the lease its full time again. Sent once: who renews knows when to try again. Raises Stale, Unavailable."""
    (answer,) = await renew_all(redis, [(keys, token)], lease_ms)
    if isinstance(answer, EventStoreError):
        raise answer
    return answer


async def renew_all(
    redis: Redis, leases: Sequence[tuple[GroupKeys, Token]], lease_ms: int
) -> list[Renewed | EventStoreError]:
    """`renew` for many at once, in one exchange with a lone server and one for each lease in a Cluster: for each what
    came of it, Stale and Unavailable among them."""
    if not leases:
        return []
    groups = [[lease] for lease in leases] if redis.is_cluster else [leases]
    calls = [partial(_renew_together, redis, group, lease_ms) for group in groups]
    return [answer for answers in await together(calls) for answer in answers]


async def _renew_together(
    redis: Redis, leases: Sequence[tuple[GroupKeys, Token]], lease_ms: int
) -> list[Renewed | EventStoreError]:
    calls = [([keys.head, keys.control], [*words_of(token), lease_ms]) for keys, token in leases]
    try:
        replies = await lua.call_all(redis, _renew, calls)
    except Unavailable as error:
        return [error] * len(leases)
    return [_renewed(keys, reply) for (keys, _), reply in zip(leases, replies, strict=True)]


def _renewed(keys: GroupKeys, reply: Reply) -> Renewed | EventStoreError:
    try:
        match accepted(reply):
            case [b"stale", why]:
                return stale(keys, why)
            case [_, now_ms, paused]:
                return Renewed(now_ms, paused.decode())
    except EventStoreError as error:
        return error
    raise AssertionError(f"renew.lua answered {reply!r}")


async def release(log: Log, keys: GroupKeys, token: Token) -> bool:
    """Gives the lease back; False if it is lost already. Raises Unavailable."""
    return bool(await ask(log, _release, [keys.head, keys.control], words_of(token)))
