"""Calls that may be repeated without harm, while a slot of a Cluster moves or a failover is under way."""

from collections.abc import Awaitable, Callable, Container, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio

from infrastructure.errors import Unavailable
from infrastructure.lua import Script, call
from infrastructure.refusals import code_of, refusal

if TYPE_CHECKING:
    from infrastructure.connect import Command, Redis, Reply

T = TypeVar("T")
MOVING = {"cluster", "read-only"}  # refusals that end when a slot has moved or a failover is over
SECONDS = 5.0
PAUSE_SECONDS = 0.05


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns; it is made again for up to 5 s while the server says that the key is on its way."""
    deadline = anyio.current_time() + SECONDS
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            if not _moving(error) or anyio.current_time() > deadline:
                raise
        await anyio.sleep(PAUSE_SECONDS)


async def replies(redis: "Redis", key: str, *commands: "Command", bearing: Container[str] = ()) -> "list[Reply]":
    """The replies to commands that may be repeated without harm, patiently. Of refusals see `accepted`."""
    return accepted(await settled(redis, key, *commands), bearing)


async def settled(redis: "Redis", key: str, *commands: "Command") -> "list[Reply]":
    """The same with every refusal in its place, but for those that say for all of 5 s that the key is on its way."""

    async def attempt() -> "list[Reply]":
        return _here(await redis.run(key, *commands))

    return await patiently(attempt)


async def answer(redis: "Redis", script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> "Reply":
    """The reply to a script that may be repeated without harm; a refusal as in `settled`."""

    async def attempt() -> "list[Reply]":
        return _here(await call(redis, script, keys, args))

    return (await patiently(attempt))[0]


def accepted(found: "list[Reply]", bearing: Container[str] = ()) -> "list[Reply]":
    """The replies. The first refusal is raised, unless its code is one of `bearing`: these stay in their places."""
    for reply in found:
        if isinstance(reply, Exception) and code_of(reply) not in bearing:
            raise refusal(reply)
    return found


def _here(found: "list[Reply]") -> "list[Reply]":
    """The replies, if none of them says that a key is on its way."""
    for reply in found:
        if isinstance(reply, Exception) and _moving(error := refusal(reply)):
            raise error
    return found


def _moving(error: Exception) -> bool:
    return isinstance(error, Unavailable) and error.reason in MOVING
