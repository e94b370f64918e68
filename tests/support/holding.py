"""A group in one partition, held by a member that does nothing but what a test tells it."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from consumers.commit_call import commit, rewind
from consumers.keys import GroupKeys, effect_key, group_keys
from consumers.lease_calls import acquire, create
from consumers.state import Commit, Committed, Effect, Rewind, Row, RowState, Stored
from eventstore import EventStore
from eventstore.cursor import Place
from tests.support.servers import Server

LEASE_MS = 60_000


class Holding:
    """Who has the lease of the group `g` in partition 0, and commits under the next number. Places are those of the
    lease's epoch."""

    def __init__(self, store: EventStore, keys: GroupKeys, stored: Stored, owner: str) -> None:
        self.store, self.keys, self.stored = store, keys, stored
        self.token = stored.token(owner)
        self.number, self.offset = 0, stored.offset

    def place(self, position: int) -> Place:
        return (self.token.epoch if position else 0), position

    def pending(self, position: int) -> str:
        return f"{self.token.epoch}-{position}"

    def call(self, position: int | None = None, rows: Mapping[str, Row] | None = None, **brought: Any) -> Commit:
        offset = self.offset if position is None else self.place(position)
        return Commit(self.token, self.number + 1, offset, rows or {}, **brought)

    async def commit(
        self, position: int | None = None, rows: Mapping[str, Row] | None = None, **brought: Any
    ) -> Committed:
        return await self.send(self.call(position, rows, **brought))

    async def send(self, call: Commit) -> Committed:
        reply = await commit(self.store.log, self.keys, call)
        self.number, self.offset = call.number, call.offset
        return reply

    def retrying(self, position: int, version: int, attempts: int = 1, **changes: Any) -> Row:
        """A row of a stream whose event at that position has failed."""
        row = Row(version, RowState.RETRYING, attempts, 1_000, 0, self.pending(position))
        return replace(row, **changes)

    def parked(self, position: int, version: int, attempts: int = 8) -> Row:
        return self.retrying(position, version, attempts, state=RowState.PARKED, due_ms=0)

    def effect_key(self, name: str) -> str:
        return effect_key(self.store.log.keys, self.keys.group, self.keys.partition, name)

    def counted(self, name: str) -> Effect:
        """An effect that shows how often it was carried out."""
        return Effect("HINCRBY", self.effect_key(name), ("n", 1))

    async def rewound(self, position: int, fin: int = 0, **changes: Any) -> "Holding":
        """A replay from a position on; the lease, which it ends, is taken again."""
        call = Rewind(self.token, self.place(position), fin, **changes)
        await rewind(self.store.log, self.keys, call)
        return await held(self.store, self.token.owner, group=self.keys.group)


async def held(store: EventStore, member: str = "ada", *, force: bool = False, group: str = "g") -> Holding:
    """The lease, of a group that begins at the first event if it is not there."""
    keys = group_keys(store.log.keys, group, 0)
    await create(store.log, keys, (0, 0))
    stored = await acquire(store.log, keys, member, LEASE_MS, force=force)
    assert isinstance(stored, Stored)
    return Holding(store, keys, stored, member)


def everything(server: Server) -> dict[bytes, bytes]:
    """All keys of the server, with all that they hold: to see that nothing has changed."""
    return {key: server.admin("DUMP", key) for key in server.admin("KEYS", "*")}


def redis_group(server: Server, keys: GroupKeys) -> dict[str, Any]:
    """What Redis itself tells of the group: where it stands, its lag, its pending entries."""
    for flat in server.admin("XINFO", "GROUPS", keys.log):
        found = dict(zip(flat[::2], flat[1::2], strict=True))
        if found[b"name"].decode() == keys.group:
            return {
                "offset": int(found[b"last-delivered-id"].partition(b"-")[2]),
                "lag": found[b"lag"],
                "pending": _pending(server, keys),
            }
    return {}


def _pending(server: Server, keys: GroupKeys) -> dict[int, tuple[str, int]]:
    """Position -> consumer, delivery count."""
    found = server.admin("XPENDING", keys.log, keys.group, "-", "+", 1_000)
    return {int(entry_id.partition(b"-")[2]): (name.decode(), count) for entry_id, name, _, count in found}


def fields_of(server: Server, key: str) -> dict[str, str]:
    """The fields of a hash, but for the one that is always there."""
    flat = [word.decode() for word in server.admin("HGETALL", key)]
    return {name: value for name, value in zip(flat[::2], flat[1::2], strict=True) if name}
