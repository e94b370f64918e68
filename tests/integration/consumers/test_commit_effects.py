"""What handlers want written goes with the commit: all of it is checked first, and then all of it is written."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumers.effects import Effects
from consumers.errors import CommitRefused
from consumers.keys import effect_key
from consumers.state import Effect, Outgoing, Row
from infrastructure.server_program import find_program
from tests.support.holding import Holding, everything, fields_of, held
from tests.support.logs import fill
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["redis-server", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    async with redis_server(find_program() if request.param == "embedded" else "redis-server") as server:
        yield server


@pytest.fixture
async def holding(server: Server) -> AsyncIterator[Holding]:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 3)
        yield await held(store)


def effect(holding: Holding, command: str, *args: Any, on: str = "k") -> Effect:
    return Effect(command, holding.effect_key(on), args)


async def test_every_kind_of_effect_does_what_its_command_does(server: Server, holding: Holding) -> None:
    effects = Effects(effect_key(holding.store.log.keys, "g", 0, ""))
    effects.hset("hash", "a", b"\xff raw")
    effects.hset("hash", "b", 1)
    effects.hincrby("hash", "n", -3)
    effects.hdel("hash", "b")
    effects.sadd("set", "x", "y")
    effects.srem("set", "x")
    effects.zadd("zset", "m", 1e16)
    effects.zincrby("zset", "n", -0.5)
    effects.zadd("zset", "gone", 1)
    effects.zrem("zset", "gone")
    effects.set("text", "é")
    effects.incrby("number", 5)
    effects.rpush("list", "first", "second")
    effects.set("gone", "x")
    effects.delete("gone")
    await holding.commit(3, effects=effects.collected())
    key = holding.effect_key
    assert server.admin("HGETALL", key("hash")) == [b"a", b"\xff raw", b"n", b"-3"]
    assert server.admin("SMEMBERS", key("set")) == [b"y"]
    assert server.admin("ZRANGE", key("zset"), 0, -1, "WITHSCORES") == [b"n", b"-0.5", b"m", b"10000000000000000"]
    assert (server.admin("GET", key("text")), server.admin("GET", key("number"))) == ("é".encode(), b"5")
    assert server.admin("LRANGE", key("list"), 0, -1) == [b"first", b"second"]
    assert server.admin("EXISTS", key("gone")) == 0


async def test_numbers_beyond_those_of_lua_are_counted_exactly(server: Server, holding: Holding) -> None:
    await holding.commit(1, effects=(effect(holding, "HINCRBY", "n", 2**53 + 1), effect(holding, "HINCRBY", "n", 2)))
    await holding.commit(2, effects=(effect(holding, "INCRBY", -(2**62) - 1, on="text"),))
    assert fields_of(server, holding.effect_key("k")) == {"n": str(2**53 + 3)}
    assert server.admin("GET", holding.effect_key("text")) == str(-(2**62) - 1).encode()


async def test_an_effect_sees_what_the_ones_before_it_leave(server: Server, holding: Holding) -> None:
    await holding.commit(1, effects=(effect(holding, "SET", "text"), effect(holding, "SET", "other", on="n")))
    await holding.commit(
        2,
        effects=(
            effect(holding, "DEL"),
            effect(holding, "HSET", "n", "7"),
            effect(holding, "HINCRBY", "n", 1),
            effect(holding, "HSET", "t", "text"),
            effect(holding, "HDEL", "t"),
            effect(holding, "HINCRBY", "t", 1),
            effect(holding, "SET", "4", on="n"),
            effect(holding, "INCRBY", 1, on="n"),
        ),
    )
    assert fields_of(server, holding.effect_key("k")) == {"n": "8", "t": "1"}
    assert server.admin("GET", holding.effect_key("n")) == b"5"


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        (("SET", "text"), ("HSET", "a", 1)),
        (("SET", "text"), ("SADD", "a")),
        (("SADD", "a"), ("ZADD", 1, "a")),
        (("RPUSH", "a"), ("INCRBY", 1)),
        (("HSET", "a", 1), ("RPUSH", "a")),
        (("SET", "text"), ("INCRBY", 1)),
        (("SET", "07"), ("INCRBY", 1)),
        (("SET", "x" * 100), ("INCRBY", 1)),
        (("HSET", "n", "1.5"), ("HINCRBY", "n", 1)),
        (("HSET", "n", " 1"), ("HINCRBY", "n", 1)),
        (("HSET", "n", "9223372036854775807"), ("HINCRBY", "n", 1)),
        (("HSET", "n", "-9223372036854775807"), ("HINCRBY", "n", -2)),
        (("HSET", "n", 1), ("HINCRBY", "n", "1.0")),
        (("HSET", "n", 1), ("HINCRBY", "n", "x")),
        (("ZADD", 1, "a"), ("ZINCRBY", "x", "a")),
        (("ZADD", 1, "a"), ("ZADD", "nan", "a")),
        (("ZADD", 1, "a"), ("ZADD", "1e400", "a")),
        (("HSET", "a", 1), ("HSET", "a")),
        (("HSET", "a", 1), ("HDEL",)),
        (("HSET", "a", 1), ("FLUSHALL",)),
        (("HSET", "a", 1), ("hdel", *["a"] * 4_001)),
    ],
)
async def test_an_effect_that_cannot_be_carried_out_refuses_the_whole_commit(
    server: Server, holding: Holding, there: tuple[Any, ...], wrong: tuple[Any, ...]
) -> None:
    await holding.commit(1, effects=(effect(holding, *there),))
    before = everything(server)
    sound = effect(holding, "HSET", "a", 1, on="another")
    rows = {"order-1": holding.retrying(2, 2), "order-2": Row(1)}
    event = Outgoing(0, "mail-1", b"e" * 30, 1, "N")
    with pytest.raises(CommitRefused) as refused:
        await holding.commit(3, rows, out=(event,), effects=(sound, effect(holding, *wrong), sound))
    assert (refused.value.what, refused.value.index) == ("effect", 1)
    assert everything(server) == before
    await holding.commit(3, rows, out=(event,), effects=(sound,))


async def test_within_one_commit_a_wrong_type_is_seen_too(server: Server, holding: Holding) -> None:
    before = everything(server)
    with pytest.raises(CommitRefused, match="holds a hash") as refused:
        await holding.commit(3, effects=(effect(holding, "HSET", "a", 1), effect(holding, "SADD", "a")))
    assert refused.value.index == 1
    assert everything(server) == before


async def test_what_is_joined_is_refused_for_the_one_that_is_too_much(server: Server, holding: Holding) -> None:
    await holding.commit(1, effects=(effect(holding, "HINCRBY", "a", 4 * 10**18),))
    before = everything(server)
    adds = [effect(holding, "HINCRBY", field, 2 * 10**18) for field in ("a", "b", "a", "b", "a")]
    with pytest.raises(CommitRefused) as refused:
        await holding.commit(2, effects=tuple(adds))
    assert (refused.value.what, refused.value.index) == ("effect", 4)
    assert everything(server) == before
    await holding.commit(2, effects=tuple(adds[:4]))
    assert fields_of(server, holding.effect_key("k")) == {"a": f"{8 * 10**18}", "b": f"{4 * 10**18}"}


async def test_effects_touch_no_key_but_those_of_handlers(server: Server, holding: Holding) -> None:
    before = everything(server)
    for key in (holding.keys.head, holding.keys.log, holding.keys.control):
        with pytest.raises(CommitRefused, match="not about a key of handlers"):
            await holding.commit(3, effects=(Effect("HSET", key, ("pos", 1)),))
    assert everything(server) == before


@pytest.mark.parametrize(
    "event",
    [
        Outgoing(0, "mail-1", b"short", 1, "N"),
        Outgoing(0, "", b"e" * 30, 1, "N"),
        Outgoing(0, "x" * 513, b"e" * 30, 1, "N"),
        Outgoing(0, "mail-1", b"e" * 30, 1, "X"),
        Outgoing(-1, "mail-1", b"e" * 30, 1, "N"),
    ],
)
async def test_a_returned_event_that_its_stream_could_not_take_refuses_the_whole_commit(
    server: Server, holding: Holding, event: Outgoing
) -> None:
    before = everything(server)
    sound = Outgoing(0, "mail-1", b"e" * 30, 1, "N")
    with pytest.raises(CommitRefused, match="returned for") as refused:
        await holding.commit(3, out=(sound, event), effects=(holding.counted("n"),))
    assert (refused.value.what, refused.value.index) == ("event", 1)
    assert everything(server) == before


async def test_returned_events_never_follow_those_of_a_later_epoch(server: Server, holding: Holding) -> None:
    server.admin("XADD", holding.keys.out, f"{holding.token.epoch + 1}-0", "q", "0")
    before = everything(server)
    with pytest.raises(CommitRefused, match="go on to"):
        await holding.commit(3, out=(Outgoing(0, "mail-1", b"e" * 30, 1, "N"),))
    assert everything(server) == before
