"""Effects are collected, checked where they are given, and nothing more."""

from collections.abc import Callable

import pytest

from consumers.effects import MOST_PER_EVENT, Effects
from consumers.state import Effect
from eventstore.errors import InvalidRequest, TooLarge


def test_effects_are_commands_on_keys_under_the_groups_prefix_in_order() -> None:
    effects = Effects("es:{log.0.1}:x:totals:")
    effects.hset("orders", "order-1", "paid")
    effects.hincrby("orders", "count")
    effects.hdel("orders", "a", b"b")
    effects.sadd("ids", 1, 2)
    effects.srem("ids", 1)
    effects.zadd("top", "order-1", 99)
    effects.zincrby("top", "order-1", 0.5)
    effects.zrem("top", "order-2")
    effects.set("last", "ü")
    effects.incrby("sum", -3)
    effects.rpush("log", "a", "b")
    effects.delete("old")
    key = "es:{log.0.1}:x:totals:"
    assert effects.collected() == (
        Effect("HSET", key + "orders", ("order-1", "paid")),
        Effect("HINCRBY", key + "orders", ("count", 1)),
        Effect("HDEL", key + "orders", ("a", b"b")),
        Effect("SADD", key + "ids", (1, 2)),
        Effect("SREM", key + "ids", (1,)),
        Effect("ZADD", key + "top", (99, "order-1")),
        Effect("ZINCRBY", key + "top", (0.5, "order-1")),
        Effect("ZREM", key + "top", ("order-2",)),
        Effect("SET", key + "last", ("ü",)),
        Effect("INCRBY", key + "sum", (-3,)),
        Effect("RPUSH", key + "log", ("a", "b")),
        Effect("DEL", key + "old"),
    )


@pytest.mark.parametrize(
    "collect",
    [
        lambda effects: effects.set("", "x"),
        lambda effects: effects.set("two\nlines", "x"),
        lambda effects: effects.set("name", None),
        lambda effects: effects.set("name", True),
        lambda effects: effects.set("name", {"a": 1}),
        lambda effects: effects.set("name", "\ud800"),
        lambda effects: effects.set("name", float("nan")),
        lambda effects: effects.set("name", 2**64),
        lambda effects: effects.incrby("name", 1.5),
        lambda effects: effects.incrby("name", True),
        lambda effects: effects.hincrby("name", "field", 2**63),
        lambda effects: effects.zadd("name", "member", float("inf")),
        lambda effects: effects.zincrby("name", "member", "1"),
        lambda effects: effects.sadd("name"),
        lambda effects: effects.rpush("name"),
    ],
)
def test_what_redis_would_refuse_is_refused_at_once(collect: Callable[[Effects], None]) -> None:
    effects = Effects()
    with pytest.raises(InvalidRequest) as caught:
        collect(effects)
    assert caught.value.remedy
    assert effects.collected() == ()


def test_effects_of_an_event_are_bounded() -> None:
    effects = Effects()
    with pytest.raises(TooLarge, match="size of SET"):
        effects.set("name", "x" * (1 << 20) + "y")
    with pytest.raises(TooLarge, match="values of SADD"):
        effects.sadd("name", *range(1_001))
    for _ in range(MOST_PER_EVENT):
        effects.incrby("name")
    with pytest.raises(TooLarge, match="number of effects"):
        effects.incrby("name")


def test_what_a_handler_left_running_adds_nothing_any_more() -> None:
    effects = Effects()
    assert effects.collected() == ()
    with pytest.raises(InvalidRequest, match="the handler has returned"):
        effects.incrby("name")
