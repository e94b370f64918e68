"""A TCP proxy between client and server that loses replies on command, and remembers what was asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Proxy:
    """Passes everything on, until told otherwise. `sent` is all that clients have sent."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.sent = bytearray()
        self._target_port = target_port
        self._losing = False
        self._cutting = False

    def lose_replies(self) -> None:
        """From now on requests reach the server, and its replies vanish: the client waits in vain."""
        self._losing = True

    def cut_at_next_reply(self) -> None:
        """The next request reaches the server; instead of its reply the client sees the connection end."""
        self._cutting = True

    def pass_on(self) -> None:
        """Behave again."""
        self._losing = self._cutting = False

    async def serve(self, client: ByteStream) -> None:
        upstream = await anyio.connect_tcp("127.0.0.1", self._target_port)
        async with client, upstream, anyio.create_task_group() as group:
            group.start_soon(self._requests, client, upstream, group)
            group.start_soon(self._replies, upstream, client, group)

    async def _requests(self, client: ByteStream, server: ByteStream, group: TaskGroup) -> None:
        with suppress(*_GONE):
            while True:
                data = await client.receive()
                self.sent += data
                await server.send(data)
        group.cancel_scope.cancel()

    async def _replies(self, server: ByteStream, client: ByteStream, group: TaskGroup) -> None:
        with suppress(*_GONE):
            while True:
                data = await server.receive()
                if self._cutting:
                    break
                if not self._losing:
                    await client.send(data)
        group.cancel_scope.cancel()


@asynccontextmanager
async def proxy(target_port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free loopback port (`port`) in front of a server."""
    proxy = Proxy(target_port)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        proxy.port = listener.extra(SocketAttribute.local_port)
        group.start_soon(listener.serve, proxy.serve)
        yield proxy
        group.cancel_scope.cancel()
