"""What is told of real servers, fit and unfit (case C33)."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from eventstore.envelope import Untyped
from eventstore.errors import LogDamaged, Unavailable
from eventstore.health import check, refuse_unsafe
from eventstore.health_rules import Check
from eventstore.store import EventStore
from infrastructure.connect import connect
from infrastructure.secrets import Secret
from infrastructure.server import serve
from infrastructure.server_program import find_program
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.servers import Server, newer_servers, redis_cluster, redis_server, until
from tests.support.stores import Noted, open_store, settings_of

pytestmark = pytest.mark.anyio

FIT = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "1gb", "--aof-load-truncated", "no"]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=FIT) as one:
        yield one


async def told(settings: Settings) -> dict[str, Check]:
    async with connect(settings.redis) as redis:
        return {each.name: each for each in await check(redis, settings)}


def failed(checks: dict[str, Check]) -> dict[str, Check]:
    return {name: each for name, each in checks.items() if each.status == "FAIL"}


async def test_a_fit_server_is_all_ok(server: Server) -> None:
    checks = await told(settings_of(server, durability="fsync"))
    assert {each.status for each in checks.values()} == {"ok"}
    assert checks["server"].detail.startswith("Redis 7.0.")
    assert checks["log"].detail.startswith("none under")
    refuse_unsafe(list(checks.values()))


@pytest.mark.parametrize("program", newer_servers())
async def test_newer_servers_are_fit(program: str) -> None:
    async with redis_server(program, FIT) as one:
        assert failed(await told(settings_of(one, durability="fsync"))) == {}


async def test_the_partitions_of_a_log_are_counted(server: Server) -> None:
    async with open_store(server) as store:
        settings = settings_of(server, prefix=store.log.settings.prefix)
        assert (await told(settings))["log"].detail.startswith("4 partitions")
        server.admin("DEL", store.log.keys.head(2))
        assert (await told(settings))["log"].status == "WARN"


async def test_numbers_of_a_log_that_are_none_refuse_the_start(server: Server) -> None:
    async with open_store(server) as store:
        prefix = store.log.settings.prefix
        server.admin("HSET", f"{prefix}:log", "partitions", "four")
        checks = await told(settings_of(server, prefix=prefix))
    assert failed(checks).keys() == {"log"}
    assert checks["log"].detail.startswith(f"{prefix}:log: partitions is no number")
    with pytest.raises(LogDamaged, match="partitions is no number"):
        refuse_unsafe(list(checks.values()))


async def test_it_leaves_no_key_behind(server: Server) -> None:
    settings = settings_of(server)
    await told(settings)
    assert server.admin("KEYS", f"{settings.eventstore.prefix}:*") == []


@pytest.mark.parametrize("program", ["redis-server", find_program()])
async def test_a_policy_that_evicts_events_refuses_the_start(program: str) -> None:
    async with redis_server(program, ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]) as one:
        policy = (await told(settings_of(one)))["policy"]
        assert policy.status == "FAIL"
        assert "maxmemory-policy allkeys-lru" in policy.detail
        assert policy.fix is not None
        with pytest.raises(Unavailable, match="allkeys-lru") as refused:
            refuse_unsafe([policy])
        assert refused.value.remedy == policy.fix
        one.admin(*policy.fix.split())
        assert (await told(settings_of(one)))["policy"].status == "ok"


async def test_durability_fsync_without_appendonly_is_refused_until_the_fix_is_run() -> None:
    async with redis_server(args=["--appendonly", "no"]) as one:
        settings = settings_of(one, durability="fsync")
        durability = (await told(settings))["durability"]
        assert durability.status == "FAIL"
        assert "appendonly is no" in durability.detail
        assert durability.fix is not None
        one.admin(*durability.fix.split())
        durability = (await told(settings))["durability"]
        assert durability.fix == "CONFIG SET appendfsync always"  # 7.0 has no WAITAOF
        one.admin(*durability.fix.split())
        assert (await told(settings))["durability"].status == "ok"


async def test_a_server_with_waitaof_gives_fsync_without_appendfsync_always() -> None:
    async with redis_server(find_program(), ["--appendonly", "yes"]) as one:
        checks = await told(settings_of(one, durability="fsync"))
        assert checks["server"].detail.startswith("Valkey 9.")
        assert checks["durability"].status == "ok"
        assert "WAITAOF" in checks["durability"].detail


async def test_a_replica_is_refused_and_its_primary_named(server: Server) -> None:
    async with redis_server(args=["--replicaof", f"127.0.0.1 {server.port}"]) as replica:
        await until(lambda: b"master_link_status:up" in replica.admin("INFO", "replication"))
        checks = await told(settings_of(replica))
        assert checks["role"].status == "FAIL"
        assert f"127.0.0.1:{server.port}" in checks["role"].detail
        assert (await told(settings_of(server, durability="replicas:1")))["durability"].status == "WARN"
        assert (
            "2 asked for, 1 replicas" in (await told(settings_of(server, durability="replicas:2")))["durability"].detail
        )


async def test_a_user_without_config_gets_a_warning(server: Server) -> None:
    settings = as_user(server, "no-config", "+@all", "-config")
    checks = await told(settings)
    assert (checks["config"].status, checks["policy"].status) == ("WARN", "ok")
    assert failed(checks) == {}


@pytest.mark.parametrize("program", ["redis-server", find_program(), *newer_servers()])
async def test_rights_that_are_missing_are_named(program: str) -> None:
    async with redis_server(program, FIT) as server:
        checks = await told(as_user(server, "no-xadd", "+@all", "-xadd", "-time", "-hscan"))
    assert list(failed(checks)) == ["rights"]
    assert checks["rights"].fix == "ACL SETUSER <user> +hscan +time +xadd"


async def test_a_user_without_scripts_is_told_so(server: Server) -> None:
    checks = await told(as_user(server, "no-scripts", "+@all", "-@scripting"))
    assert checks["rights"].status == "FAIL"
    assert checks["rights"].fix == "ACL SETUSER <user> +eval +evalsha"


async def test_a_user_of_other_keys_is_told_which_to_allow(server: Server) -> None:
    settings = as_user(server, "other-keys", "+@all", "resetkeys", "~elsewhere:*")
    checks = await told(settings)
    assert checks["rights"].fix == f"ACL SETUSER <user> ~{settings.eventstore.prefix}:*"


async def test_a_clock_behind_the_newest_event_is_a_warning(server: Server) -> None:
    async with open_store(server) as store:
        settings = settings_of(server, prefix=store.log.settings.prefix)
        receipt = await store.append("order-1", [Untyped("OrderPlaced", {})])
        assert (await told(settings))["clock"].status == "ok"
        server.admin("HSET", store.log.keys.head(receipt.partition), "last", receipt.recorded_at + 3_600_000_000)
        clock = (await told(settings))["clock"]
        assert clock.status == "WARN"
        assert re.search(r"is 3,(599|600)\.\d s behind", clock.detail)


async def test_of_a_cluster_the_worst_server_is_named() -> None:
    async with redis_cluster() as nodes:
        settings = settings_of(nodes[0])
        settings = replace(settings, redis=replace(settings.redis, cluster=True))
        async with EventStore.open(settings=settings):
            nodes[1].admin("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
            checks = await told(settings)
        with pytest.raises(Unavailable, match="allkeys-random"):
            async with EventStore.open(settings=settings):
                pass
        assert checks["policy"].detail.startswith(f"127.0.0.1:{nodes[1].port}: maxmemory-policy allkeys-random")
        assert "(1 of 3 servers)" in checks["policy"].detail
        assert "and 2 servers more" in checks["role"].detail
        assert checks["log"].detail.startswith("4 partitions")


async def test_a_clusters_node_that_is_taken_for_a_lone_server_is_refused_before_anything_is_written() -> None:
    async with redis_cluster() as nodes:
        for node in nodes:
            settings = settings_of(node)
            checks = await told(settings)
            assert failed(checks).keys() == {"server"}
            with pytest.raises(Unavailable, match=r"\d of the log's slots are on others") as refused:
                async with EventStore.open(settings=settings):
                    pass
            assert refused.value.remedy == "REDIS_CLUSTER=true"
        assert [node.admin("DBSIZE") for node in nodes] == [0, 0, 0]


async def test_a_cluster_of_one_node_may_be_taken_for_a_lone_server() -> None:
    async with redis_cluster(masters=1) as (node,), open_store(node.settings) as store:
        await store.append("order-1", [Noted(1)])
        checks = await told(settings_of(node, prefix=store.log.settings.prefix))
        assert (checks["server"].status, checks["log"].status) == ("WARN", "ok")


async def test_the_embedded_server_is_fit(tmp_path: Path) -> None:
    settings = Settings(eventstore=LogSettings(data_dir=tmp_path / "data", durability="fsync"))
    async with serve(settings) as redis:
        checks = {each.name: each for each in await check(redis, settings)}
    assert failed(checks) == {}
    assert "embedded in" in checks["server"].detail
    assert "free at" in checks["disk"].detail
    assert checks["memory"].status == "ok"


def as_user(server: Server, name: str, *rules: str) -> Settings:
    server.admin("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", *rules)
    host = RedisSettings(host="127.0.0.1", port=server.port, username=name, password=Secret("secret"))
    return replace(settings_of(server), redis=host)
