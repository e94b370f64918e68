"""What an acknowledgement promises: in memory, on disk, or on so many replicas."""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct
from redis.exceptions import ResponseError

from eventstore.errors import InvalidRequest, Unavailable
from eventstore.server_facts import Facts
from infrastructure.connect import Command, Redis, Reply, refusal

# Where every write is synced before its reply goes out, no waiting is needed; but that may be changed under way.
SYNCED: Command = ("CONFIG", "GET", "appendonly", "appendfsync")
# Whatever is answered is no level: a promise of the merged order must be as durable as an append, also for a reader.
NEVER: Command = ("PING",)
_SYNCS = {(b"appendonly", b"yes"), (b"appendfsync", b"always")}


class Durability(Struct, frozen=True):
    """A level and the command that tells whether it is reached, sent behind the write on the same connection. None
    for `memory`, which the server gives with every write."""

    level: str
    wait: Command | None = None
    needed: int = 0
    wait_seconds: float = 0.0

    def reached(self, replies: list[Reply]) -> bool:
        """Whether the reply of `wait` tells so. WAITAOF answers (local, replicas), WAIT a count. A server that has
        been told to do without its file since refuses WAITAOF, or shows other settings than those it was chosen by."""
        if self.wait is None:
            return True
        reply = replies[0]
        if self.wait == SYNCED:
            return isinstance(reply, list) and set(_pairs(reply)) == _SYNCS
        count = reply[0] if isinstance(reply, list) else reply
        return isinstance(count, int) and count >= self.needed

    @property
    def commands(self) -> tuple[Command, ...]:
        return () if self.wait is None else (self.wait,)


async def choose(
    redis: Redis, servers: Sequence[Facts], wanted: str | None, timeout_seconds: float, *, read_only: bool = False
) -> Durability:
    """The level asked for; without one, what the servers give. A level that they cannot give, or whose command this
    user may not run, is refused; with `read_only` it is one that is never reached."""
    try:
        return await _tried(redis, servers, wanted, timeout_seconds)
    except Unavailable:
        if not read_only or wanted is None:
            raise
    return Durability(wanted, NEVER)


async def _tried(redis: Redis, servers: Sequence[Facts], wanted: str | None, timeout_seconds: float) -> Durability:
    level = _chosen(servers, wanted, timeout_seconds)
    if level.wait is not None and level.wait != SYNCED:
        trial = ("WAIT", 0, 1) if level.wait[0] == "WAIT" else ("WAITAOF", 0, 0, 1)
        for (reply,) in (await redis.run_on_masters(trial)).values():
            if isinstance(reply, ResponseError):
                raise refusal(reply)
    return level


def _chosen(servers: Sequence[Facts], wanted: str | None, timeout_seconds: float) -> Durability:
    if wanted is None:
        on_disk = all(s.keeps_a_file and s.appendfsync == "always" for s in servers)
        return Durability("fsync", SYNCED) if on_disk else Durability("memory")
    if wanted == "memory":
        return Durability("memory")
    if wanted == "fsync":
        return _fsync(servers, timeout_seconds)
    found = re.fullmatch(r"replicas:([1-9]\d?)", wanted)
    if not found:
        raise InvalidRequest(
            f"durability {wanted!r} is unknown", field="durability", remedy="memory, fsync or replicas:N (N from 1)"
        )
    return Durability(wanted, ("WAIT", int(found[1]), _milliseconds(timeout_seconds)), int(found[1]), timeout_seconds)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))  # 0 would wait for ever


def _fsync(servers: Sequence[Facts], timeout_seconds: float) -> Durability:
    for server in servers:
        if not server.keeps_a_file:
            raise Unavailable(
                "durability fsync: the server has appendonly no, so nothing reaches its disk",
                reason="unsupported",
                remedy="CONFIG SET appendonly yes (and write it to the server's configuration), or durability memory",
            )
    if all(s.appendfsync == "always" for s in servers):
        return Durability("fsync", SYNCED)
    # With appendfsync no the server never notes what has been synced: each WAITAOF would wait in vain.
    if all(s.has_waitaof and s.appendfsync != "no" for s in servers):
        return Durability("fsync", ("WAITAOF", 1, 0, _milliseconds(timeout_seconds)), 1, timeout_seconds)
    raise Unavailable(
        f"durability fsync: the server has appendfsync {servers[0].appendfsync or 'unreadable'}, and no WAITAOF for it",
        reason="unsupported",
        remedy="CONFIG SET appendfsync always; or everysec on a server with WAITAOF (Redis 7.2, Valkey 8)",
    )


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)
