"""A real Cluster of three masters: keys find their node, also while slots move."""

from collections.abc import AsyncIterator
from hashlib import sha1

import anyio
import pytest
from msgspec.structs import replace
from redis.crc import key_slot
from redis.exceptions import ResponseError

from infrastructure.connect import Redis, connect
from infrastructure.errors import SettingsError, Unavailable
from infrastructure.lua import Script, call
from tests.support.cluster import cluster, fail_over, node_id
from tests.support.servers import Server, redis_cluster, tries, until

pytestmark = pytest.mark.anyio

_SOURCE = "return redis.call('INCR', KEYS[1])"
COUNT = Script("count", _SOURCE, sha1(_SOURCE.encode()).hexdigest())
KEYS = ("a", "b", "c")  # one slot on each of three masters


@pytest.fixture
async def nodes() -> AsyncIterator[list[Server]]:
    async with redis_cluster() as nodes:
        yield nodes


@pytest.fixture
async def redis(nodes: list[Server]) -> AsyncIterator[Redis]:
    async with connect(replace(nodes[1].settings, cluster=True)) as redis:
        yield redis


async def test_keys_of_all_slots_are_served_each_by_its_own_node(redis: Redis, nodes: list[Server]) -> None:
    assert redis.is_cluster
    for i in range(60):
        key = f"key-{i}"
        assert await redis.run(key, ("SET", key, i), ("GET", key)) == [b"OK", str(i).encode()]
    assert sum(node.admin("DBSIZE") for node in nodes) == 60
    assert all(node.admin("DBSIZE") > 0 for node in nodes)
    assert set(await redis.run_on_masters(("PING",))) == {node.address for node in nodes}


async def test_first_used_by_many_tasks_at_once(redis: Redis) -> None:
    async with anyio.create_task_group() as group:
        for i in range(100):
            group.start_soon(redis.run, KEYS[i % 3], ("INCR", KEYS[i % 3]))
    assert [int(await redis.execute(key, "GET", key)) for key in KEYS] == [34, 33, 33]


async def test_a_script_goes_where_its_first_key_is_and_loads_itself_there(redis: Redis) -> None:
    for key in KEYS:
        assert await call(redis, COUNT, [key], []) == [1]
        assert await call(redis, COUNT, [key], [], ("WAIT", 0, 0)) == [2, 0]


async def test_after_a_slot_has_moved_the_second_call_goes_right(redis: Redis, nodes: list[Server]) -> None:
    key, source, target = _move_plan(nodes)
    await redis.run(key, ("SET", key, "1"))
    _begin_move(key, source, target)
    source.admin("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    _end_move(key, source, target)
    (first,) = await redis.run(key, ("GET", key))
    assert isinstance(first, ResponseError)
    assert await redis.run(key, ("GET", key)) == [b"1"]


async def test_what_is_refused_with_ask_goes_where_ask_said(redis: Redis, nodes: list[Server]) -> None:
    key, source, target = _move_plan(nodes)
    _begin_move(key, source, target)
    assert await redis.run(key, ("INCR", key), ("INCR", key)) == [1, 2]
    assert (target.calls_of("incr"), source.calls_of("incr")) == (2, 0)
    _end_move(key, source, target)
    await until(lambda: target.admin("EXISTS", key) == 1)


async def test_of_the_keys_of_one_call_each_is_looked_for_where_it_is(redis: Redis, nodes: list[Server]) -> None:
    gone, here = "{moving}a", "{moving}b"
    _, source, target = _move_plan(nodes)
    await redis.run(here, ("SET", here, "1"))
    await redis.run(gone, ("SET", gone, "5"))
    _begin_move("moving", source, target)
    source.admin("MIGRATE", "127.0.0.1", target.port, gone, 0, 5000)
    assert await redis.run(here, ("INCR", here), ("INCR", gone), ("INCR", here)) == [2, 6, 3]
    assert (source.admin("EXISTS", here), target.calls_of("incr")) == (1, 1)


async def test_a_script_that_goes_where_ask_said_is_loaded_there_and_waited_for(
    redis: Redis, nodes: list[Server]
) -> None:
    key, source, target = _move_plan(nodes)
    _begin_move(key, source, target)
    assert await call(redis, COUNT, [key], [], ("WAIT", 0, 1)) == [1, 0]
    assert await call(redis, COUNT, [key], [], ("WAIT", 0, 1)) == [2, 0]
    assert target.calls_of("wait") >= 2


async def test_what_is_asked_of_a_node_behind_a_write_is_asked_where_ask_sent_the_write(
    redis: Redis, nodes: list[Server]
) -> None:
    key, source, target = _move_plan(nodes)
    target.admin("CONFIG", "SET", "appendfsync", "no")
    _begin_move(key, source, target)
    asked = ("CONFIG", "GET", "appendfsync")
    assert await redis.run(key, ("INCR", key), asked) == [1, [b"appendfsync", b"no"]]


async def test_a_command_that_ask_leads_to_a_dead_node_may_have_run_only_if_another_did(
    redis: Redis, nodes: list[Server]
) -> None:
    gone, here = "{moving}a", "{moving}b"
    _, source, target = _move_plan(nodes)
    await redis.run(here, ("SET", here, "1"))
    _begin_move("moving", source, target)
    target.process.kill()
    target.process.wait()
    with pytest.raises(Unavailable) as caught:
        await redis.run(gone, ("INCR", gone), ("WAIT", 0, 1))
    assert not caught.value.maybe_ran
    with pytest.raises(Unavailable) as caught:
        await redis.run(here, ("INCR", here), ("INCR", gone))
    assert caught.value.maybe_ran


async def test_a_node_that_has_lost_sight_of_the_rest_is_not_believed_for_ever() -> None:
    async with cluster() as servers:
        key = KEYS[0]
        lost = servers.owner(key)
        async with connect(replace(lost.settings, cluster=True)) as redis:
            await redis.execute(key, "SET", key, "1")
            await servers.replicated(lost)
            for other in servers.nodes:
                if other is not lost:
                    lost.admin("CLUSTER", "FORGET", node_id(other))
            await fail_over(servers.partner(lost), "TAKEOVER")
            async for _ in tries():
                (reply,) = await redis.run(key, ("INCR", key))
                if reply == 2:
                    break
            assert b"cluster_state:fail" in lost.admin("CLUSTER", "INFO")


async def test_a_node_that_is_gone_takes_only_its_own_slots_along(redis: Redis, nodes: list[Server]) -> None:
    for node in nodes:
        node.admin("CONFIG", "SET", "cluster-require-full-coverage", "no")
    victim = nodes[_index(KEYS[0], nodes)]
    victim.process.kill()
    victim.process.wait()
    with pytest.raises(Unavailable) as caught:
        await redis.run(KEYS[0], ("INCR", KEYS[0]))
    assert (caught.value.reason, caught.value.maybe_ran) == ("unreachable", False)
    for key in KEYS[1:]:
        assert await redis.run(key, ("INCR", key)) == [1]


async def test_a_node_that_is_down_at_the_start_is_done_without_if_others_are_named(nodes: list[Server]) -> None:
    for node in nodes:
        node.admin("CONFIG", "SET", "cluster-require-full-coverage", "no")
    down, up = nodes[_index(KEYS[0], nodes)], nodes[_index(KEYS[1], nodes)]
    down.process.kill()
    down.process.wait()
    named = replace(down.settings, cluster=True, nodes=(up.address,))
    for settings in (named, replace(named, url=None)):
        async with connect(settings) as redis:
            await redis.execute(KEYS[1], "INCR", KEYS[1])
    assert up.admin("GET", KEYS[1]) == b"2"
    with pytest.raises(Unavailable, match=f"no node of the Cluster answers: .*{down.address}.*localhost:1"):
        async with connect(replace(named, nodes=("localhost:1",))):
            pass


async def test_nodes_are_named_of_a_cluster_only(nodes: list[Server]) -> None:
    with pytest.raises(SettingsError, match="nodes of a Cluster") as caught:
        async with connect(replace(nodes[0].settings, nodes=(nodes[1].address,))):
            pass
    assert (caught.value.field, "REDIS_CLUSTER=true" in str(caught.value.remedy)) == ("redis.nodes", True)


async def test_a_database_other_than_0_is_refused(nodes: list[Server]) -> None:
    with pytest.raises(Unavailable) as caught:
        async with connect(replace(nodes[0].settings, cluster=True, db=1)):
            pass
    assert caught.value.reason == "unsupported"


async def test_a_client_that_does_not_know_of_the_cluster_is_told_which_setting_to_set(nodes: list[Server]) -> None:
    async with connect(nodes[0].settings) as redis:
        elsewhere = next(key for key in KEYS if _index(key, nodes) != 0)
        with pytest.raises(Unavailable, match="MOVED") as caught:
            await redis.execute(elsewhere, "GET", elsewhere)
    assert "redis.cluster" in str(caught.value.remedy)


def _index(key: str, nodes: list[Server]) -> int:
    """Which of `nodes` serves a key."""
    return key_slot(key.encode()) * len(nodes) // 16_384


def _move_plan(nodes: list[Server]) -> tuple[str, Server, Server]:
    """A key, the node that serves it, and another."""
    key = "moving"
    at = _index(key, nodes)
    return key, nodes[at], nodes[(at + 1) % len(nodes)]


def _begin_move(key: str, source: Server, target: Server) -> None:
    slot = key_slot(key.encode())
    target.admin("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
    source.admin("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))


def _end_move(key: str, source: Server, target: Server) -> None:
    for node in (target, source):
        node.admin("CLUSTER", "SETSLOT", key_slot(key.encode()), "NODE", _id(target))


def _id(node: Server) -> str:
    reply: bytes = node.admin("CLUSTER", "MYID")
    return reply.decode()
