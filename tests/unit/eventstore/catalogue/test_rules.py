"""Which changes of a Struct leave stored events readable, rule by rule."""

import enum
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta, Struct, defstruct

from eventstore.catalogue import differences, schema_of

Aware = Annotated[datetime, Meta(tz=True)]
Naive = Annotated[datetime, Meta(tz=False)]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Red(enum.Enum):
    RED = "red"


class Money(Struct, frozen=True):
    amount: int


class Priced(Struct, frozen=True):
    amount: int
    currency: str


class Eur(Struct, tag=True):
    amount: int


class Usd(Struct, tag=True):
    amount: int


class Gbp(Struct, tag=True):
    amount: int


class Pair(NamedTuple):
    x: int
    y: int = 0


class Keyed(TypedDict):
    x: int


class Node(Struct):
    n: int
    below: list["Node"] = []


class Tree(Struct):
    n: str
    below: list["Tree"] = []


def found(old: type[Struct], new: type[Struct]) -> list[tuple[str, str, bool]]:
    return [(d.path, d.rule, d.breaking) for d in differences(schema_of(old, "T"), schema_of(new, "T"))]


def of(annotation: Any) -> type[Struct]:
    return defstruct("T", [("f", annotation)])


def fields(*names: str, defaults: tuple[str, ...] = (), **options: Any) -> type[Struct]:
    required: list[Any] = [(name, int) for name in names]
    return defstruct("T", required + [(name, int, 0) for name in defaults], **options)


WIDER: list[tuple[Any, Any]] = [
    (int, int | None),
    (Annotated[int, Meta(ge=-(2**53), le=2**53)], float),
    (Literal[1, 2], float),
    (int, Any),
    (int, int | str),
    (int | str, str | int | None),
    (int, Decimal),
    (float, Decimal),
    (str, str | None),
    (date, str),
    (UUID, str),
    (bytes, str),
    (timedelta, str),
    (Aware, datetime),
    (Naive, datetime),
    (Annotated[int, Meta(ge=1)], int),
    (Annotated[int, Meta(ge=1)], Annotated[int, Meta(gt=0)]),
    (Annotated[int, Meta(ge=1, le=5)], Annotated[int, Meta(ge=0, le=9)]),
    (Annotated[str, Meta(min_length=2, max_length=3)], Annotated[str, Meta(min_length=1, max_length=4)]),
    (Annotated[str, Meta(pattern="^a")], str),
    (Literal["a"], str),
    (Literal["a", 1], str | int),
    (Red, str),
    (set[int], list[int]),
    (tuple[int, int], list[int]),
    (tuple[int, str], list[int | str]),
    (list[int], list[int | float]),
    (dict[str, int], dict[str, int | None]),
    (dict[int, int], dict[str, int]),
    (dict[date, int], dict[str, int]),
    (Money, Money | None),
    (Money, Any),
    (Eur, Eur | Usd),
    (Eur | Usd, Eur | Usd | Gbp),
]


@pytest.mark.parametrize(("old", "new"), WIDER, ids=str)
def test_a_field_may_take_more(old: Any, new: Any) -> None:
    assert not any(breaking for *_, breaking in found(of(old), of(new)))
    assert any(breaking for *_, breaking in found(of(new), of(old))) or schema_of(of(old), "") == schema_of(of(new), "")


NARROWER: list[tuple[Any, Any, str]] = [
    (int, str, "type-changed"),
    (str, int, "type-changed"),
    (float, int, "type-changed"),
    (int, float, "type-changed"),
    (int | str, float | str, "type-changed"),
    (Annotated[int, Meta(ge=0)], float, "type-changed"),
    (Annotated[int, Meta(ge=0, le=2**53 + 1)], float, "type-changed"),
    (int | None, int, "type-changed"),
    (int | str, int, "type-changed"),
    (bool, int, "type-changed"),
    (Any, int, "type-changed"),
    (str, date, "type-changed"),
    (str, datetime, "type-changed"),
    (date, datetime, "type-changed"),
    (str, bytes, "type-changed"),
    (datetime, Aware, "type-changed"),
    (datetime, Naive, "type-changed"),
    (Aware, Naive, "type-changed"),
    (Decimal, float, "type-changed"),
    (str, Literal["a"], "type-changed"),
    (int, Literal[1], "type-changed"),
    (int, Money, "type-changed"),
    (Money, int, "type-changed"),
    (Money, dict[str, int], "type-changed"),
    (dict[str, int], Money, "type-changed"),
    (list[int], set[int], "type-changed"),
    (dict[str, int], dict[int, int], "type-changed"),
    (Eur | Usd, Eur, "type-changed"),
    (Eur | Usd, Eur | Gbp, "type-changed"),
    (date, Annotated[str, Meta(max_length=3)], "type-changed"),
    (Decimal, str, "type-changed"),
    (float, Annotated[int, Meta(ge=0)] | float, "constraint"),
    (int, Annotated[int, Meta(ge=0)], "constraint"),
    (int, Annotated[int, Meta(multiple_of=2)], "constraint"),
    (float, Annotated[float, Meta(gt=0)], "constraint"),
    (Annotated[float, Meta(ge=0)], Annotated[float, Meta(gt=0)], "constraint"),
    (Annotated[int, Meta(le=9)], Annotated[int, Meta(le=8)], "constraint"),
    (str, Annotated[str, Meta(max_length=3)], "constraint"),
    (str, Annotated[str, Meta(min_length=1)], "constraint"),
    (str, Annotated[str, Meta(pattern="^a")], "constraint"),
    (Annotated[str, Meta(pattern="^a")], Annotated[str, Meta(pattern="^b")], "constraint"),
    (bytes, Annotated[bytes, Meta(min_length=1)], "constraint"),
    (Annotated[bytes, Meta(min_length=1)], Annotated[bytes, Meta(min_length=2)], "constraint"),
    (list[int], Annotated[list[int], Meta(min_length=1)], "constraint"),
    (list[int], tuple[int, int], "constraint"),
    (list[int], fields(defaults=("x", "y"), array_like=True), "constraint"),
    (tuple[int, int, int], fields("x", array_like=True), "constraint"),
    (tuple[int, ...], tuple[int, int], "constraint"),
    (tuple[int, int], tuple[int], "constraint"),
    (dict[str, int], Annotated[dict[str, int], Meta(max_length=3)], "constraint"),
    (dict[str, int], dict[Annotated[str, Meta(max_length=3)], int], "constraint"),
    (dict[str, int], dict[Literal["a"], int], "type-changed"),
    (Literal["a", "b"], Literal["a"], "value-removed"),
    (Literal["a", None], Literal["a"], "value-removed"),
    (Literal["a"], int, "value-removed"),
    (Literal[9007199254740993], float, "value-removed"),
    (Literal["abc"], Annotated[str, Meta(max_length=2)], "value-removed"),
    (Literal["abc"], date, "value-removed"),
    (Color, Red, "value-removed"),
]


@pytest.mark.parametrize(("old", "new", "rule"), NARROWER, ids=str)
def test_a_field_that_takes_less_breaks(old: Any, new: Any, rule: str) -> None:
    broken = [(path, rule) for path, rule, breaking in found(of(old), of(new)) if breaking]
    assert (broken[0][0].rstrip(".keys()").rstrip("[]"), broken[0][1]) == ("f", rule)


FIELDS: list[tuple[type[Struct], type[Struct], list[tuple[str, str, bool]]]] = [
    (fields("a"), fields("a", "b"), [("b", "field-required", True)]),
    (fields("a"), fields("a", defaults=("b",)), [("b", "field-added", False)]),
    (fields("a", "b"), fields("a"), [("b", "field-removed", True)]),
    (fields("a"), fields(defaults=("a",)), []),
    (fields(defaults=("a",)), fields("a"), [("a", "field-required", True)]),
    (fields("a"), fields("b"), [("a", "field-removed", True), ("b", "field-required", True)]),
    (fields("a"), fields("A", rename="lower"), []),
    (fields("a"), fields("a", rename="upper"), [("a", "field-removed", True), ("A", "field-required", True)]),
    (fields("a"), fields("a", forbid_unknown_fields=True), [("", "fields-forbidden", True)]),
    (fields("a", forbid_unknown_fields=True), fields("a"), []),
    (fields("a"), fields("a", array_like=True), [("", "type-changed", True)]),
    (fields("a", "b", array_like=True), fields("a", array_like=True), [("b", "field-removed", True)]),
    (fields("a", array_like=True), fields("a", "b", array_like=True), [("b", "field-required", True)]),
    (fields("a", array_like=True), fields("a", defaults=("b",), array_like=True), [("b", "field-added", False)]),
    (
        fields("a", "b", array_like=True),
        fields("b", "a", array_like=True),
        [("a", "field-removed", True), ("b", "field-removed", True)],
    ),
    (fields("a", tag="x"), fields("a", tag="y"), [("type", "value-removed", True), ("type", "value-added", False)]),
    (of(Pair), of(list[int]), [("f", "type-widened", False)]),
    (of(Money), of(Priced), [("f.currency", "field-required", True)]),
    (of(list[Money]), of(list[Priced]), [("f[].currency", "field-required", True)]),
    (of(dict[str, Money]), of(dict[str, Priced]), [("f.*.currency", "field-required", True)]),
    (of(tuple[int, Money]), of(tuple[int, Priced]), [("f[1].currency", "field-required", True)]),
    (of(Keyed), of(Money), [("f.x", "field-removed", True), ("f.amount", "field-required", True)]),
    (of(Red), of(Color), [("f", "value-added", False)]),
    (of(Literal["a"]), of(Literal["a", "b"]), [("f", "value-added", False)]),
    (of(Node), of(Node), []),
    (Node, Tree, [("n", "type-changed", True), ("below", "type-widened", False), ("below[]", "type-widened", False)]),
]


@pytest.mark.parametrize(("old", "new", "expected"), FIELDS)
def test_fields_come_and_go(old: type[Struct], new: type[Struct], expected: list[tuple[str, str, bool]]) -> None:
    assert found(old, new) == expected


def test_another_default_is_worth_a_note() -> None:
    old, new = defstruct("T", [("a", int, 1)]), defstruct("T", [("a", int, 2)])
    (only,) = differences(schema_of(old, "T"), schema_of(new, "T"))
    assert (only.path, only.rule, only.breaking) == ("a", "default-changed", False)
    assert only.detail == "1 became 2, also for what is stored without the field"


@pytest.mark.parametrize(
    ("default", "breaking"),
    [(1, False), (2, True), (msgspec.field(default_factory=lambda: 2), True)],
    ids=["the same", "another", "not told"],
)
def test_another_default_breaks_where_the_old_one_is_not_stored(default: Any, breaking: bool) -> None:
    old = defstruct("T", [("a", int, 1)], omit_defaults=True)
    new = defstruct("T", [("a", int, default)], omit_defaults=True)
    assert msgspec.json.encode(old()) == b"{}"
    assert (msgspec.structs.asdict(msgspec.json.decode(b"{}", type=new)) != {"a": 1}) == breaking
    assert found(old, new) == ([("a", "default-changed", True)] if breaking else [])


def test_a_change_is_told_as_people_write_types() -> None:
    old, new = of(list[int] | None), of(list[Annotated[int, Meta(ge=1)] | Aware])
    assert [d.detail for d in differences(schema_of(old, "T"), schema_of(new, "T"))] == [
        "list[int] | None became list[int (>= 1) | datetime with zone]",
        "now it must be at least 1, and stored events may hold others",
    ]


@pytest.mark.parametrize(("old", "new"), WIDER, ids=str)
def test_wider_types_of_these_tests_are_wider_for_msgspec_too(old: Any, new: Any) -> None:
    """The table above is no opinion."""
    samples: list[bytes] = [
        *(b"1", b"0", b"-3", b"1.5", b"null", b"true", b'"a"', b'"ab"', b'"2026-01-02"', b"[1,2]", b"[]", b'[1,"a"]'),
        *(b'"2026-01-02T03:04:05"', b'"2026-01-02T03:04:05Z"', b'"PT1S"', b'"red"', b'{"1":2}', b'{"2026-01-02":1}'),
        *(b'{"amount":1,"type":"Eur"}', b'{"type":"Usd","amount":1}', b'"YQ=="', b"[1,null]"),
        b'"7b1f6b1e-0000-4000-8000-000000000000"',
    ]
    readable = [sample for sample in samples if reads(sample, old)]
    assert readable
    assert [sample for sample in readable if not reads(sample, new)] == []


def reads(sample: bytes, annotation: Any) -> bool:
    try:
        msgspec.json.decode(sample, type=annotation)
    except msgspec.ValidationError:
        return False
    return True
