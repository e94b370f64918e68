"""A state is kept only if it comes back as it was: equal is not enough, for rules ask more of a state than `==`."""

import enum
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from msgspec import Struct, msgpack

from eventstore import Fold
from eventstore.snapshot_state import pack, unpack

EAST = timezone(timedelta(hours=2))
NIGHT = datetime(2026, 3, 2, 0, 30, tzinfo=EAST)  # in UTC it is the day before


class Status(enum.StrEnum):
    OPEN = "open"


class Level(enum.IntEnum):
    HIGH = 1


class Point(NamedTuple):
    x: int


class Base(Struct, frozen=True):
    x: int = 0


class Derived(Base, frozen=True):
    pass


class Holder(Struct):
    value: Any = None
    base: Base = Base()


@dataclass
class Plain:
    counts: dict[str, int] = field(default_factory=dict)


def fold(state_type: Any) -> Fold[Any]:
    return Fold(None, lambda state, event: state, state_type=state_type)


@pytest.mark.parametrize(
    ("state", "state_type"),
    [
        ({"a": [1, 2.5, None, "x", True]}, dict[str, Any]),
        ({Status.OPEN: {Level.HIGH}}, dict[Status, set[Level]]),
        ({(1, 2): Point(3)}, dict[tuple[int, int], Point]),
        ((float("inf"), b"bytes"), tuple[float, bytes]),
        (frozenset({1, 2}), frozenset[int]),
        (Plain({"a": 1}), Plain),
        (Holder(1), Holder),
        (NIGHT, datetime),
        (NIGHT.astimezone(UTC), datetime),
        (NIGHT.replace(tzinfo=None), datetime),
        ([time(0, 30, tzinfo=EAST)], list[time]),
        (2**70, int),
    ],
)
def test_what_comes_back_is_what_was_kept(state: Any, state_type: Any) -> None:
    back = unpack(fold(state_type), pack(fold(state_type), state))
    assert (back, repr(back)) == (state, repr(state))


@pytest.mark.parametrize(
    ("state", "state_type"),
    [
        (defaultdict(int, a=1), dict[str, int]),
        (Counter("a"), dict[str, int]),
        (OrderedDict(a=1), dict[str, int]),
        (Plain(Counter("a")), Plain),
        ({"status": Status.OPEN}, dict),
        ({Status.OPEN: 1}, dict[str, int]),
        ({Status.OPEN}, set[str]),
        (Holder(Level.HIGH), Holder),
        (Holder(Point(1)), Holder),
        (Holder(base=Derived()), Holder),
        ({1}, frozenset[int]),
        ([2**53 + 1], list[float]),
        (NIGHT.astimezone(ZoneInfo("Europe/Berlin")), datetime),
        ({(1, 2): NIGHT}, dict[tuple[int, int], datetime]),
    ],
    ids=repr,
)
def test_what_would_come_back_equal_but_not_the_same_is_not_kept(state: Any, state_type: Any) -> None:
    with pytest.raises(ValueError, match="comes back as another"):
        pack(fold(state_type), state)


def test_the_reason_is_that_of_the_usual_way() -> None:
    with pytest.raises(ValueError, match=r"^TypeError: Encoding objects of type object is unsupported"):
        pack(fold(Any), object())


def test_an_int_may_stand_where_the_type_says_float() -> None:
    assert unpack(fold(list[float]), pack(fold(list[float]), [1])) == [1]


def test_the_usual_way_is_messagepack() -> None:
    assert pack(fold(Holder), Holder(1)) == msgpack.encode(Holder(1))
