"""The members of a group on a real server: who lives, who has gone, and when the bell rings."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from consumers.errors import GroupNotFound
from consumers.keys import group_keys, home_of, members_key
from consumers.membership import Member, Members, new_member
from eventstore.errors import LogDamaged
from eventstore.store import EventStore
from infrastructure.errors import Unavailable
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
ADA = Member("host-1-00000a", "host", 1, 1_795_600_215_640_217, partitions=(0, 3))
BOB = Member("host-2-00000b", "host", 2, 1_795_600_215_640_218, breaker="open")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    """A log, and on it what makes a group exist for its members: the control hash of its home."""
    async with open_store(server) as one:
        home = group_keys(one.log.keys, "mailer", home_of("mailer", one.log.partitions))
        await one.log.redis.execute(home.control, "HSET", home.control, "owner", "")
        yield one


async def rings(store: EventStore) -> int:
    bell = group_keys(store.log.keys, "mailer", home_of("mailer", store.log.partitions)).bell
    info: list[object] = await store.log.redis.execute(bell, "XINFO", "STREAM", bell)
    facts = dict(zip(info[::2], info[1::2], strict=True))
    assert facts[b"length"] == 1, "the bell keeps its last ring only"
    rung = facts[b"entries-added"]
    assert isinstance(rung, int)
    return rung


async def test_members_hear_of_each_other_by_their_heartbeats(store: EventStore) -> None:
    members = Members(store.log, "mailer")
    assert await members.heartbeat(ADA) == [ADA]
    assert await members.heartbeat(BOB) == [ADA, BOB]
    changed = replace(ADA, partitions=(1,))
    assert await members.heartbeat(changed) == [changed, BOB]
    assert await members.live() == [changed, BOB]


async def test_who_leaves_is_no_member_and_may_leave_again(store: EventStore) -> None:
    members = Members(store.log, "mailer")
    await members.heartbeat(ADA)
    await members.heartbeat(BOB)
    await members.leave(BOB)
    await members.leave(BOB)
    assert await members.heartbeat(ADA) == [ADA]
    await members.leave(ADA)
    assert await members.live() == []


async def test_who_is_silent_for_its_time_to_live_is_dropped(store: EventStore) -> None:
    members, short = Members(store.log, "mailer"), Members(store.log, "mailer", ttl_seconds=0.05)
    await short.heartbeat(BOB)
    assert await members.heartbeat(ADA) == [ADA, BOB]
    async for _ in tries():
        if await members.live() == [ADA]:
            break
    listed = members_key(store.log.keys, "mailer", store.log.partitions)
    assert await store.log.redis.execute(listed, "HEXISTS", listed, BOB.id) == 1, "looking changes nothing"
    assert await members.heartbeat(ADA) == [ADA]
    assert await store.log.redis.execute(listed, "HEXISTS", listed, BOB.id) == 0


async def test_one_seen_in_the_future_is_dropped_for_the_clock_was_set_back(store: EventStore) -> None:
    members = Members(store.log, "mailer")
    listed = members_key(store.log.keys, "mailer", store.log.partitions)
    await members.heartbeat(BOB)
    seen, rest = (await store.log.redis.execute(listed, "HGET", listed, BOB.id)).split(b" ", 1)
    ahead = str(int(seen) + 60_000).encode()
    await store.log.redis.execute(listed, "HSET", listed, BOB.id, ahead + b" " + rest)
    assert await members.live() == []
    assert await members.heartbeat(ADA) == [ADA]


async def test_the_bell_rings_when_members_come_and_go_and_not_otherwise(store: EventStore) -> None:
    members, short = Members(store.log, "mailer"), Members(store.log, "mailer", ttl_seconds=0.05)
    await members.heartbeat(ADA)
    assert await rings(store) == 1
    await members.heartbeat(ADA)
    assert await rings(store) == 1
    await members.heartbeat(BOB)
    assert await rings(store) == 2
    await members.leave(BOB)
    assert await rings(store) == 3
    await members.leave(BOB)
    assert await rings(store) == 3
    await short.heartbeat(BOB)
    async for _ in tries():
        if await members.heartbeat(ADA) == [ADA]:
            break
    assert await rings(store) == 5, "one for the newcomer, one for its silence"


async def test_there_are_no_members_of_a_group_that_is_not_there(store: EventStore, server: Server) -> None:
    members = Members(store.log, "nobody")
    with pytest.raises(GroupNotFound, match="there is no group nobody"):
        await members.heartbeat(ADA)
    assert await members.live() == []
    await members.leave(ADA)
    assert server.admin("KEYS", "*nobody*") == []


async def test_who_leaves_a_deleted_group_leaves_no_key_behind(store: EventStore, server: Server) -> None:
    members, home = Members(store.log, "mailer"), home_of("mailer", store.log.partitions)
    await members.heartbeat(ADA)
    keys = group_keys(store.log.keys, "mailer", home)
    await store.log.redis.execute(keys.control, "DEL", keys.control, keys.bell)
    await members.leave(ADA)
    assert server.admin("EXISTS", keys.bell) == 0


async def test_members_go_on_when_the_memory_is_full() -> None:
    async with redis_server() as full, open_store(full) as store:
        home = group_keys(store.log.keys, "mailer", home_of("mailer", store.log.partitions))
        full.admin("HSET", home.control, "owner", "")
        full.admin("CONFIG", "SET", "maxmemory", 1)
        members = Members(store.log, "mailer")
        with pytest.raises(Unavailable):
            await store.log.redis.execute(home.control, "HSET", home.control, "owner", "")
        assert await members.heartbeat(ADA) == [ADA]
        assert await members.heartbeat(BOB) == [ADA, BOB]
        await members.leave(BOB)
        assert await members.live() == [ADA]
        full.admin("CONFIG", "SET", "maxmemory", 0)


async def test_what_is_no_member_is_named(store: EventStore) -> None:
    members = Members(store.log, "mailer")
    await members.heartbeat(ADA)
    listed = members_key(store.log.keys, "mailer", store.log.partitions)
    stored: bytes = await store.log.redis.execute(listed, "HGET", listed, ADA.id)
    await store.log.redis.execute(listed, "HSET", listed, "stranger", "no member at all")
    assert await members.live() == await members.heartbeat(ADA) == [ADA], "which is passed over"
    await store.log.redis.execute(listed, "HSET", listed, ADA.id, stored.replace(b"host-1", b'"'))
    with pytest.raises(LogDamaged, match="has a member that says"):
        await members.live()


def test_no_two_members_of_a_process_have_one_name() -> None:
    first, second = new_member(1), new_member(2)
    assert first.id != second.id
    assert first.id.startswith(f"{first.host}-{first.pid}-")
    assert len(first.id.rsplit("-", 1)[1]) == 6
    assert first.version[0].isdigit()
