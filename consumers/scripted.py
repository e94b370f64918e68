"""Calls of the scripts of groups: what they answer, or why they could not."""

from collections.abc import Sequence

from redis.exceptions import ResponseError

from consumers.errors import Stale
from consumers.keys import GroupKeys
from consumers.state import Token
from eventstore.cursor import Place
from eventstore.durability import Durability
from eventstore.errors import LogDamaged, Unavailable
from eventstore.log import Log, refused
from infrastructure import lua
from infrastructure.connect import Reply
from infrastructure.lua import Script
from infrastructure.patience import answer, patiently
from infrastructure.refusals import code_of

Argument = str | bytes | int
_DAMAGED = {"DAMAGED", "WRONGTYPE"}


async def ask(log: Log, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
    """The answer to a script that may be repeated without harm, patiently. Raises Unavailable, LogDamaged."""
    return accepted(await answer(log.redis, script, keys, args))


async def ask_durably(log: Log, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
    """The same when what was written is as durable as the log promises."""
    return await patiently(lambda: write(log, script, keys, args))


async def write(log: Log, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
    """The answer to a script, sent once, when what was written is as durable as the log promises. Raises LogDamaged;
    Unavailable, whose `maybe_ran` tells whether it may have taken effect: also if it surely has, less durably."""
    level = log.durability
    replies = await lua.call(log.redis, script, keys, args, *level.commands, longer_by=level.wait_seconds)
    found = accepted(replies[0])
    if not level.reached(replies[1:]):
        raise _not_durable(level)
    return found


def accepted(reply: Reply) -> Reply:
    """The answer itself. Raises what a refusal means."""
    if isinstance(reply, ResponseError):
        if code_of(reply) in _DAMAGED:
            raise LogDamaged(
                f"what is stored of a group is not of our making: {reply}",
                remedy="look what else writes to these keys; restore a backup, or delete the group and make it anew",
            )
        raise refused(reply)
    return reply


def stale(keys: GroupKeys, why: bytes) -> Stale:
    return Stale(keys.group, keys.partition, why.decode("utf-8", "replace"))


def words_of(token: Token) -> list[Argument]:
    return [token.owner, token.term, token.epoch]


def entry_id(at: Place) -> str:
    return f"{at[0]}-{at[1]}"


def place(id_of_entry: bytes) -> Place:
    epoch, _, position = id_of_entry.partition(b"-")
    return int(epoch), int(position)


def _not_durable(level: Durability) -> Unavailable:
    return Unavailable(
        f"written, but {level.level} was not reached in time",
        reason="no-replicas" if level.level.startswith("replicas") else "disk",
        maybe_ran=True,
        remedy="look at the replicas and the disk of the server: eventstore doctor",
    )
