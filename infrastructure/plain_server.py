"""TLS to a port that speaks none: Redis takes the first bytes of a handshake for a command that goes on, and waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from redis.exceptions import RedisError

from infrastructure.refusals import speaks_no_tls

if TYPE_CHECKING:
    from infrastructure.errors import Unavailable

SUSPICION_SECONDS = 0.3
"""A handshake takes a few milliseconds, or some round trips of a far network: then the question below is in vain."""


async def connected_by_tls(connect: Callable[[], Awaitable[None]], host: str, port: int, address: str) -> None:
    """`connect`, which opens a connection with TLS. While it waits, the server is asked without TLS; if it answers,
    Unavailable says so at once. Raises what `connect` raises."""
    failure: RedisError | OSError | None = None
    plain: Unavailable | None = None

    async def ask() -> None:
        nonlocal plain
        await anyio.sleep(SUSPICION_SECONDS)
        if await _answers_without_tls(host, port):
            plain = speaks_no_tls(address)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        try:
            await connect()
        except (RedisError, OSError) as error:
            failure = error
        tasks.cancel_scope.cancel()
    if plain:
        raise plain
    if failure:
        raise failure


async def _answers_without_tls(host: str, port: int) -> bool:
    """By a PING, which holds no secret and which whoever has not logged in may send: the refusal is an answer too."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.read(1)) in (b"+", b"-")
    except OSError:
        return False
    finally:
        writer.transport.abort()
