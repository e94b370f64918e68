"""The primary that Sentinel names, before and after it changes."""

import traceback
from collections.abc import AsyncIterator

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from infrastructure.connect import Redis, connect
from infrastructure.errors import Unavailable
from infrastructure.secrets import Secret
from infrastructure.settings import RedisSettings
from tests.support.servers import Server, free_port, redis_server, sentinel, tries, until

pytestmark = pytest.mark.anyio
SECRET = "correct-horse"


class Watched(Struct):
    """A primary, its replica, and a Sentinel that watches them."""

    primary: Server
    replica: Server
    sentinel: Server

    @property
    def settings(self) -> RedisSettings:
        dead = f"127.0.0.1:{free_port()}"
        return RedisSettings(sentinels=(dead, self.sentinel.address), sentinel_master="main", socket_timeout_seconds=1)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with redis_server() as primary, redis_server(args=["--replicaof", "127.0.0.1", str(primary.port)]) as replica:
        # A Sentinel asks for the replicas as it starts, and then only every ten seconds.
        await until(lambda: b",state=online," in primary.admin("INFO", "replication"))
        async with sentinel(primary, "main") as watcher:
            await until(lambda: len(watcher.admin("SENTINEL", "REPLICAS", "main")) == 1)
            yield Watched(primary, replica, watcher)


async def test_calls_go_to_the_primary_though_the_first_sentinel_is_dead(watched: Watched) -> None:
    async with connect(watched.settings) as redis:
        assert await redis.run("n", ("INCR", "n")) == [1]
        assert list(await redis.run_on_masters(("PING",))) == [watched.primary.address]


async def test_after_a_failover_a_call_goes_to_the_new_primary_within_five_seconds(watched: Watched) -> None:
    async with connect(watched.settings) as redis:
        await redis.run("n", ("SET", "n", 0))
        await until(lambda: _starts_failover(watched))
        # Until the old primary is demoted it takes writes that are lost with it: Sentinel promises no more.
        await until(lambda: watched.primary.admin("ROLE")[0] == b"slave")
        with anyio.fail_after(5):
            await _increment(redis)
        assert list(await redis.run_on_masters(("PING",))) == [watched.replica.address]
    assert watched.replica.admin("GET", "n") == b"1"


async def test_a_demoted_primary_that_kept_its_connections_is_left(watched: Watched) -> None:
    async with connect(watched.settings) as redis:
        await redis.run("n", ("SET", "n", 0))
        # By hand, so that nobody closes our connections; the Sentinel is told afterwards.
        watched.replica.admin("REPLICAOF", "NO", "ONE")
        watched.primary.admin("REPLICAOF", "127.0.0.1", watched.replica.port)
        watched.sentinel.admin("SENTINEL", "REMOVE", "main")
        watched.sentinel.admin("SENTINEL", "MONITOR", "main", "127.0.0.1", watched.replica.port, 1)
        (first,) = await redis.run("n", ("INCR", "n"))
        assert "read only" in str(first)
        assert await redis.run("n", ("INCR", "n")) == [1]


async def test_a_sentinel_that_does_not_know_the_name(watched: Watched) -> None:
    settings = RedisSettings(sentinels=(watched.sentinel.address,), sentinel_master="other")
    with pytest.raises(Unavailable, match="knows no primary other") as caught:
        async with connect(settings):
            pass
    assert (caught.value.reason, caught.value.maybe_ran) == ("unsupported", False)


async def test_no_sentinel_answers() -> None:
    settings = RedisSettings(sentinels=(f"127.0.0.1:{free_port()}",))
    with pytest.raises(Unavailable, match="nothing listens") as caught:
        async with connect(settings):
            pass
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize("user", [None, "watcher"])
async def test_sentinels_that_have_a_password_of_their_own(user: str | None) -> None:
    rights = "resetchannels -@all +sentinel|get-master-addr-by-name"
    guard = [f"requirepass {SECRET}"] if user is None else [f"user {user} on >{SECRET} {rights}", "user default off"]
    async with redis_server() as primary, sentinel(primary, lines=guard) as watcher:
        settings = RedisSettings(sentinels=(watcher.address,), sentinel_username=user, sentinel_password=Secret(SECRET))
        async with connect(settings) as redis:
            assert await redis.run("n", ("INCR", "n")) == [1], "which asks for none"
        for wrong in (Secret("battery-staple"), None):
            with pytest.raises(Unavailable, match=f"Sentinel {watcher.address} refused") as caught:
                async with connect(replace(settings, sentinel_password=wrong)):
                    pass
            assert (caught.value.reason, caught.value.maybe_ran) == ("authentication", False)
            assert "redis.sentinel_password" in str(caught.value.remedy)
            assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_password_of_the_servers_is_not_told_to_sentinels() -> None:
    async with redis_server(args=["--requirepass", SECRET]) as primary:
        primary.admin("AUTH", SECRET)
        async with sentinel(primary, lines=[f"sentinel auth-pass mymaster {SECRET}"]) as watcher:
            async with connect(RedisSettings(sentinels=(watcher.address,), password=Secret(SECRET))) as redis:
                assert await redis.run("n", ("INCR", "n")) == [1]
            assert watcher.calls_of("auth") == 0


def _starts_failover(watched: Watched) -> bool:
    try:
        return bool(watched.sentinel.admin("SENTINEL", "FAILOVER", "main"))
    except Exception as error:
        if "NOGOODSLAVE" in str(error):
            return False
        raise


async def _increment(redis: Redis) -> None:
    """Repeat what surely has not run."""
    async for _ in tries():
        try:
            (reply,) = await redis.run("n", ("INCR", "n"))
        except Unavailable as error:
            if error.maybe_ran:
                raise
        else:
            if not isinstance(reply, Exception):
                return
