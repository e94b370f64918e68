"""Real restarts of a lone server, on the data that it has on disk."""

from contextlib import suppress

import anyio.to_thread
import redis.exceptions

from tests.support.logs import restart_process
from tests.support.servers import Server, until


async def restart(server: Server) -> None:
    """Another process, ready again. The server must allow DEBUG."""
    await until(lambda: _answers(server))
    with suppress(ConnectionError):
        await anyio.to_thread.run_sync(restart_process, server)
    await until(lambda: _answers(server))


def _answers(server: Server) -> bool:
    try:
        return server.admin("PING") in {b"PONG", True}
    except redis.exceptions.ConnectionError:  # LOADING is one of them
        return False
