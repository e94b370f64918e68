"""A primary, another server that is its replica until a test says otherwise, and a Sentinel that names the primary."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

from tests.support.logs import attach
from tests.support.servers import Server, redis_server, sentinel


class Pair(Struct):
    """The primary, the other server, and the Sentinel that says which is which."""

    primary: Server
    other: Server
    watcher: Server

    def detach(self) -> None:
        """The other is a primary now, which nobody knows yet; what is written from now on it does not get."""
        self.other.admin("REPLICAOF", "NO", "ONE")

    def switch(self) -> None:
        """The other is named the primary; the old one is demoted, keeps its clients, and forgets what only it had."""
        self.primary.admin("REPLICAOF", "127.0.0.1", self.other.port)
        self.watcher.admin("SENTINEL", "REMOVE", "mymaster")
        self.watcher.admin("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", self.other.port, 1)
        self.primary, self.other = self.other, self.primary


@asynccontextmanager
async def pair(
    program: str = "redis-server", clock: Mapping[str, str] | None = None, *, args: Sequence[str] = ()
) -> AsyncIterator[Pair]:
    """`clock` is the environment of the other. The Sentinel changes nothing by itself."""
    async with (
        redis_server(program, args) as one,
        redis_server(program, args, environment=clock) as two,
        sentinel(one, lines=["sentinel down-after-milliseconds mymaster 60000"]) as watcher,
    ):
        made = Pair(one, two, watcher)
        await attach(two, one)
        yield made
