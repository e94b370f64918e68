"""Takes the lease of a partition, and with it what is true there: kept in Redis, or elsewhere (truth.py)."""

from contextlib import suppress

import anyio

from consumers.errors import EventStoreError
from consumers.keys import GroupKeys
from consumers.lease_calls import Held, acquire, release
from consumers.state import Stored, Token
from consumers.truth import TakeAnew, Truth
from eventstore.log import Log

CLAIMS = 5
"""In one look, while what is kept elsewhere asks for a higher term, or Redis is made to follow it."""
RELEASE_SECONDS = 2.0


async def claimed(
    log: Log, keys: GroupKeys, member: str, lease_seconds: float, truth: Truth
) -> tuple[Stored, Token] | None:
    """What is true under the lease of `member`; None if somebody else has it. A lease without the truth is given back,
    also when this is broken off: else others would wait for its end. Raises Unavailable."""
    token: Token | None = None
    above = 0
    try:
        for _ in range(CLAIMS):
            answer = await acquire(log, keys, member, round(lease_seconds * 1_000), above=above)
            if isinstance(answer, Held):
                return None
            token = answer.token(member)
            try:
                stored, mine, token = await truth.claim(log, keys, token, answer), token, None
            except TakeAnew as error:
                above = error.term
            else:
                return stored, mine
        return None
    finally:
        if token is not None:
            await let_go(log, keys, token)


async def let_go(log: Log, keys: GroupKeys, token: Token) -> None:
    """Whoever comes next need not wait for the lease; without an answer it ends by itself."""
    with suppress(EventStoreError), anyio.move_on_after(RELEASE_SECONDS, shield=True):
        await release(log, keys, token)
