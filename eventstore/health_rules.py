"""What must be so on a server that keeps a log: one rule each, from what the server says of itself. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from eventstore.server_facts import Facts, numbers_of
from infrastructure.durations import format_duration
from infrastructure.settings import LogSettings

Status = Literal["ok", "WARN", "FAIL"]
SLOW_MS = 20.0
FULL_SHARE = 0.8
MIN_FREE_BYTES = 1 << 30
WRITING = {"hset", "rpush", "unlink", "xadd", "xgroup"}
ONLY_READS = "this user may read, and not append"
CLOCK_BEHIND_SECONDS = 1.0
"""Below that it is the hybrid clock at work: `last` grows by 1 us an append even where TIME stands still."""


class Check(Struct, frozen=True):
    """One line of `eventstore doctor`. FAIL refuses the start, WARN is logged; `fix` is a command, or what to do."""

    name: str
    status: Status
    detail: str
    fix: str | None = None


Rule = Callable[[Facts], Check]


def server(facts: Facts) -> Check:
    product, version, least = "Redis", facts.info.get("redis_version", ""), (7, 0)
    if "valkey_version" in facts.info:  # which says redis_version 7.2.4 for old clients
        product, version, least = "Valkey", facts.info["valkey_version"], (8, 0)
    where = "unix socket" if facts.address.startswith("/") else facts.address
    if facts.embedded_in is not None:
        where += f", embedded in {facts.embedded_in}"
    detail = f"{product} {version or 'of an unknown version'}, {where}, {facts.latency_ms:.1f} ms"
    if numbers_of(version) < least:
        return Check("server", "FAIL", detail, "use Redis 7.0 or later, or Valkey 8 or later")
    if facts.elsewhere:
        slots = f"a Cluster's node, and {facts.elsewhere} of the log's slots are on others"
        return Check("server", "FAIL", f"{detail}: {slots}", "REDIS_CLUSTER=true")
    if facts.in_cluster and not facts.routed:
        return Check("server", "WARN", f"{detail}: a Cluster's node, and we look at no other", "REDIS_CLUSTER=true")
    if facts.latency_ms > SLOW_MS:
        return Check("server", "WARN", f"{detail}: every append waits for that", "run it nearer to its clients")
    return Check("server", "ok", detail)


def role(facts: Facts) -> Check:
    if facts.info.get("role") != "master":
        primary = f"{facts.info.get('master_host')}:{facts.info.get('master_port')}"
        return Check(
            "role",
            "FAIL",
            f"role is {facts.info.get('role')}: a read-only replica of {primary}",
            f"name the primary ({primary}), or its Sentinels, in the settings",
        )
    return Check("role", "ok", f"primary, {facts.number('connected_slaves')} replicas connected")


def memory(facts: Facts) -> Check:
    used, limit = facts.number("used_memory"), facts.number("maxmemory")
    if not limit:
        detail = f"maxmemory not set, {size_text(used)} used"
        if facts.embedded_in is not None:
            return Check("memory", "ok", detail)  # on somebody's own machine, where no other limit is better
        return Check("memory", "WARN", detail, "CONFIG SET maxmemory 2gb")
    detail = f"{size_text(used)} of maxmemory {size_text(limit)} used"
    if used > FULL_SHARE * limit:
        fix = f"CONFIG SET maxmemory {2 * limit}, if the machine has as much"
        return Check("memory", "WARN", f"{detail}: appends are refused when it is full", fix)
    return Check("memory", "ok", detail)


def policy(facts: Facts) -> Check:
    name = facts.setting("maxmemory-policy") or facts.info.get("maxmemory_policy") or "unknown"
    fix = "CONFIG SET maxmemory-policy noeviction"
    if name == "noeviction":
        return Check("policy", "ok", "maxmemory-policy noeviction")
    if name == "unknown":
        return Check("policy", "WARN", "maxmemory-policy cannot be read", f"look at the server, and: {fix}")
    if name.startswith("volatile-") and not facts.number("maxmemory"):
        return Check("policy", "WARN", f"maxmemory-policy {name} may evict keys once maxmemory is set", fix)
    return Check("policy", "FAIL", f"maxmemory-policy {name} evicts events when memory is full", fix)


def durability(facts: Facts) -> Check:
    wanted = facts.wanted
    if wanted == "fsync":
        return _fsync(facts)
    if found := re.fullmatch(r"replicas:(\d+)", wanted or ""):
        return _replicas(facts, int(found[1]))
    kept = _kept(facts)
    if wanted is None and not facts.keeps_a_file:
        return Check("durability", "WARN", f"{kept}: a restart loses events", "CONFIG SET appendonly yes")
    return Check("durability", "ok", f"{wanted} as asked; {kept}" if wanted else kept)


def _fsync(facts: Facts) -> Check:
    def say(status: Status, detail: str, fix: str | None = None) -> Check:
        return Check("durability", status, f"fsync asked for, {detail}", fix)

    fsync = facts.appendfsync
    if not facts.keeps_a_file:
        return say("FAIL", "appendonly is no: nothing reaches the disk in time", "CONFIG SET appendonly yes")
    if fsync == "always":
        return say("ok", "appendfsync is always")
    if fsync == "no":
        return say("FAIL", "appendfsync is no: the server does not sync by itself", "CONFIG SET appendfsync always")
    if facts.has_waitaof:
        return say("ok", f"appendfsync is {fsync or 'unreadable'}: each append waits for the disk (WAITAOF)")
    if fsync is None:
        return say("WARN", "appendfsync cannot be read", "see that it is: CONFIG SET appendfsync always")
    return say("FAIL", f"appendfsync is {fsync} and the server has no WAITAOF", "CONFIG SET appendfsync always")


def _replicas(facts: Facts, needed: int) -> Check:
    connected = facts.number("connected_slaves")
    detail = f"replicas:{needed} asked for, {connected} replicas connected"
    if connected < needed:
        return Check("durability", "FAIL", detail, "start the missing replicas, or ask for less: EVENTSTORE_DURABILITY")
    least = facts.setting("min-replicas-to-write")
    if least is not None and int(least) < needed:
        fix = f"CONFIG SET min-replicas-to-write {needed}"
        return Check("durability", "WARN", f"{detail}; min-replicas-to-write is {least}: it also writes alone", fix)
    return Check("durability", "ok", detail)


def _kept(facts: Facts) -> str:
    if facts.keeps_a_file:
        return f"appendonly yes, appendfsync {facts.appendfsync or 'unreadable'}"
    return "appendonly no"


def persistence(facts: Facts) -> Check:
    log = "read the server's log, and free disk space"
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        return Check("persistence", "FAIL", "the last write to the append-only file failed: appends are refused", log)
    failed = [
        what
        for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_bgrewrite_status", "AOF rewrite"))
        if facts.info.get(field, "ok") != "ok"
    ]
    if failed:
        return Check("persistence", "WARN", f"the last {' and '.join(failed)} failed", log)
    busy = facts.number("aof_rewrite_in_progress") or facts.number("rdb_bgsave_in_progress")
    size = f", append-only file of {size_text(facts.number('aof_current_size'))}" if facts.keeps_a_file else ""
    return Check("persistence", "ok", f"no errors{size}{', a rewrite is running' if busy else ''}")


def torn_file(facts: Facts) -> Check:
    """A power cut may break off the append-only file within a script's writes. Only Valkey from 9.1 on forgets their
    begin; another server runs them at the start after the next, as part of what was written behind."""
    valkey = facts.info.get("valkey_version")
    mends = valkey is not None and numbers_of(valkey) >= (9, 1)
    truncated = facts.setting("aof-load-truncated")
    if facts.keeps_a_file and not mends and truncated is None:
        return Check("torn file", "ok", "aof-load-truncated cannot be read: see that it is no")
    if mends or not facts.keeps_a_file or truncated != "yes":
        return Check("torn file", "ok", "is mended, or refused, at the next start")
    return Check(
        "torn file",
        "WARN",
        "aof-load-truncated yes: after a power cut this version may mix up the events around it",
        "CONFIG SET aof-load-truncated no; redis-check-aof --fix if it refuses to start",
    )


def configuration(facts: Facts) -> Check:
    if facts.config is None:
        fix = "ACL SETUSER <user> '+config|get'"
        return Check("config", "WARN", "CONFIG GET is not allowed: some checks are guesses", fix)
    return Check("config", "ok", "readable")


RULES: tuple[Rule, ...] = (server, role, memory, policy, durability, persistence, torn_file, configuration)


def clock(behind_us: int) -> Check:
    """`behind_us`: by how much the newest event of a partition is ahead of its server's TIME."""
    if behind_us <= CLOCK_BEHIND_SECONDS * 1e6:
        return Check("clock", "ok", "not behind the events")
    detail = f"the server's clock is {behind_us / 1e6:,.1f} s behind the newest event: recorded_at counts on from there"
    return Check("clock", "WARN", detail, "set the clocks of the servers right (NTP)")


def partitions(fixed: int | None, made: int, prefix: str, unlike: Sequence[str] = ()) -> Check:
    """`fixed`: how many the log has; None if there is no log yet. `unlike`: settings that say something else than what
    was fixed when the log was made."""
    if fixed is None:
        return Check("log", "ok", f"none under {prefix!r} yet: made by the first use")
    if made < fixed:
        return Check("log", "WARN", f"{made} of {fixed} partitions under {prefix!r}", "any command makes the others")
    if unlike:
        detail = f"{fixed} partitions under {prefix!r}; without effect, as it was made otherwise: {'; '.join(unlike)}"
        return Check("log", "WARN", detail, "remove the setting; another number of partitions takes another log")
    return Check("log", "ok", f"{fixed} partitions under {prefix!r}")


def unlike(settings: LogSettings, partitions: int, window_us: int) -> list[str]:
    """The settings that differ from what was fixed when the log was made. One that has its default counts as not
    given: whoever leaves it out means the log as it is."""
    usual, found = LogSettings(), []
    if settings.partitions not in (partitions, usual.partitions):
        found.append(f"eventstore.partitions {settings.partitions} (it has {partitions})")
    window = settings.duplicate_window_seconds
    if int(window * 1e6) != window_us and window != usual.duplicate_window_seconds:
        has = format_duration(window_us / 1e6)
        found.append(f"eventstore.duplicate_window {format_duration(window)} (it has {has})")
    return found


def rights(missing: Sequence[str]) -> Check:
    """`missing`: commands that this user may not run. Whoever may run none that writes, and all others, is a reader;
    who lacks some of those would stop a script midway."""
    if not missing:
        return Check("rights", "ok", "all commands of ours are allowed")
    if set(missing) == WRITING:
        return Check("rights", "WARN", ONLY_READS, f"ACL SETUSER <user> {_granting(missing)}, if it is to append")
    return Check(
        "rights",
        "FAIL",
        f"this user may not run: {', '.join(sorted(set(missing)))}",
        f"ACL SETUSER <user> {_granting(missing)}",
    )


def only_reads(checks: Sequence[Check]) -> bool:
    """Whether this user may read and may not append."""
    return any(each.name == "rights" and each.detail == ONLY_READS for each in checks)


def _granting(missing: Iterable[str]) -> str:
    return " ".join(f"+{name}" for name in sorted(set(missing)))


def disk(folder: Path, free: int, needed: int) -> Check:
    """`needed`: what the append-only file takes now, which a rewrite takes once more."""
    detail = f"{size_text(free)} free at {folder}"
    if free < max(MIN_FREE_BYTES, needed):
        return Check("disk", "WARN", detail, "free disk space: a rewrite of the append-only file takes its size again")
    return Check("disk", "ok", detail)


def size_text(count: int) -> str:
    """Bytes as people read them."""
    if count >= 1 << 30:
        return f"{count / (1 << 30):.1f} GB"
    return f"{count / (1 << 20):.1f} MB"
