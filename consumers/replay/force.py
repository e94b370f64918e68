"""A move of a group in one partition: the lease is taken by force, and ends with the move.

    take     by force, with a new term: whoever had it knows only what was
    make     the rows as they will be; what lies below the head cannot change meanwhile
    move     one script: offset, rows, what the replay wants; the lease is nobody's
    stale    somebody else took the lease by force: from the beginning

The same move is sent again while nobody knows whether it was carried out: it is carried out once. Whoever dies before
it has changed nothing, and the lease ends by itself.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from consumers.commit_call import rewind
from consumers.errors import EventStoreError, Stale, Unavailable
from consumers.keys import GroupKeys
from consumers.lease_calls import Held, acquire, release
from consumers.state import Rewind, Stored, Token
from eventstore.log import Log

LEASE_MS = 10_000
TRIES = 5
PAUSE_SECONDS = 0.1
Make = Callable[[Stored, Token], Awaitable[Rewind | None]]


async def move_by_force(log: Log, keys: GroupKeys, make: Make) -> Rewind | None:
    """What was moved. `make` says what from what is stored; None if nothing is to be: then the lease is given back.
    Raises GroupNotFound, Stale, Unavailable, LogDamaged, and what `make` raises; then nothing was moved, but for
    Unavailable that `maybe_ran`."""
    for number in range(1, TRIES + 1):
        me = f"replay-{secrets.token_hex(4)}"
        stored = await acquire(log, keys, me, LEASE_MS, force=True)
        if isinstance(stored, Held):
            raise TypeError("a lease that is taken by force is never held")
        token = stored.token(me)
        try:
            call = await make(stored, token)
            if call is not None:
                await _send(log, keys, call)
                return call
        except Stale:
            if number == TRIES:
                raise
            continue
        except BaseException:
            await _give_back(log, keys, token)
            raise
        await _give_back(log, keys, token)
        return None
    raise AssertionError("unreachable")


async def _send(log: Log, keys: GroupKeys, call: Rewind) -> None:
    until = anyio.current_time() + LEASE_MS / 1_000
    while True:
        try:
            await rewind(log, keys, call)
        except Unavailable as error:
            if error.is_final or anyio.current_time() > until:
                raise
        else:
            return
        await anyio.sleep(PAUSE_SECONDS)


async def _give_back(log: Log, keys: GroupKeys, token: Token) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(1.0), suppress(EventStoreError):  # it ends by itself
        await release(log, keys, token)
