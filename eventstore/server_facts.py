"""What each server says of itself, asked once at a start: health judges it, and durability chooses by it."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import anyio
from msgspec import Struct
from msgspec.structs import replace
from redis.exceptions import ResponseError

from eventstore.keys import Keys, log_key
from infrastructure.connect import Command, Redis, Reply, refusal
from infrastructure.refusals import code_of
from infrastructure.settings import Settings

PINGS = 5
_ELSEWHERE = {"MOVED", "ASK", "CLUSTERDOWN"}
_SETTINGS = ("maxmemory-policy", "appendonly", "appendfsync", "aof-load-truncated", "min-replicas-to-write")


class Facts(Struct, frozen=True):
    """One server, as INFO and CONFIG GET tell. `config` is None where CONFIG may not be read; `wanted` is the
    durability asked for, None for whatever the server gives; `routed` tells whether we look for keys on all nodes.
    `elsewhere`: of a Cluster's node that is taken for a lone server, how many of the log's slots others serve."""

    address: str
    info: dict[str, str]
    config: dict[str, str] | None
    has_waitaof: bool = False
    latency_ms: float = 0.0
    wanted: str | None = None
    embedded_in: Path | None = None
    routed: bool = False
    elsewhere: int = 0

    def number(self, field: str) -> int:
        return int(self.info.get(field) or 0)

    def setting(self, name: str) -> str | None:
        return None if self.config is None else self.config.get(name)

    @property
    def in_cluster(self) -> bool:
        return bool(self.number("cluster_enabled"))

    @property
    def keeps_a_file(self) -> bool:
        """Whether an append-only file is written."""
        return bool(self.number("aof_enabled"))

    @property
    def appendfsync(self) -> str | None:
        """`always`, `everysec` or `no`; None where it cannot be read."""
        return self.setting("appendfsync")


async def look(redis: Redis, settings: Settings) -> list[Facts]:
    """Every server that accepts writes. Raises Unavailable if one does not answer."""
    replies = await redis.run_on_masters(("INFO",), ("CONFIG", "GET", *_SETTINGS))
    latency = await _latency_ms(redis, settings)
    found = [_facts(address, reply, latency, settings) for address, reply in replies.items()]
    if settings.redis.cluster:
        return found
    return [replace(one, elsewhere=await _elsewhere(redis, settings)) if one.in_cluster else one for one in found]


async def _elsewhere(redis: Redis, settings: Settings) -> int:
    """For how many of the log's slots the node names another one. Needs no right of its own, unlike CLUSTER SLOTS."""
    prefix, key = settings.eventstore.prefix, log_key(settings.eventstore.prefix)
    (stored,) = await redis.run(key, ("HGET", key, "partitions"))
    is_known = isinstance(stored, bytes) and stored.isdigit() and int(stored) > 0
    count = int(stored) if is_known else settings.eventstore.partitions
    keys = Keys(prefix, count)
    asked: list[Command] = [("EXISTS", name) for name in (key, *map(keys.head, range(count)))]
    replies = await redis.run(key, *asked)
    return sum(isinstance(reply, ResponseError) and code_of(reply) in _ELSEWHERE for reply in replies)


async def _latency_ms(redis: Redis, settings: Settings) -> float:
    """The median of a few PINGs to one server, with what the client adds."""
    key, seconds = log_key(settings.eventstore.prefix), []
    for _ in range(PINGS):
        start = anyio.current_time()
        await redis.execute(key, "PING")
        seconds.append(anyio.current_time() - start)
    return median(seconds) * 1000


def _facts(address: str, replies: Sequence[Reply], latency_ms: float, settings: Settings) -> Facts:
    info, config = replies
    if isinstance(info, ResponseError):
        raise refusal(info, address)  # our scripts need it as well
    return Facts(
        address=address,
        info=(pairs := info_pairs(info)),
        config=None if isinstance(config, ResponseError) else _pairs_of(config),
        has_waitaof=numbers_of(pairs.get("redis_version", "")) >= (7, 2),  # as which every Valkey passes
        latency_ms=latency_ms,
        wanted=settings.eventstore.durability,
        embedded_in=None if settings.redis.configured else settings.eventstore.data_dir,
        routed=settings.redis.cluster,
    )


def info_pairs(info: bytes) -> dict[str, str]:
    """The fields of an INFO."""
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _pairs_of(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def numbers_of(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(digits) for digits in re.findall(r"\d+", version)[:2])
