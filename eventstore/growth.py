"""How fast the log grows, from the positions and times that it has itself: nothing is sampled or waited for."""

from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from redis.exceptions import ResponseError

from eventstore import codec
from eventstore.growth_rules import DAY_SECONDS, HOUR_SECONDS, Growth, forecast
from eventstore.health_rules import Check
from eventstore.keys import Keys, log_key
from eventstore.log import refused
from eventstore.server_facts import info_pairs
from eventstore.stored_numbers import stored_number
from infrastructure import lua
from infrastructure.connect import Redis, Reply, refusal
from infrastructure.errors import EventStoreError
from infrastructure.patience import accepted
from infrastructure.settings import Settings
from infrastructure.tasks import together

_position_at = lua.load("eventstore", "position_at")


class _Server(Struct, frozen=True):
    """What one server says; `now` is its time in microseconds."""

    address: str
    info: dict[str, str]
    now: int

    @property
    def run_id(self) -> str:
        return self.info.get("run_id", "")


class _Partition(Struct, frozen=True):
    head: int
    at_hour: int
    at_day: int
    first_at: int | None
    stream_bytes: int | None


async def check_growth(redis: Redis, settings: Settings) -> Check:
    """When memory is full at the present rate. For `doctor`: two lookups a partition are too many for every start."""
    prefix = settings.eventstore.prefix
    key = log_key(prefix)
    (stored,) = await redis.run(key, ("HGET", key, "partitions"))
    if stored is None or isinstance(stored, Exception):
        return forecast([])
    try:
        partitions = stored_number(key, "partitions", stored, least=1)
        return forecast(await _look(redis, Keys(prefix, partitions), range(partitions)))
    except EventStoreError as error:  # a partition that is not made or damaged is told by the checks that are about it
        return Check("growth", "WARN", f"cannot be forecast: {error.detail}", error.remedy)


async def _look(redis: Redis, keys: Keys, partitions: Sequence[int]) -> list[Growth]:
    replies = await redis.run_on_masters(("INFO",), ("TIME",))
    servers = [_server(address, *reply) for address, reply in replies.items()]
    if len(servers) == 1:
        return [await _growth(redis, keys, servers[0], partitions)]
    # Who serves a partition is known by asking there.
    served_by = await together([partial(_run_id, redis, keys.head(p)) for p in partitions])
    return [
        await _growth(redis, keys, server, [p for p in partitions if served_by[p] == server.run_id])
        for server in servers
    ]


def _server(address: str, info: Reply, time: Reply) -> _Server:
    for reply in (info, time):
        if isinstance(reply, ResponseError):
            raise refusal(reply, address)
    return _Server(address, info_pairs(info), int(time[0]) * 1_000_000 + int(time[1]))


async def _run_id(redis: Redis, key: str) -> str:
    (info,) = accepted(await redis.run(key, ("INFO", "server")))
    return info_pairs(info).get("run_id", "")


async def _growth(redis: Redis, keys: Keys, server: _Server, partitions: Sequence[int]) -> Growth:
    found = await together([partial(_partition, redis, keys, p, server.now) for p in partitions])
    info, sizes = server.info, [each.stream_bytes for each in found]
    oldest = min((each.first_at for each in found if each.first_at is not None), default=server.now)
    return Growth(
        address=server.address,
        used=int(info.get("used_memory", 0)),
        maxmemory=int(info.get("maxmemory", 0)),
        system=int(info.get("total_system_memory", 0)),
        dataset=int(info.get("used_memory_dataset", 0)),
        stream_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        events=sum(each.head for each in found),
        last_hour=sum(each.head - each.at_hour for each in found),
        last_day=sum(each.head - each.at_day for each in found),
        age_seconds=max(server.now - oldest, 0) / 1e6,
    )


async def _partition(redis: Redis, keys: Keys, partition: int, now: int) -> _Partition:
    head_key, events_key = keys.head(partition), keys.events(partition)
    head, oldest, size = await redis.run(
        head_key,
        ("HGET", head_key, "pos"),
        ("XRANGE", events_key, "-", "+", "COUNT", 1),
        ("MEMORY", "USAGE", events_key, "SAMPLES", 50),
    )
    accepted([head, oldest])
    position = stored_number(head_key, "pos", head)
    at_hour, at_day = [
        await _position(redis, [head_key, events_key], now - seconds * 1_000_000)
        for seconds in (HOUR_SECONDS, DAY_SECONDS)
    ]
    first_at = codec.unpack(partition, oldest[0][0], oldest[0][1][1]).recorded_at if oldest else None
    return _Partition(position, at_hour, at_day, first_at, size if isinstance(size, int) else None)


async def _position(redis: Redis, keys: Sequence[str], time_us: int) -> int:
    (reply,) = await lua.call(redis, _position_at, keys, [time_us])
    if isinstance(reply, Exception):
        raise refused(reply)
    if len(reply) == 1:
        raise EventStoreError(f"position {reply[0]} of {keys[1]} is missing", remedy="eventstore verify")
    return int(reply[1])
