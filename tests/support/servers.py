"""Real servers for tests: Redis, Sentinel and Cluster as processes on free loopback ports, gone when the block ends."""

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import redis

from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings

_BUS_OFFSET = 10_000  # a Cluster node also listens there
_READY_SECONDS = 20.0


LIVE: "list[Server]" = []
"""The lone servers that run now."""


class Server:
    """A server process. `admin` is a client of its own, so that tests do not ask the code under test."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
        self.process = process
        self.start: Callable[[], subprocess.Popen[bytes]] | None = None  # the same once more, after its end
        self.port = port
        self.folder = folder
        self.address = f"127.0.0.1:{port}"
        self.url = f"redis://{self.address}"
        self.settings = RedisSettings(url=SecretUrl(self.url))
        self._client: Any = redis.Redis(port=port, protocol=2, socket_timeout=10)
        self._client.response_callbacks.clear()  # replies as the server gives them

    def admin(self, *command: str | bytes | int) -> Any:
        return self._client.execute_command(*command)

    def calls_of(self, command: str) -> int:
        """How often the server has run a command, scripts' own calls included."""
        stats: bytes = self.admin("INFO", "commandstats")
        found = re.search(rf"^cmdstat_{command}:calls=(\d+)", stats.decode(), re.MULTILINE)
        return int(found[1]) if found else 0

    def clients(self) -> list[bytes]:
        """One line for each connection, that of `admin` included."""
        lines: list[bytes] = self.admin("CLIENT", "LIST", "TYPE", "NORMAL").splitlines()
        return lines

    def is_running(self, command: str) -> bool:
        """Whether the last command of a connection, done or not, is this one."""
        return any(f"cmd={command}".encode() in line for line in self.clients())

    def close(self) -> None:
        self._client.close()
        self.process.kill()
        self.process.wait()


@asynccontextmanager
async def redis_server(
    binary: str = "redis-server",
    args: Sequence[str] = (),
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """A lone server that keeps nothing, unless `args` say otherwise; ready when yielded. `environment` is added to that
    of the tests."""
    chosen = port or free_port()
    with tempfile.TemporaryDirectory(prefix="server-") as folder:
        listen = ["--port", str(chosen)] if "--tls-port" not in args else ["--port", "0"]
        plain = ["--bind", "127.0.0.1", "--dir", folder, "--save", "", "--repl-diskless-sync-delay", "0"]
        start = partial(_launch, [binary, *listen, *plain, *args], Path(folder), environment)
        server = Server(start(), chosen, Path(folder))
        server.start = start
        try:
            await until(lambda: _accepts(server))
            LIVE.append(server)
            yield server
        finally:
            if server in LIVE:
                LIVE.remove(server)
            server.close()


@asynccontextmanager
async def sentinel(
    master: Server, name: str = "mymaster", binary: str = "redis-server", lines: Sequence[str] = ()
) -> AsyncIterator[Server]:
    """One Sentinel that decides alone, quickly. `lines` are more of its configuration."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        config = _sentinel_config(Path(folder), port, master, name, lines)
        server = Server(_launch([binary, str(config), "--sentinel"], Path(folder)), port, Path(folder))
        try:
            await until(lambda: _accepts(server))
            yield server
        finally:
            server.close()


@asynccontextmanager
async def redis_cluster(masters: int = 3, binary: str = "redis-server") -> AsyncIterator[list[Server]]:
    """A Cluster of masters without replicas, the slots spread evenly over them in order."""
    async with AsyncExitStack() as stack:
        args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no"]
        ports = [free_port(bus=True) for _ in range(masters)]
        nodes = [await stack.enter_async_context(redis_server(binary, args, port=port)) for port in ports]
        edges = [16_384 * i // masters for i in range(masters + 1)]
        for i, node in enumerate(nodes):
            node.admin("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            node.admin("CLUSTER", "ADDSLOTSRANGE", edges[i], edges[i + 1] - 1)
            nodes[0].admin("CLUSTER", "MEET", "127.0.0.1", node.port)
        await until(lambda: all(_knows_all(node, masters) for node in nodes))
        yield nodes


def free_port(*, bus: bool = False) -> int:
    """A port of loopback that was free just now; with `bus`, the one that a Cluster node needs beside it, too."""
    for _ in range(200):
        port = random.randint(20_000, 30_000)  # below the range from which the system gives ports to clients
        if _is_free(port) and (not bus or _is_free(port + _BUS_OFFSET)):
            return port
    raise RuntimeError("no free port was found")


async def until(condition: Callable[[], bool], seconds: float = _READY_SECONDS) -> None:
    """Wait until something is true; the test fails if it does not become so."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - another process makes it true, and sets no event of ours
            await anyio.sleep(0.01)


async def tries(seconds: float = _READY_SECONDS) -> AsyncIterator[int]:
    """One try after another, a moment apart, until the loop is left; the test fails if none succeeds in time."""
    end = anyio.current_time() + seconds
    for number in count():
        yield number
        assert anyio.current_time() < end, f"{number} tries in {seconds} s, and none succeeded"
        await anyio.sleep(0.01)


def newer_servers() -> list[str]:
    """The server binaries of this machine besides `redis-server`, for tests that run on each."""
    places = [(os.environ.get(name), program) for name, program in _MORE]
    return [str(Path(place, program)) for place, program in places if place and Path(place, program).exists()]


_MORE = [("REDIS8_BIN", "redis-server"), ("VALKEY8_BIN", "valkey-server")]


def _sentinel_config(folder: Path, port: int, master: Server, name: str, lines: Sequence[str]) -> Path:
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {name} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n"
        + "".join(f"{line}\n" for line in lines)
    )
    return config


def _launch(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not installed")
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )


def _accepts(server: Server) -> bool:
    if server.process.poll() is not None:
        raise RuntimeError(f"the server ended: {(server.folder / 'log').read_text()}")
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True


def _knows_all(node: Server, masters: int) -> bool:
    state = node.admin("CLUSTER", "INFO")
    return b"cluster_state:ok" in state and len(node.admin("CLUSTER", "SLOTS")) == masters


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
