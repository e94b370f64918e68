"""The forecast of `doctor` on a real log, whose events are made older than they are by what the server holds."""

import pytest
from msgspec.structs import replace
from redis.crc import key_slot

from eventstore import EventStore
from eventstore.growth import check_growth
from eventstore.health_rules import Check
from infrastructure.connect import connect
from infrastructure.settings import Settings
from tests.support.fixtures import server_fixture
from tests.support.logs import fill, stream_in
from tests.support.servers import Server, redis_cluster
from tests.support.stores import open_store, rewrite, settings_of

pytestmark = pytest.mark.anyio

HOUR_US = 3_600_000_000


server = server_fixture("--maxmemory", "64mb")


async def told(settings: Settings) -> Check:
    async with connect(settings.redis) as redis:
        return await check_growth(redis, settings)


def age(server: Server, store: EventStore, partition: int, us: int) -> None:
    """Makes every event of a partition older."""

    def older(_: int, value: bytes) -> bytes:
        at = int.from_bytes(value[1:9], "big") - us
        return value[:1] + at.to_bytes(8, "big") + value[9:]

    rewrite(server, store.log.keys.events(partition), older)
    head = store.log.keys.head(partition)
    server.admin("HSET", head, "last", int(server.admin("HGET", head, "last")) - us)


async def test_a_server_that_is_full_within_a_week_is_a_warning(server: Server) -> None:
    async with open_store(server) as store:
        settings = settings_of(server, prefix=store.log.settings.prefix)
        await fill(store, stream_in(0, 4), 6_000)
        await fill(store, stream_in(1, 4), 1_000)
        assert "younger than a minute" in (await told(settings)).detail
        age(server, store, 0, 2 * HOUR_US)
        age(server, store, 1, HOUR_US // 2)
        check = await told(settings)
        assert check.status == "WARN"
        assert "at 0.28 events/s (last hour)" in check.detail, "the 1,000 of half an hour ago"
        assert "at 0.97 events/s (last 2 hours)" in check.detail, "all of them"
        assert "of maxmemory 64.0 MB used" in check.detail
        assert 60 < float(check.detail.split(" B an event")[0].split()[-1]) < 300
        server.admin("CONFIG", "SET", "maxmemory", "8gb")
        assert (await told(settings)).status == "ok"


async def test_a_log_that_has_stopped_growing_is_never_full(server: Server) -> None:
    async with open_store(server) as store:
        settings = settings_of(server, prefix=store.log.settings.prefix)
        await fill(store, stream_in(0, 4), 100)
        age(server, store, 0, 100 * HOUR_US)
        check = await told(settings)
        assert (check.status, check.detail.partition(";")[0]) == ("ok", "no events in the last day")


async def test_before_the_log_is_made_and_where_one_of_its_keys_is_gone(server: Server) -> None:
    assert (await told(settings_of(server))).status == "ok"
    async with open_store(server) as store:
        server.admin("DEL", store.log.keys.head(2))
        check = await told(settings_of(server, prefix=store.log.settings.prefix))
        assert check.status == "WARN"
        assert store.log.keys.head(2) in check.detail


async def test_in_a_cluster_the_server_that_is_full_first_is_named() -> None:
    async with redis_cluster() as nodes:
        settings = settings_of(nodes[0])
        settings = replace(settings, redis=replace(settings.redis, cluster=True))
        for node in nodes:
            node.admin("CONFIG", "SET", "maxmemory", "64mb")
        async with EventStore.open(settings=settings) as store:
            await fill(store, stream_in(3, 4), 5_000)
            busy = nodes[key_slot(store.log.keys.head(3).encode()) * len(nodes) // 16_384]
            age(busy, store, 3, HOUR_US // 2)
            check = await told(settings)
            assert check.status == "WARN"
            assert check.detail.startswith(f"127.0.0.1:{busy.port}: full in")


async def test_a_partition_that_is_gone_or_damaged_is_named_in_plain_words(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        settings, key = settings_of(server, prefix=store.log.settings.prefix), store.log.keys.head(0)
        await fill(store, "order-1", 1)
        server.admin("HSET", key, "pos", "7x")
        check = await told(settings)
        assert (check.status, check.detail.startswith(f"cannot be forecast: {key}: pos is")) == ("WARN", True)
        server.admin("DEL", key)
        check = await told(settings)
        assert check.detail == f"cannot be forecast: a partition of the log is gone: {key} does not exist"
        assert "backup" in str(check.fix)
