"""The connections to one server, bounded and kept for reuse.

Our own, for three properties that the pools of redis-py lack: giving a connection back never waits (so a cancelled task
cannot leak it), waiting for one is bounded, and reads that block have connections apart, so that a hundred waiting
readers never keep an append from its server.
"""

import asyncio
from collections.abc import Sequence

import anyio
from redis.exceptions import RedisError, ResponseError

from infrastructure.errors import Unavailable
from infrastructure.refusals import lost
from infrastructure.wires import Command, Dial, Reply, Wire, pack

_WAITING = ("WAIT", "WAITAOF")
_NOTHING_TO_WAIT_FOR = ResponseError("nothing to wait for: all that came before was refused")


class Withdrawn(Exception):
    """The call was not sent, for whoever asked for it has been told so."""


class Sending:
    """What is known of a call under way, for who cannot wait for its end."""

    __slots__ = ("in_doubt", "withdrawn")

    def __init__(self) -> None:
        self.in_doubt = False
        """Whether anything of it may have reached a server that may have run it."""
        self.withdrawn = False
        """Set by who has said, while there was no doubt, that it has not been sent: then it must not be any more."""


class Pool:
    """At most `limit` connections to one address. `seconds` bounds the wait for one, and then that for the replies."""

    def __init__(self, dial: Dial, address: str, limit: int, seconds: float) -> None:
        self._dial = dial
        self._address = address
        self._limit = limit
        self._seconds = seconds
        self._free = anyio.Semaphore(limit, fast_acquire=True)
        self._idle: list[Wire] = []  # the last one is used first: it is the least likely to have been closed
        self._retired = False

    async def exchange(self, *commands: Command, longer_by: float = 0.0, sending: Sending | None = None) -> list[Reply]:
        """The replies to all commands, sent at once on one connection; a ResponseError stands in its place.

        Raises Unavailable; once anything may have reached the server, with `maybe_ran`. Whatever ends this before the
        last reply is read ends the connection too: the next one to use it would read replies that are not its own.
        Behind commands that were all refused no WAIT is waited for: it would take its whole time, and tell of nothing.
        `sending` knows of a doubt as soon as there is one; Withdrawn is raised if it is withdrawn before.
        """
        packed, sending = pack(commands), sending or Sending()
        waits, refused = _waits(commands) if longer_by else 0, False
        wire = await self._take()
        if sending.withdrawn:
            self._give_back(wire)
            raise Withdrawn
        try:
            # asyncio's own timeout costs a lone call 10 % less than anyio's
            async with asyncio.timeout(self._seconds + longer_by):
                sending.in_doubt = True
                replies = await wire.exchange(packed, len(commands) - waits)
                if waits:
                    refused = _all_refused(commands, replies)
                    replies += [_NOTHING_TO_WAIT_FOR] * waits if refused else await wire.replies(waits)
        except (RedisError, OSError) as error:
            self._drop(wire)
            raise lost(error, self._address, maybe_ran=True, unanswered_tls=wire.unanswered_tls) from error
        except BaseException:
            self._drop(wire)
            raise
        if refused:
            self._drop(wire)
        else:
            self._give_back(wire)
        return replies

    def retire(self) -> None:
        """Close what is idle now, and what is in use once it comes back."""
        self._retired = True
        while self._idle:
            self._idle.pop().abort()

    async def _take(self) -> Wire:
        await self._wait_for_turn()
        try:
            while self._idle:
                wire = self._idle.pop()
                if await wire.usable():
                    return wire
                wire.abort()
            wire = self._dial.make(self._address)
            await wire.open()
        except BaseException:
            self._free.release()
            raise
        return wire

    def _give_back(self, wire: Wire) -> None:
        if self._retired:
            wire.abort()
        else:
            self._idle.append(wire)
        self._free.release()

    def _drop(self, wire: Wire) -> None:
        wire.abort()
        self._free.release()

    async def _wait_for_turn(self) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(self._seconds):
                    await self._free.acquire()
            except TimeoutError:
                raise Unavailable(
                    f"all {self._limit} connections to {self._address} were in use for {self._seconds:g} s",
                    reason="timeout",
                    remedy="raise redis.max_connections, or start fewer tasks",
                ) from None


def _waits(commands: Sequence[Command]) -> int:
    """How many commands at the end wait for replicas or the disk."""
    count = 0
    while count < len(commands) and commands[-1 - count][0] in _WAITING:
        count += 1
    return count


def _all_refused(commands: Sequence[Command], replies: Sequence[Reply]) -> bool:
    return all(
        isinstance(reply, ResponseError) or command[0] == "ASKING"
        for command, reply in zip(commands, replies, strict=False)
    )


class Node:
    """One server: its connections for calls, and those for reads that wait there for something to happen."""

    def __init__(self, dial: Dial, address: str, limit: int, seconds: float) -> None:
        self.address = address
        self.calls = Pool(dial, address, limit, seconds)
        self.blocks = Pool(dial, address, limit, seconds)

    def retire(self) -> None:
        self.calls.retire()
        self.blocks.retire()
