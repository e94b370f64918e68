"""What an acknowledgement promises: in memory, on disk, or on so many replicas."""

import re

from msgspec import Struct
from redis.exceptions import ResponseError

from eventstore.errors import InvalidRequest, Unavailable
from infrastructure.connect import Command, Redis, Reply, refusal


class Durability(Struct, frozen=True):
    """A level and the command that waits for it, sent behind the write on the same connection. No command: the server
    gives the level with every write (`memory`, or `appendfsync always`)."""

    level: str
    wait: Command | None = None
    needed: int = 0
    wait_seconds: float = 0.0

    def reached(self, replies: list[Reply]) -> bool:
        """Whether the reply of `wait` tells so. WAITAOF answers (local, replicas), WAIT a count."""
        if self.wait is None:
            return True
        reply = replies[0]
        count = reply[0] if isinstance(reply, list) else reply
        return isinstance(count, int) and count >= self.needed

    @property
    def commands(self) -> tuple[Command, ...]:
        return () if self.wait is None else (self.wait,)


class Persistence(Struct, frozen=True):
    """What a server says of its own persistence; None where it may not be asked."""

    appendonly: bool | None
    appendfsync: str | None
    has_waitaof: bool


async def choose(redis: Redis, wanted: str | None, timeout_seconds: float) -> Durability:
    """The level asked for; without one, what the server gives. A level that it cannot give, or whose command this user
    may not run, is refused."""
    level = await _chosen(redis, wanted, timeout_seconds)
    if level.wait is not None:
        trial = ("WAIT", 0, 1) if level.wait[0] == "WAIT" else ("WAITAOF", 0, 0, 1)
        for (reply,) in (await redis.run_on_masters(trial)).values():
            if isinstance(reply, ResponseError):
                raise refusal(reply)
    return level


async def _chosen(redis: Redis, wanted: str | None, timeout_seconds: float) -> Durability:
    servers = await persistence(redis)
    if wanted is None:
        on_disk = all(s.appendonly and s.appendfsync == "always" for s in servers)
        return Durability("fsync" if on_disk else "memory")
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


def _fsync(servers: list[Persistence], timeout_seconds: float) -> Durability:
    for server in servers:
        if server.appendonly is False:
            raise Unavailable(
                "durability fsync: the server has appendonly no, so nothing reaches its disk",
                reason="unsupported",
                remedy="CONFIG SET appendonly yes (and write it to the server's configuration), or durability memory",
            )
    if all(s.appendfsync == "always" for s in servers):
        return Durability("fsync")
    # With appendfsync no the server never notes what has been synced: each WAITAOF would wait in vain.
    if all(s.has_waitaof and s.appendfsync != "no" for s in servers):
        return Durability("fsync", ("WAITAOF", 1, 0, _milliseconds(timeout_seconds)), 1, timeout_seconds)
    raise Unavailable(
        f"durability fsync: the server has appendfsync {servers[0].appendfsync or 'unreadable'}, and no WAITAOF for it",
        reason="unsupported",
        remedy="CONFIG SET appendfsync always; or everysec on a server with WAITAOF (Redis 7.2, Valkey 8)",
    )


async def persistence(redis: Redis) -> list[Persistence]:
    """One Persistence for each master."""
    replies = await redis.run_on_masters(("CONFIG", "GET", "append*"), ("COMMAND", "INFO", "WAITAOF"))
    return [_persistence(settings, command) for settings, command in replies.values()]


def _persistence(settings: Reply, command: Reply) -> Persistence:
    known = isinstance(settings, list)
    values = dict(zip(settings[::2], settings[1::2], strict=True)) if known else {}
    return Persistence(
        appendonly=values.get(b"appendonly") == b"yes" if known else None,
        appendfsync=values.get(b"appendfsync", b"").decode() if known else None,
        has_waitaof=isinstance(command, list) and bool(command and command[0]),
    )
