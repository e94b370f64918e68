"""Health: whether a server is fit to keep a log. What `eventstore doctor` shows, and what a start refuses."""

import shutil
from collections.abc import Sequence
from functools import partial

import anyio.to_thread
import structlog
from redis.exceptions import ResponseError

from eventstore import health_rules as rules
from eventstore.errors import EventStoreError, LogDamaged, Unavailable
from eventstore.health_rules import Check
from eventstore.keys import Keys, log_key
from eventstore.server_facts import Facts, look
from eventstore.stored_numbers import stored_number
from infrastructure import lua
from infrastructure.connect import Command, Redis, refusal
from infrastructure.patience import answer, settled
from infrastructure.settings import Settings
from infrastructure.tasks import together

__all__ = ["Check", "check", "refuse_unsafe"]

_OF_APPENDS = {"durability", "persistence"}  # what an append is promised, and what refuses it: nothing to who reads
_RANK = {"ok": 0, "WARN": 1, "FAIL": 2}

logger = structlog.get_logger(__name__)
_probe = lua.load("eventstore", "probe")


async def check(redis: Redis, settings: Settings, servers: Sequence[Facts] | None = None) -> list[Check]:
    """Every check, in the order in which they are shown; of several servers the worst, with its address. `servers` is
    what they have said just now, if they were asked. Changes nothing but a scratch key. Raises Unavailable if no server
    answers."""
    servers = await look(redis, settings) if servers is None else servers
    judged = [[rule(facts) for rule in rules.RULES] for facts in servers]
    checks = [_worst(same, servers) for same in zip(*judged, strict=True)]
    if any(facts.elsewhere for facts in servers):
        return checks  # what follows asks for keys that this server does not have
    checks += [await _rights(redis, settings), *await _log(redis, settings)]
    if not settings.redis.configured:
        checks.append(await _disk(settings, servers))
    return checks


def refuse_unsafe(checks: Sequence[Check], *, read_only: bool = False) -> None:
    """Logs each WARN; raises Unavailable, or LogDamaged, that names each FAIL and what mends it. With `read_only` a
    FAIL that concerns appends alone is logged too."""
    failed = [each for each in checks if each.status == "FAIL" and not (read_only and each.name in _OF_APPENDS)]
    for each in checks:
        if each.status != "ok" and each not in failed:
            logger.warning("server_check", check=each.name, detail=each.detail, fix=each.fix)
    if failed:
        raise _refusal(failed)


def _refusal(failed: Sequence[Check]) -> EventStoreError:
    detail = "; ".join(f"{each.name}: {each.detail}" for each in failed)
    remedy = "; ".join(each.fix for each in failed if each.fix)
    names = {each.name for each in failed}
    if names == {"log"}:
        return LogDamaged(detail, remedy=remedy)
    return Unavailable(detail, reason="permission" if names == {"rights"} else "unsupported", remedy=remedy)


def _worst(same: Sequence[Check], servers: Sequence[Facts]) -> Check:
    worst, facts = max(zip(same, servers, strict=True), key=lambda pair: _RANK[pair[0].status])
    if len(servers) == 1:
        return worst
    if worst.status == "ok":
        return Check(worst.name, "ok", f"{worst.detail} (and {len(servers) - 1} servers more)")
    alike = sum(each.status == worst.status for each in same)
    return Check(
        worst.name, worst.status, f"{facts.address}: {worst.detail} ({alike} of {len(servers)} servers)", worst.fix
    )


async def _rights(redis: Redis, settings: Settings) -> Check:
    key = Keys(settings.eventstore.prefix, 1).probe(0)
    try:
        reply = await answer(redis, _probe, [key], [])
    except Unavailable as error:
        return Check("rights", "FAIL", error.detail, error.remedy)
    if isinstance(reply, ResponseError):
        return _no_probe(reply, settings.eventstore.prefix)
    return rules.rights([name.decode() for name in reply])


def _no_probe(reply: ResponseError, prefix: str) -> Check:
    error = refusal(reply)
    if isinstance(error, Unavailable) and error.reason == "permission":
        missing = f"~{prefix}:*" if " key" in str(reply) else "+eval +evalsha"
        return Check("rights", "FAIL", error.detail, f"ACL SETUSER <user> {missing}")
    return Check("rights", "WARN", f"could not be tried: {error.detail}", error.remedy)


async def _log(redis: Redis, settings: Settings) -> list[Check]:
    """Whether the log is made, and as the settings say; and the clocks against its newest events."""
    limits, key = settings.eventstore, log_key(settings.eventstore.prefix)
    (stored,) = await settled(redis, key, ("HMGET", key, "partitions", "duplicate_window_us"))
    if isinstance(stored, ResponseError):
        return [Check("log", "WARN", f"cannot be looked at: {refusal(stored).detail}", refusal(stored).remedy)]
    if None in stored:
        return [rules.partitions(None, 0, limits.prefix), rules.clock(0)]
    fields = zip(("partitions", "duplicate_window_us"), stored, strict=True)
    try:
        fixed, window_us = (stored_number(key, field, value, least=1) for field, value in fields)
    except LogDamaged as error:
        return [Check("log", "FAIL", error.detail, error.remedy)]
    try:
        ahead = await _ahead(redis, Keys(limits.prefix, fixed), fixed)
    except Unavailable as error:
        if error.reason != "permission":
            raise
        return [Check("log", "WARN", f"cannot be looked at: {error.detail}", error.remedy)]
    unlike = rules.unlike(limits, fixed, window_us)
    return [rules.partitions(fixed, len(ahead), limits.prefix, unlike), rules.clock(max(ahead, default=0))]


async def _ahead(redis: Redis, keys: Keys, count: int) -> list[int]:
    """By how many us the newest event of each partition that is made is ahead of its server's clock."""
    heads = [keys.head(partition) for partition in range(count)]
    groups = [[head] for head in heads] if redis.is_cluster else [heads]

    async def look(group: Sequence[str]) -> list[int]:
        asked: list[Command] = [("HGET", head, "last") for head in group]
        time, *lasts = await settled(redis, group[0], ("TIME",), *asked)
        if isinstance(time, ResponseError):
            raise refusal(time)
        now = int(time[0]) * 1_000_000 + int(time[1])
        return [int(last) - now for last in lasts if isinstance(last, bytes) and last.isdigit()]

    return [each for some in await together([partial(look, group) for group in groups]) for each in some]


async def _disk(settings: Settings, servers: Sequence[Facts]) -> Check:
    folder = settings.eventstore.data_dir
    usage = await anyio.to_thread.run_sync(shutil.disk_usage, folder)
    return rules.disk(folder, usage.free, max(facts.number("aof_current_size") for facts in servers))
