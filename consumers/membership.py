"""The members of a group: who lives, and what each says of itself.

They are listed once per group, in the slot of its home partition. A member says that it lives with each heartbeat, and
hears who else does; who has not said so for its time to live is taken off by whoever notices. The list decides nothing
by itself: it is what each member computes the assignment from, and the leases decide who holds what. So a list that is
old, or that two members see differently for a moment, costs a detour and never an event.
"""

import os
import re
import secrets
import socket
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Literal

import msgspec
from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.keys import group_keys, home_of, members_key
from eventstore.errors import LogDamaged
from eventstore.log import Log
from infrastructure import lua
from infrastructure.connect import refusal
from infrastructure.patience import answer, replies

TTL_SECONDS = 10.0
"""How long a member counts as alive after a heartbeat: as long as a lease."""
_VALUE = re.compile(rb"(\d+) (\d+) (.*)", re.DOTALL)
_heartbeat = lua.load("consumers", "heartbeat")
_leave = lua.load("consumers", "leave")


class Member(Struct, frozen=True):
    """What a member says of itself. `partitions` are those whose lease it holds; `breaker` is open while too much fails
    for the group to go on, by `breaker_error` at last; it has `handling` events in hands, of which `retrying` have
    failed just now and are tried again at once; `handlers` tell what each does with events that are replayed, `rate`
    how many events in a second the group may handle."""

    id: str
    host: str
    pid: int
    started_us: int
    partitions: tuple[int, ...] = ()
    breaker: Literal["closed", "open"] = "closed"
    breaker_error: str = ""
    handling: int = 0
    retrying: int = 0
    version: str = ""
    handlers: dict[str, str] = {}
    rate: float | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Member).decode


def new_member(started_us: int) -> Member:
    """A member of this process, unlike every other, also of a process that had the same number before."""
    host, pid = socket.gethostname(), os.getpid()
    return Member(f"{host}-{pid}-{secrets.token_hex(3)}", host, pid, started_us, version=_package_version())


class Members:
    """The members of one group of a log."""

    def __init__(self, log: Log, group: str, *, ttl_seconds: float = TTL_SECONDS) -> None:
        self._log, self.group = log, group
        self._ttl_ms = round(ttl_seconds * 1_000)
        home = group_keys(log.keys, group, home_of(group, log.partitions))
        self._listed = members_key(log.keys, group, log.partitions)
        self._keys = (home.control, self._listed, home.bell)

    async def heartbeat(self, member: Member) -> list[Member]:
        """Says that the member lives; who lives, itself included, in order of their ids. When that has changed, the
        bell of the home partition rings. Raises GroupNotFound, Unavailable."""
        reply = await answer(self._log.redis, _heartbeat, self._keys, (member.id, _encode(member), self._ttl_ms))
        if isinstance(reply, Exception):
            raise refusal(reply)
        if reply is None:
            raise GroupNotFound(self.group)
        _, *said = reply
        return sorted(map(self._read, said[1::2]), key=lambda each: each.id)

    async def leave(self, member: Member) -> None:
        """Takes the member off the list, and rings. Leaving twice does no harm. Raises Unavailable."""
        reply = await answer(self._log.redis, _leave, self._keys, (member.id,))
        if isinstance(reply, Exception):
            raise refusal(reply)

    async def live(self) -> list[Member]:
        """Who lives, for one who is no member; changes nothing. In order of their ids. Raises Unavailable."""
        stored, (seconds, microseconds) = await replies(
            self._log.redis, self._listed, ("HGETALL", self._listed), ("TIME",)
        )
        now_ms = int(seconds) * 1_000 + int(microseconds) // 1_000
        found = []
        for value in filter(None, map(_VALUE.fullmatch, stored[1::2])):  # the heartbeat passes over others, too
            seen_ms, ttl_ms, said = value.groups()
            if abs(now_ms - int(seen_ms)) <= int(ttl_ms):
                found.append(self._read(said))
        return sorted(found, key=lambda each: each.id)

    def _read(self, said: bytes) -> Member:
        try:
            return _decode(said)
        except msgspec.MsgspecError as error:
            raise LogDamaged(f"{self._listed} has a member that says {said[:80]!r}: {error}") from error


@cache
def _package_version() -> str:
    try:
        return installed("redis-eventstore")
    except PackageNotFoundError:
        return "0 (not installed)"
