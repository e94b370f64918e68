"""A process that uses the embedded server of a folder: `python -m tests.support.embedded_user FOLDER`.

Prints `PID URL` once the server is ready. Then, for each line of its input: `restart` starts the server again if it is
dead and prints the line anew; the end of the input, or SIGINT, makes it leave.
"""

import sys
from pathlib import Path

import anyio

from infrastructure.embedded import EmbeddedServer, embedded


async def main(folder: str) -> None:
    async with embedded(Path(folder)) as server:
        _tell(server)
        while await _next_line():
            await server.restart_if_dead()
            _tell(server)


async def _next_line() -> str:
    await anyio.wait_readable(sys.stdin)  # a thread that reads would keep the process from ending
    return sys.stdin.readline()


def _tell(server: EmbeddedServer) -> None:
    print(server.pid, server.url, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
