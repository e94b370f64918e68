"""One connection to a lone server: what a call promises, and what goes wrong on the way."""

import random
from collections.abc import AsyncIterator
from hashlib import sha1
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from infrastructure.connect import Command, Redis, Reply, connect
from infrastructure.errors import EventStoreError, Unavailable
from infrastructure.lua import Script, call, call_all
from infrastructure.pools import Sending
from infrastructure.refusals import code_of
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.proxy import Proxy, proxy
from tests.support.servers import Server, newer_servers, redis_server, until

pytestmark = pytest.mark.anyio

_SOURCE = "return redis.call('INCR', KEYS[1])"
COUNT = Script("count", _SOURCE, sha1(_SOURCE.encode()).hexdigest())


def url(text: str, **others: object) -> RedisSettings:
    return replace(RedisSettings(url=SecretUrl(text)), **others)


@pytest.fixture(params=["redis-server", *newer_servers()])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with redis_server(request.param) as server:
        yield server


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    async with connect(server.settings) as redis:
        yield redis


@pytest.fixture
async def between(server: Server) -> AsyncIterator[Proxy]:
    async with proxy(server.port) as between:
        yield between


async def test_commands_of_one_call_run_in_order_on_one_connection(redis: Redis) -> None:
    replies = await redis.run(
        "k", ("CLIENT", "ID"), ("SET", "k", "é"), ("GET", "k"), ("INCRBY", "n", 7), ("CLIENT", "ID")
    )
    assert replies[1:4] == [b"OK", "é".encode(), 7]
    assert replies[0] == replies[4]


async def test_a_refused_command_has_its_error_in_its_place(redis: Redis) -> None:
    before, error, after = await redis.run("k", ("SET", "k", "1"), ("LPUSH", "k", "x"), ("GET", "k"))
    assert isinstance(error, ResponseError)
    assert (before, after) == (b"OK", b"1")


async def test_execute_raises_what_the_server_refuses(redis: Redis) -> None:
    assert await redis.execute("k", "PING") == b"PONG"
    with pytest.raises(EventStoreError, match="NOSUCHCOMMAND"):
        await redis.execute("k", "NOSUCHCOMMAND")


async def test_a_value_that_cannot_be_sent_fails_before_a_connection_is_used(redis: Redis, server: Server) -> None:
    before = server.calls_of("set")
    with pytest.raises(TypeError):
        await redis.run("k", ("SET", "k", "1"), ("SET", "k", None))  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        await redis.run("k", ("SET", "k", "1"), ("SET", "k", "\ud800"))
    assert server.calls_of("set") == before


async def test_run_on_masters_names_the_server(redis: Redis, server: Server) -> None:
    assert await redis.run_on_masters(("PING",), ("DBSIZE",)) == {server.address: [b"PONG", 0]}


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "a b.sock"
    async with redis_server(args=["--unixsocket", str(path)]), connect(url(f"unix://{tmp_path}/a%20b.sock")) as redis:
        assert await redis.execute("k", "PING") == b"PONG"


async def test_the_database_of_the_url_is_used(server: Server) -> None:
    async with connect(url(f"{server.url}/3")) as redis:
        await redis.execute("k", "SET", "k", "1")
    server.admin("SELECT", 3)
    assert server.admin("GET", "k") == b"1"


async def test_a_block_waits_longer_than_the_socket_timeout_and_holds_up_no_call(server: Server) -> None:
    settings = replace(server.settings, socket_timeout_seconds=0.3, max_connections=1)
    async with connect(settings) as redis, anyio.create_task_group() as group:
        group.start_soon(_expect_nothing, redis)
        await until(lambda: server.is_running("xread"))
        assert await redis.execute("k", "PING") == b"PONG"


async def _expect_nothing(redis: Redis) -> None:
    assert await redis.block("k", "XREAD", "BLOCK", 600, "STREAMS", "k", "$", seconds=0.6) is None


async def test_who_finds_every_connection_in_use_waits_for_one(server: Server) -> None:
    async with connect(replace(server.settings, max_connections=2)) as redis:
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(redis.run, "k", ("INCR", "k"))
        assert await redis.execute("k", "GET", "k") == b"40"
        clients = len(server.clients())
        assert clients <= 3, "two of ours and the one of the test"


async def test_who_waits_too_long_for_a_connection_is_told_that_nothing_was_sent(server: Server) -> None:
    settings = replace(server.settings, max_connections=1, socket_timeout_seconds=0.2)
    async with connect(settings) as redis, anyio.create_task_group() as group:
        group.start_soon(_sleep_at_server, redis)
        await until(lambda: server.is_running("blpop"))
        with pytest.raises(Unavailable, match="in use") as caught:
            await redis.run("k", ("INCR", "k"))
    assert caught.value.maybe_ran is False


async def _sleep_at_server(redis: Redis) -> None:
    await redis.run("k", ("BLPOP", "empty", "1"), longer_by=1.0)


@pytest.mark.parametrize("seed", range(6))
async def test_cancelling_one_call_never_shifts_the_replies_of_others(server: Server, seed: int) -> None:
    dice = random.Random(seed)
    async with connect(replace(server.settings, max_connections=8)) as redis:
        right: list[int] = []
        async with anyio.create_task_group() as group:
            for i in range(90):
                group.start_soon(_echo, redis, i, dice.randrange(40) if i % 3 == 0 else None, right)
        assert set(right) >= {i for i in range(90) if i % 3}
        right.clear()
        async with anyio.create_task_group() as group:
            for i in range(90):
                group.start_soon(_echo, redis, i, None, right)
        assert sorted(right) == list(range(90))


async def _echo(redis: Redis, i: int, cancel_after: int | None, right: list[int]) -> None:
    async with anyio.create_task_group() as group:
        if cancel_after is not None:
            group.start_soon(_cancel_later, group.cancel_scope, cancel_after)
        for round_ in range(5):
            word = f"{i}-{round_}".encode()
            assert await redis.run("k", ("ECHO", word), ("ECHO", word * 2)) == [word, word * 2]
        right.append(i)
        group.cancel_scope.cancel()


async def _cancel_later(scope: anyio.CancelScope, checkpoints: int) -> None:
    for _ in range(checkpoints):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_script_is_called_by_hash_and_sent_again_after_the_server_forgot_it(
    redis: Redis, server: Server
) -> None:
    assert [await call(redis, COUNT, ["n"], []) for _ in range(3)] == [[1], [2], [3]]
    assert (server.calls_of("eval"), server.calls_of("evalsha")) == (1, 3)
    server.admin("SCRIPT", "FLUSH")
    assert await call(redis, COUNT, ["n"], ["any", b"bytes", 7], ("WAIT", 0, 0)) == [4, 0]
    assert (server.calls_of("eval"), server.calls_of("incr")) == (2, 4)


async def test_a_script_that_has_run_leaves_a_doubt_when_those_beside_it_cannot_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody empties the cache of scripts between two calls of one exchange; then the server is gone."""
    async with redis_server() as server, connect(server.settings) as redis:
        await call(redis, COUNT, ["a"], [])
        run = redis.run

        async def interrupted(
            key: str, *commands: Command, longer_by: float = 0.0, sending: Sending | None = None
        ) -> list[Reply]:
            monkeypatch.undo()
            replies = await run(key, commands[0], longer_by=longer_by)
            server.admin("SCRIPT", "FLUSH")
            replies += await run(key, *commands[1:], longer_by=longer_by)
            server.process.kill()
            server.process.wait()
            return replies

        monkeypatch.setattr(redis, "run", interrupted)
        with pytest.raises(Unavailable) as caught:
            await call_all(redis, COUNT, [(["a"], []), (["b"], [])])
        assert caught.value.maybe_ran


async def test_an_error_of_the_script_stays_in_its_place(redis: Redis) -> None:
    conflict = Script("conflict", "return {err = 'CONFLICT 3 5'}", "0" * 40)
    error, pong = await call(redis, conflict, ["n"], [], ("PING",))
    assert isinstance(error, ResponseError)
    assert (code_of(error), pong) == ("CONFLICT", b"PONG")


async def test_a_lost_acknowledgement_sends_the_script_exactly_once(server: Server, between: Proxy) -> None:
    async with connect(url(f"redis://127.0.0.1:{between.port}")) as redis:
        assert await call(redis, COUNT, ["n"], []) == [1]
        between.sent.clear()
        between.cut_at_next_reply()
        with pytest.raises(Unavailable) as caught:
            await redis.run("n", ("EVAL", COUNT.source, 1, "n"))
        assert (caught.value.reason, caught.value.maybe_ran) == ("unreachable", True)
        between.pass_on()
        assert await redis.execute("n", "GET", "n") == b"2"
    assert between.sent.count(b"EVAL") == 1


async def test_a_reply_that_never_comes_is_a_timeout_and_nothing_is_sent_again(server: Server, between: Proxy) -> None:
    async with connect(url(f"redis://127.0.0.1:{between.port}", socket_timeout_seconds=0.2)) as redis:
        between.lose_replies()
        with pytest.raises(Unavailable) as caught:
            await redis.run("n", ("INCR", "n"))
        assert (caught.value.reason, caught.value.maybe_ran) == ("timeout", True)
        between.pass_on()
        assert await redis.execute("n", "GET", "n") == b"1"
    assert between.sent.count(b"INCR") == 1


async def test_a_server_that_stalls_longer_than_the_socket_timeout_ran_it_once_or_not_at_all(server: Server) -> None:
    async with connect(replace(server.settings, socket_timeout_seconds=0.2)) as redis:
        server.admin("CLIENT", "PAUSE", 700, "ALL")
        with pytest.raises(Unavailable) as caught:
            await redis.run("n", ("INCR", "n"))
        assert (caught.value.reason, caught.value.maybe_ran) == ("timeout", True)
        assert await _when_it_answers(redis, "GET", "n") in (b"1", None)
        assert server.calls_of("incr") <= 1


async def _when_it_answers(redis: Redis, *command: str) -> object:
    with anyio.fail_after(10):
        while True:
            try:
                return await redis.execute("n", *command)
            except Unavailable as error:
                if error.reason != "timeout":
                    raise


async def test_connections_that_the_server_has_closed_are_not_used_again(redis: Redis, server: Server) -> None:
    await redis.run("n", ("INCR", "n"))
    server.admin("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
    await anyio.lowlevel.checkpoint()
    await until(lambda: len(server.clients()) == 1)
    assert await redis.run("n", ("INCR", "n")) == [2]


async def test_after_the_block_the_connections_are_closed_and_calls_are_refused(server: Server) -> None:
    async with connect(server.settings) as redis:
        await redis.execute("k", "PING")
    await until(lambda: len(server.clients()) == 1)
    with pytest.raises(Unavailable, match="closed") as caught:
        await redis.execute("k", "PING")
    assert (caught.value.reason, caught.value.maybe_ran) == ("closed", False)
