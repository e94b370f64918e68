"""Who competes at a level, and who does not, and why."""

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import log_appends
from benchmarks.contender import Absent, Contender
from benchmarks.own_server import BenchServer


class Peer(Struct, frozen=True):
    """Where its contenders come from, and the package without which its module cannot be imported."""

    module: str
    package: str
    door: str = "contenders"


PEERS = {
    "redis-py": Peer("plain", "redis"),
    "redis-benchmark": Peer("redis_benchmark", "redis"),
    "faststream": Peer("faststream", "faststream"),
    "umadb": Peer("umadb", "umadb"),
    "eventsourcing-sqlite": Peer("eventsourcing", "eventsourcing", "on_sqlite"),
    "eventsourcing-postgres": Peer("eventsourcing", "eventsourcing", "on_postgres"),
}


class Missing(Struct, frozen=True):
    """A peer that does not stand in the tables of a level."""

    peer: str
    level: str
    why: str


class Field(Struct, frozen=True):
    contenders: Sequence[Contender]
    missing: Sequence[Missing]


@asynccontextmanager
async def field(server: BenchServer, folder: Path, peers: Sequence[str]) -> AsyncIterator[Field]:
    """The log in its variants, then the peers that were asked for and can be had. Their servers run in the block."""
    contenders = log_appends.contenders(server)
    missing: list[Missing] = []
    async with AsyncExitStack() as stack:
        for name in peers:
            try:
                contenders += await stack.enter_async_context(_opened(PEERS[name], server, folder))
            except Absent as absent:
                missing.append(Missing(name, server.level, str(absent)))
        yield Field(contenders, missing)


def _opened(peer: Peer, server: BenchServer, folder: Path) -> AbstractAsyncContextManager[list[Contender]]:
    if find_spec(peer.package) is None:
        raise Absent(f"{peer.package} is not installed: pip install '.[bench]'")
    module: Any = importlib.import_module(f"benchmarks.peers.{peer.module}")
    found: AbstractAsyncContextManager[list[Contender]] = getattr(module, peer.door)(server, folder)
    return found
