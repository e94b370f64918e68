"""The server that all users of Redis share: started by the benchmark, with data of its own. It is reached over TCP on
loopback, as the servers of the peers are; a unix socket, faster by 5-10 %, is for what is not measured."""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import redis.asyncio
from redis.exceptions import RedisError

from benchmarks.ports import HOST, free_port

Level = Literal["fsync", "memory"]
_PERSISTENCE = {
    "fsync": ("--appendonly", "yes", "--appendfsync", "always"),
    "memory": ("--appendonly", "no"),
}
_READY_SECONDS = 20.0
_CLEAN_SECONDS = 60.0


class BenchServer:
    """One server process. `admin` is a plain client, so that counts are not checked by the code under test."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, socket: Path, level: Level) -> None:
        self.port = port
        self.level: Level = level
        self.url = f"redis://{HOST}:{port}"
        self.admin: Any = redis.asyncio.Redis.from_url(f"unix://{socket}")
        self._process = process
        self._prefixes = 0

    def fresh_prefix(self) -> str:
        self._prefixes += 1
        return f"bench{self._prefixes}"

    async def cpu_seconds(self) -> float:
        """The processor time that the server has used, in all its threads."""
        used = await self.admin.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    def pids(self) -> list[int]:
        return [self._process.pid]

    async def version(self) -> str:
        info = await self.admin.info("server")
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"

    async def clean(self) -> None:
        """Remove all data, also from the append-only file, so that the next contestant finds the server as the last
        one did. Returns when the server has nothing left to do."""
        await self.admin.execute_command("FLUSHALL", "SYNC")  # Valkey would otherwise free it while the next one runs
        if self.level == "fsync":
            await self.admin.bgrewriteaof()
            with anyio.fail_after(_CLEAN_SECONDS):
                while await self._rewrites():  # noqa: ASYNC110 - the server sets no event of ours
                    await anyio.sleep(0.01)

    async def _rewrites(self) -> bool:
        state = await self.admin.info("persistence")
        return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

    async def until_ready(self) -> None:
        with anyio.fail_after(_READY_SECONDS):
            while not await self._answers():
                if self._process.poll() is not None:
                    raise RuntimeError(f"the server ended with {self._process.returncode} as it started")
                await anyio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            return bool(await self.admin.ping())
        except (RedisError, OSError):
            return False


@asynccontextmanager
async def own_server(program: str, level: Level, folder: Path) -> AsyncIterator[BenchServer]:
    """A server that keeps its data in a folder of its own inside `folder`; both are gone when the block ends."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="data-", dir=folder) as data,
        tempfile.TemporaryDirectory(prefix="bench-") as short,  # a socket's path must be under 104 bytes
        _process(program, port, Path(short, "s"), data, level) as process,
    ):
        server = BenchServer(process, port, Path(short, "s"), level)
        try:
            await server.until_ready()
            yield server
        finally:
            await server.admin.aclose()


@contextmanager
def _process(program: str, port: int, socket: Path, data: str, level: Level) -> "Iterator[subprocess.Popen[bytes]]":
    place = ["--bind", HOST, "--port", str(port), "--unixsocket", str(socket), "--dir", data, "--daemonize", "no"]
    # No snapshot or rewrite may begin on its own in the middle of a measurement.
    quiet = ["--save", "", "--auto-aof-rewrite-percentage", "0", "--maxmemory-policy", "noeviction"]
    command = [program, *place, *quiet, *_PERSISTENCE[level]]
    with Path(data, "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
