"""What is said of a server, from its own words: INFO and CONFIG as Redis and Valkey give them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from eventstore import health_rules as rules
from eventstore.errors import Unavailable
from eventstore.health import refuse_unsafe
from eventstore.health_rules import Check
from eventstore.server_facts import Facts
from infrastructure.settings import LogSettings

GOOD = Facts(
    address="10.0.0.7:6379",
    info={
        "redis_version": "7.0.15",
        "role": "master",
        "connected_slaves": "2",
        "used_memory": "104857600",
        "maxmemory": "2147483648",
        "maxmemory_policy": "noeviction",
        "aof_enabled": "1",
        "aof_current_size": "5242880",
        "aof_last_write_status": "ok",
        "aof_last_bgrewrite_status": "ok",
        "rdb_last_bgsave_status": "ok",
    },
    config={
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "no",
        "min-replicas-to-write": "0",
    },
    latency_ms=0.1,
)


def told(info: dict[str, str] | None = None, config: dict[str, str] | None = None, **facts: object) -> Facts:
    changed = replace(GOOD, info={**GOOD.info, **(info or {})}, config={**(GOOD.config or {}), **(config or {})})
    return replace(changed, **facts)


def test_a_node_of_a_cluster_that_is_taken_for_a_lone_server() -> None:
    check = rules.server(told({"cluster_enabled": "1"}))
    assert (check.status, check.fix) == ("WARN", "REDIS_CLUSTER=true")
    assert rules.server(told({"cluster_enabled": "1"}, routed=True)).status == "ok"


def test_a_good_server_is_all_ok() -> None:
    assert [rule(GOOD).status for rule in rules.RULES] == ["ok"] * len(rules.RULES)
    assert rules.server(GOOD).detail == "Redis 7.0.15, 10.0.0.7:6379, 0.1 ms"


@pytest.mark.parametrize(
    ("info", "status"),
    [
        ({"redis_version": "7.0.0"}, "ok"),
        ({"redis_version": "6.2.14"}, "FAIL"),
        ({"redis_version": "8.0.1"}, "ok"),
        ({"redis_version": "10.1"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, "FAIL"),
        ({"redis_version": ""}, "FAIL"),
    ],
)
def test_versions(info: dict[str, str], status: str) -> None:
    assert rules.server(told(info)).status == status


def test_valkey_is_told_by_its_own_version() -> None:
    valkey = told({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, address="/run/x.sock")
    assert rules.server(valkey).detail == "Valkey 9.1.2, unix socket, 0.1 ms"


def test_a_slow_server_is_a_warning() -> None:
    assert rules.server(told(latency_ms=25.0)).status == "WARN"


def test_a_replica_fails_and_its_primary_is_named() -> None:
    check = rules.role(told({"role": "slave", "master_host": "10.0.0.1", "master_port": "6380"}))
    assert check.status == "FAIL"
    assert check.fix == "name the primary (10.0.0.1:6380), or its Sentinels, in the settings"


@pytest.mark.parametrize(
    ("policy", "maxmemory", "status"),
    [
        ("noeviction", "0", "ok"),
        ("noeviction", "2147483648", "ok"),
        ("allkeys-lru", "0", "FAIL"),
        ("allkeys-lru", "2147483648", "FAIL"),
        ("volatile-ttl", "0", "WARN"),
        ("volatile-ttl", "2147483648", "FAIL"),
    ],
)
def test_policies(policy: str, maxmemory: str, status: str) -> None:
    check = rules.policy(told({"maxmemory": maxmemory, "maxmemory_policy": policy}, {"maxmemory-policy": policy}))
    assert check.status == status
    assert policy in check.detail
    assert check.fix == (None if status == "ok" else "CONFIG SET maxmemory-policy noeviction")


def test_info_tells_the_policy_where_config_may_not_be_read() -> None:
    blind = replace(told({"maxmemory_policy": "allkeys-lfu"}), config=None)
    assert rules.policy(blind).status == "FAIL"
    assert rules.configuration(blind).status == "WARN"


@pytest.mark.parametrize(
    ("info", "status", "text"),
    [
        ({}, "ok", "100.0 MB of maxmemory 2.0 GB used"),
        ({"maxmemory": "0"}, "WARN", "maxmemory not set, 100.0 MB used"),
        ({"used_memory": "2000000000"}, "WARN", "appends are refused when it is full"),
    ],
)
def test_memory(info: dict[str, str], status: str, text: str) -> None:
    check = rules.memory(told(info))
    assert check.status == status
    assert text in check.detail


def test_the_embedded_server_needs_no_memory_limit() -> None:
    assert rules.memory(told({"maxmemory": "0"}, embedded_in=Path(".eventstore"))).status == "ok"


OFF = {"aof_enabled": "0"}


@pytest.mark.parametrize(
    ("wanted", "info", "config", "waitaof", "status", "fix"),
    [
        (None, {}, {}, False, "ok", None),
        (None, {}, {"appendfsync": "everysec"}, False, "ok", None),
        (None, OFF, {}, False, "WARN", "CONFIG SET appendonly yes"),
        ("memory", OFF, {}, False, "ok", None),
        ("fsync", {}, {}, False, "ok", None),
        ("fsync", OFF, {}, True, "FAIL", "CONFIG SET appendonly yes"),
        ("fsync", {}, {"appendfsync": "everysec"}, True, "ok", None),
        ("fsync", {}, {"appendfsync": "everysec"}, False, "FAIL", "CONFIG SET appendfsync always"),
        ("replicas:2", {}, {"min-replicas-to-write": "2"}, False, "ok", None),
        ("replicas:2", {}, {}, False, "WARN", "CONFIG SET min-replicas-to-write 2"),
        ("replicas:3", {}, {}, False, "FAIL", "start the missing replicas, or ask for less: EVENTSTORE_DURABILITY"),
    ],
)
def test_durability(
    wanted: str | None, info: dict[str, str], config: dict[str, str], waitaof: bool, status: str, fix: str | None
) -> None:
    check = rules.durability(told(info, config, wanted=wanted, has_waitaof=waitaof))
    assert (check.status, check.fix) == (status, fix)


@pytest.mark.parametrize(("waitaof", "status"), [(True, "ok"), (False, "WARN")])
def test_an_appendfsync_that_cannot_be_read_is_a_warning_at_most(waitaof: bool, status: str) -> None:
    assert rules.durability(replace(GOOD, config=None, wanted="fsync", has_waitaof=waitaof)).status == status


@pytest.mark.parametrize(
    ("info", "status", "text"),
    [
        ({}, "ok", "append-only file of 5.0 MB"),
        ({"aof_rewrite_in_progress": "1"}, "ok", "a rewrite is running"),
        ({"aof_last_write_status": "err"}, "FAIL", "appends are refused"),
        ({"rdb_last_bgsave_status": "err"}, "WARN", "snapshot failed"),
        ({"aof_last_bgrewrite_status": "err"}, "WARN", "AOF rewrite failed"),
    ],
)
def test_persistence(info: dict[str, str], status: str, text: str) -> None:
    check = rules.persistence(told(info))
    assert check.status == status
    assert text in check.detail


@pytest.mark.parametrize(("behind_us", "status"), [(-5_000_000, "ok"), (900_000, "ok"), (90_000_000, "WARN")])
def test_a_clock_behind_the_events_is_a_warning_that_says_how_much(behind_us: int, status: str) -> None:
    check = rules.clock(behind_us)
    assert check.status == status
    assert status == "ok" or "90.0 s behind" in check.detail


@pytest.mark.parametrize(
    ("fixed", "made", "status"),
    [(None, 0, "ok"), (16, 16, "ok"), (16, 3, "WARN")],
)
def test_partitions(fixed: int | None, made: int, status: str) -> None:
    assert rules.partitions(fixed, made, "es").status == status


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (LogSettings(), []),
        (LogSettings(partitions=4, duplicate_window_seconds=60.0), []),
        (LogSettings(partitions=8), ["eventstore.partitions 8 (it has 4)"]),
        (LogSettings(duplicate_window_seconds=90.0), ["eventstore.duplicate_window 90s (it has 1m)"]),
    ],
)
def test_settings_that_have_no_effect_on_a_log_made_otherwise(given: LogSettings, told: list[str]) -> None:
    assert rules.unlike(given, 4, 60_000_000) == told
    check = rules.partitions(4, 4, "es", told)
    assert check.status == ("WARN" if told else "ok")
    assert all(each in check.detail for each in told)


def test_missing_rights_are_named_with_the_command_that_grants_them() -> None:
    check = rules.rights(["xadd", "time", "xadd"])
    assert (check.status, check.fix) == ("FAIL", "ACL SETUSER <user> +time +xadd")
    assert rules.rights([]).status == "ok"


@pytest.mark.parametrize(
    ("free", "needed", "status"), [(2 << 30, 0, "ok"), (1 << 20, 0, "WARN"), (2 << 30, 3 << 30, "WARN")]
)
def test_disk_space(free: int, needed: int, status: str) -> None:
    assert rules.disk(Path(".eventstore"), free, needed).status == status


@pytest.mark.parametrize("rule", rules.RULES)
def test_no_rule_breaks_on_a_server_that_says_nothing(rule: Callable[[Facts], Check]) -> None:
    assert rule(Facts(address="/run/x.sock", info={}, config=None)).detail


def test_a_start_is_refused_with_all_failures_and_their_fixes() -> None:
    checks = [
        Check("server", "ok", "Redis 7.0.15"),
        Check("policy", "FAIL", "maxmemory-policy allkeys-lru evicts events", "CONFIG SET maxmemory-policy noeviction"),
        Check("durability", "FAIL", "appendonly is no", "CONFIG SET appendonly yes"),
    ]
    with pytest.raises(Unavailable, match=r"allkeys-lru.*appendonly") as refused:
        refuse_unsafe(checks)
    assert refused.value.reason == "unsupported"
    assert refused.value.remedy == "CONFIG SET maxmemory-policy noeviction; CONFIG SET appendonly yes"


def test_warnings_are_logged_and_refuse_nothing() -> None:
    with capture_logs() as logged:
        refuse_unsafe([Check("memory", "WARN", "maxmemory not set", "CONFIG SET maxmemory 2gb")])
    (line,) = logged
    assert (line["log_level"], line["check"], line["fix"]) == ("warning", "memory", "CONFIG SET maxmemory 2gb")


@pytest.mark.parametrize(
    ("info", "config", "status"),
    [
        ({}, {"aof-load-truncated": "yes"}, "WARN"),
        ({}, {"aof-load-truncated": "no"}, "ok"),
        ({"aof_enabled": "0"}, {"aof-load-truncated": "yes"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.1"}, {"aof-load-truncated": "yes"}, "WARN"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, {"aof-load-truncated": "yes"}, "ok"),
    ],
)
def test_a_torn_file(info: dict[str, str], config: dict[str, str], status: str) -> None:
    assert rules.torn_file(told(info, config)).status == status


def test_what_becomes_of_a_torn_file_is_not_claimed_where_config_cannot_be_read() -> None:
    assert "cannot be read" in rules.torn_file(replace(GOOD, config=None)).detail
