"""The schema of an event type: what msgspec says of it, and what msgspec leaves out."""

import enum
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from eventstore.catalogue import Schema, describe, fields_of, schema_of
from eventstore.errors import EventTypeError
from eventstore.event_types import EventTypes, event

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag=True):
    tricks: list[str] = []


class Point(NamedTuple):
    x: int
    y: int = 0


class Keyed(TypedDict):
    a: int


@dataclass
class Plain:
    a: int
    b: str = "x"


class Place(Struct, array_like=True):
    a: int
    b: str = "x"


class Page(Struct, Generic[T]):
    items: list[T]


class Everything(Struct, rename="camel", forbid_unknown_fields=True):
    whole: Annotated[int, Meta(ge=1, le=9, multiple_of=2)]
    real: Annotated[float, Meta(gt=0, lt=1)]
    text: Annotated[str, Meta(min_length=1, max_length=3, pattern="^a")]
    yes: bool
    none: None
    color: Color
    choice: Literal["a", 1]
    union: int | list[str] | None
    pets: Cat | Dog
    point: Point
    keyed: Keyed
    plain: Plain
    place: Place
    page: Page[int]
    listed: Annotated[list[int], Meta(min_length=1, max_length=3)]
    several: set[str]
    pair: tuple[int, str]
    by_name: Annotated[dict[str, float], Meta(min_length=1)]
    anything: Any
    raw: Raw
    day: date
    took: timedelta
    id: UUID
    price: Decimal
    zoned: Annotated[datetime, Meta(tz=True)]
    again: "Everything | None" = None
    count: int = 3
    names: list[str] = []
    maybe: int | UnsetType = UNSET


def test_it_says_what_the_generator_of_msgspec_says() -> None:
    _, theirs = msgspec.json.schema_components([Everything], ref_template="#/$defs/{name}")
    ours = schema_of(Everything, "E")
    assert ours["$ref"] == "#/$defs/Everything"
    for name, schema in ours["$defs"].items():
        expected = theirs["Page_int_" if name == "Page[int]" else name]
        assert normal(schema, expected) == normal(expected, expected), name


def normal(schema: Any, theirs: Any) -> Any:
    """Without what ours says more, and theirs says otherwise without saying more."""
    if isinstance(schema, list):
        return [normal(each, theirs) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: normal(value, theirs) for key, value in schema.items() if key not in ("discriminator", "title")}
    if found.get("additionalProperties") == {}:
        del found["additionalProperties"]
    if found.get("type") == "array" and found.get("items") is False:
        del found["items"]
    if "enum" in found:
        found["enum"] = sorted(found["enum"], key=str)
    if "anyOf" in found:
        found["anyOf"] = sorted(found["anyOf"], key=str)
    return {key: value.replace("Page[int]", "Page_int_") if key == "$ref" else value for key, value in found.items()}


class Zones(Struct):
    zoned: Annotated[datetime, Meta(tz=True)]
    naive: Annotated[datetime, Meta(tz=False)]
    either: datetime
    at: time
    by_number: dict[int, int]
    packed: Annotated[bytes, Meta(min_length=2)]
    place: Place


def test_it_says_what_the_generator_of_msgspec_leaves_out() -> None:
    schema = schema_of(Zones, "Z")["$defs"]
    fields: dict[str, Schema] = schema["Zones"]["properties"]
    assert [fields[name]["format"] for name in ("zoned", "naive", "either", "at")] == [
        "date-time",
        "naive-date-time",
        "any-date-time",
        "any-time",
    ]
    assert fields["by_number"]["propertyNames"] == {"type": "string", "format": "integer"}
    assert fields["packed"]["minBytes"] == 2
    assert [place["title"] for place in schema["Place"]["prefixItems"]] == ["a", "b"]


def test_the_default_of_a_set_is_in_the_same_order_in_every_process() -> None:
    letters = frozenset("abcdefgh")
    inner = msgspec.defstruct("Inner", [("s", frozenset[str], letters)], frozen=True)
    fields: list[Any] = [("s", frozenset[str], letters), ("inner", inner, inner())]
    found = schema_of(msgspec.defstruct("T", fields, frozen=True), "T")["$defs"]["T"]["properties"]
    assert found["s"]["default"] == found["inner"]["default"]["s"] == list("abcdefgh")


def test_it_says_where_defaults_are_not_stored() -> None:
    class Of(Struct, Generic[T], omit_defaults=True):
        x: T
        y: int = 1

    schema = schema_of(msgspec.defstruct("E", [("of", Of[int])]), "E")["$defs"]
    assert ("omitDefaults" in schema["E"], schema["Of[int]"]["omitDefaults"]) == (False, True)


def test_two_classes_of_one_name_are_two_definitions() -> None:
    def inner(kind: type) -> type[Struct]:
        return msgspec.defstruct("Inner", [("a", kind)])

    outer = msgspec.defstruct("Outer", [("one", inner(int)), ("two", inner(str))])
    assert {name: each["title"] for name, each in schema_of(outer, "O")["$defs"].items()} == {
        "Inner": "Inner",
        "Inner_2": "Inner",
        "Outer": "Outer",
    }


class Odd:
    pass


@pytest.mark.parametrize(
    ("annotation", "path"), [(Odd, "f"), (list[Odd], "f[]"), (dict[str, Odd | None], "f.*"), (tuple[int, Odd], "f[1]")]
)
def test_a_type_without_json_form_is_named_with_its_field(annotation: Any, path: str) -> None:
    struct = msgspec.defstruct("S", [("f", annotation)])
    with pytest.raises(EventTypeError) as caught:
        schema_of(struct, "Shipped")
    assert caught.value.detail == f"Shipped: {path} is of type {__name__}.Odd, which has no JSON form"
    assert caught.value.remedy is not None


def test_fields_are_told_as_people_write_types() -> None:
    @event(name="Placed", version=2, upcasters={1: dict})
    class Placed(Struct):
        lines: list[Cat]
        by: Literal["web", "shop"] | None
        note: str = ""
        when: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET

    (entry,) = describe(EventTypes([Placed])).types
    assert fields_of(entry) == {
        "lines": "list[Cat]",
        "by": "'shop' | 'web' | None",
        "note": 'str = ""',
        "when": "datetime with zone = ...",
    }
    (placed,) = describe(EventTypes([Place])).types
    assert fields_of(placed) == {"a": "int", "b": 'str = "x"'}
