"""Connections to Redis or Valkey, alone, behind Sentinel or as a Cluster, where no command is ever sent twice.

Importing this module loads the Redis client, which takes 0.4 s: import it where a connection is really made.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from redis.exceptions import ResponseError

from infrastructure.errors import SettingsError, Unavailable
from infrastructure.pools import Node, Sending
from infrastructure.refusals import code_of, refusal
from infrastructure.routes import Cluster, Routes, Sentinel, Standalone
from infrastructure.wires import Command, Reply, dial

if TYPE_CHECKING:
    from infrastructure.settings import RedisSettings

__all__ = ["Command", "Redis", "Reply", "connect", "refusal"]

Revive = Callable[[], Awaitable[None]]
_ELSEWHERE = {"MOVED", "ASK", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "UNBLOCKED"}
_OF_THE_NODE = {"WAIT", "WAITAOF", "CONFIG"}  # have no key: they follow the write that they are asked about
_SENTINEL_CONNECTIONS = 2


@asynccontextmanager
async def connect(settings: "RedisSettings", revive: Revive | None = None) -> "AsyncIterator[Redis]":
    """Connect, and close when the block ends. Raises Unavailable (reason, detail, remedy) if that is impossible now.

    One `Redis` serves all tasks of an event loop; it opens connections as they are needed. `revive` starts the server
    again: it is called when nothing listens any more, before the call that found out goes there once more.
    """
    redis = Redis(settings, revive)
    try:
        await redis.open()
        yield redis
    finally:
        redis.close()


class Redis:
    """One log's server or servers. Made by `connect`."""

    def __init__(self, settings: "RedisSettings", revive: Revive | None) -> None:
        self.settings = settings
        """By which another event loop may connect to the same servers."""
        self.is_cluster = settings.cluster
        self._revive = revive
        self._routes = _routes(settings)
        self._refreshing = anyio.Lock()
        self._failures = 0
        self._failure: Unavailable | None = None
        self._stale = True
        self._closed = False

    async def run(
        self, key: str, *commands: Command, longer_by: float = 0.0, sending: Sending | None = None
    ) -> list[Reply]:
        """All commands, written at once and in order, on one connection to the primary that serves `key`.

        A refused command has its ResponseError in its place. Raises Unavailable when the connection fails; `maybe_ran`
        tells whether any byte may have reached the server. Never sends anything twice. A cancelled call's connection is
        dropped, so that no reply ever reaches another caller. The replies are awaited for the socket timeout, and
        `longer_by` seconds more: the time that a WAIT among the commands may take.

        After a reply that says that the key is served elsewhere (MOVED, READONLY, ...), and after a failed connection,
        the next call asks anew who serves it. A command that is refused with ASK has surely not run: it goes where ASK
        said, with what its call asks of the node: WAIT, WAITAOF, CONFIG. `sending` tells meanwhile what is in doubt.
        """
        return await self._run(key, commands, longer_by=longer_by, blocking=False, sending=sending)

    async def execute(self, key: str, *command: str | bytes | int | float) -> Reply:
        """One command; what the server refuses is raised, as `refusal` translates it."""
        (reply,) = await self._run(key, (command,), longer_by=0.0, blocking=False)
        return _accepted(reply)

    async def block(self, key: str, *command: str | bytes | int | float, seconds: float) -> Reply:
        """One command that waits at the server for up to `seconds` (XREAD BLOCK), on a connection of its own."""
        (reply,) = await self._run(key, (command,), longer_by=seconds, blocking=True)
        return _accepted(reply)

    async def run_on_masters(self, *commands: Command) -> dict[str, list[Reply]]:
        """The replies of every server that accepts writes, by address. Raises Unavailable if one does not answer."""
        await self._fresh()
        return {
            address: await self._exchange(node, commands, longer_by=0.0, blocking=False)
            for address, node in self._routes.masters().items()
        }

    async def open(self) -> None:
        """Reach the servers once, so that what is wrong is said at the start. For `connect`."""
        await self._fresh()

    def close(self) -> None:
        """Close what is idle; a call that still runs closes its connection as it ends. For `connect`."""
        self._closed = True
        self._routes.retire()

    async def _run(
        self,
        key: str,
        commands: Sequence[Command],
        *,
        longer_by: float,
        blocking: bool,
        sending: Sending | None = None,
    ) -> list[Reply]:
        await self._fresh()
        try:
            node = self._routes.find(key)
        except Unavailable:
            self._stale = True
            raise
        replies = await self._exchange(node, commands, longer_by=longer_by, blocking=blocking, sending=sending)
        asked: dict[int, Node] = {}
        for place, reply in enumerate(replies):
            if isinstance(reply, ResponseError) and code_of(reply) in _ELSEWHERE:
                self._stale = self._stale or code_of(reply) != "ASK"  # after ASK the owner is the same
                if target := self._routes.redirect(reply, node):
                    asked[place] = target
        if asked:
            await self._ask(commands, replies, asked, longer_by=longer_by, blocking=blocking, sending=sending)
        return replies

    async def _ask(
        self,
        commands: Sequence[Command],
        replies: list[Reply],
        asked: Mapping[int, Node],
        *,
        longer_by: float,
        blocking: bool,
        sending: Sending | None,
    ) -> None:
        """Sends what was refused with ASK where that said, and puts the replies into their places. Each command by
        itself: of the keys of one call some may have moved and others not. What tells of replicas or the disk follows
        the write that it is about."""
        target = next(iter(asked.values()))  # a slot moves to one node
        places = [i for i, command in enumerate(commands) if i in asked or command[0] in _OF_THE_NODE]
        words = [[("ASKING",), commands[i]] if i in asked else [commands[i]] for i in places]
        others_ran = len(places) < len(commands)
        if sending is not None:
            sending.in_doubt = others_ran
        try:
            answers = await self._exchange(
                target,
                [command for group in words for command in group],
                longer_by=longer_by,
                blocking=blocking,
                sending=sending,
            )
        except Unavailable as error:
            error.maybe_ran = error.maybe_ran or others_ran
            raise
        last = -1
        for place, group in zip(places, words, strict=True):
            last += len(group)
            replies[place] = answers[last]

    async def _fresh(self) -> None:
        """Know who serves what. Tasks that find it out of date share one question, and its failure too."""
        if self._closed:
            raise Unavailable("the connection to the server has been closed", reason="closed")
        if not self._stale:
            return
        failures = self._failures
        async with self._refreshing:
            if self._failures != failures and (failure := self._failure):
                raise Unavailable(failure.detail, reason=failure.reason, remedy=failure.remedy) from failure
            if self._stale:
                await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._routes.refresh()
        except Unavailable as error:
            self._failures += 1
            self._failure = error
            raise
        self._stale = False

    async def _exchange(
        self,
        node: Node,
        commands: Sequence[Command],
        *,
        longer_by: float,
        blocking: bool,
        sending: Sending | None = None,
    ) -> list[Reply]:
        pool = node.blocks if blocking else node.calls
        try:
            return await pool.exchange(*commands, longer_by=longer_by, sending=sending)
        except Unavailable as error:
            self._stale = True
            if self.is_cluster and error.reason == "unreachable":
                error.remedy = "start this node of the Cluster, or let a replica of it take over: see CLUSTER NODES"
            if self._revive is None or error.reason != "unreachable" or error.maybe_ran:
                raise
            await self._revive()
            # For the first time: nobody listened.
            return await pool.exchange(*commands, longer_by=longer_by, sending=sending)


def _accepted(reply: Reply) -> Reply:
    if isinstance(reply, ResponseError):
        raise refusal(reply) from reply
    return reply


def _routes(settings: "RedisSettings") -> Routes:
    way, patience = dial(settings), settings.socket_timeout_seconds

    def make(address: str) -> Node:
        return Node(way, address, settings.max_connections, patience)

    if settings.cluster:
        named = [way.seed] if settings.url or settings.host or not settings.nodes else []
        return Cluster([*named, *settings.nodes], make)
    if settings.nodes:
        raise SettingsError(
            "nodes of a Cluster are named, and the server is to be taken for a lone one",
            field="redis.nodes",
            remedy="set redis.cluster (REDIS_CLUSTER=true), or leave redis.nodes out",
        )
    if settings.sentinels and not settings.url:
        aside = dial(settings, sentinels=True)
        sentinels = [Node(aside, address, _SENTINEL_CONNECTIONS, patience) for address in settings.sentinels]
        return Sentinel(sentinels, settings.sentinel_master or "mymaster", make)
    return Standalone(make(way.seed))
