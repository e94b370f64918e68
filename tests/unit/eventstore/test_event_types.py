"""What may be an event, and what becomes of its data between releases."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from msgspec import Meta, Raw, Struct, defstruct

from eventstore.envelope import Untyped
from eventstore.errors import EventTypeError, InvalidEvent, InvalidRequest
from eventstore.event_types import EventTypes, event


class OrderPlaced(Struct, frozen=True):
    total: int


class Measured(Struct, frozen=True):
    value: float
    more: dict[str, Any] = {}


class Node(Struct, frozen=True):
    children: list["Node"] = []


class Counted(Struct):
    n: Annotated[int, Meta(ge=0)]
    raw: Raw = Raw(b"1")


class Picky(Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n > 9:
            raise KeyError(self.n)


@dataclass
class Point:
    x: float


def test_a_bare_struct_is_an_event_of_its_class_name() -> None:
    assert EventTypes().encode(OrderPlaced(99)) == ("OrderPlaced", 1, b'{"total":99}')


def test_an_annotated_struct_has_the_name_and_version_it_was_given() -> None:
    @event(name="order.placed", version=3, upcasters={2: lambda old: old}, oldest=2)
    class Renamed(Struct, frozen=True):
        total: int

    assert EventTypes().encode(Renamed(1)) == ("order.placed", 3, b'{"total":1}')


def test_a_bare_decorator_leaves_the_class_name() -> None:
    @event
    class Plain(Struct, frozen=True):
        total: int

    assert EventTypes([Plain]).encode(Plain(1)) == ("Plain", 1, b'{"total":1}')


def test_an_empty_name_is_not_taken_for_none() -> None:
    with pytest.raises(InvalidRequest, match="event type ''"):
        event(name="")(defstruct("Fresh", ["n"]))


def test_a_subclass_does_not_inherit_the_name() -> None:
    @event(name="base")
    class Base(Struct, frozen=True):
        total: int

    class Child(Base, frozen=True):
        pass

    assert EventTypes().encode(Child(1))[0] == "Child"


def test_data_from_a_newer_release_are_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidEvent) as caught:
        EventTypes([OrderPlaced]).decode("OrderPlaced", 2, b'{"total": 1}')
    assert caught.value.remedy == "deploy the newer code"


def test_two_structs_cannot_have_one_name() -> None:
    other = defstruct("OrderPlaced", ["x"])
    with pytest.raises(EventTypeError, match="names both"):
        EventTypes([OrderPlaced, other])


def test_an_unknown_type_reads_as_a_plain_dict() -> None:
    assert EventTypes().decode("Strange", 1, b'{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["field", "nested", "untyped"])
def test_what_json_cannot_hold_is_refused_by_its_path(number: float, place: str) -> None:
    data, path = {
        "field": (Measured(number), "data.value"),
        "nested": (Measured(1.0, {"a": [0, {"b": number}]}), "data.more.a[1].b"),
        "untyped": (Untyped("T", {"x": number}), "data.x"),
    }[place]
    with pytest.raises(InvalidEvent) as caught:
        EventTypes().encode(data)
    assert caught.value.field == path


def test_a_recursive_type_without_floats_is_an_event() -> None:
    assert EventTypes().encode(Node([Node()]))[2] == b'{"children":[{"children":[]}]}'


@pytest.mark.parametrize("data", [{"total": 1}, 7, None, "text", object()])
def test_a_plain_value_is_not_an_event(data: Any) -> None:
    with pytest.raises(InvalidEvent, match="is not an event"):
        EventTypes().encode(data)


def test_untyped_data_of_a_known_type_must_fit_its_struct() -> None:
    types = EventTypes([OrderPlaced])
    assert types.encode(Untyped("OrderPlaced", {"total": 1}))[2] == b'{"total":1}'
    with pytest.raises(InvalidEvent, match="total"):
        types.encode(Untyped("OrderPlaced", {"total": "many"}))


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="JSON"):
        EventTypes().encode(Untyped("T", {"x": "\ud800"}))


@pytest.mark.parametrize("stored", [b"{", b"\xff", b'{"total": "x"}', b"[" * 10_000])
def test_data_that_do_not_decode_are_an_invalid_event(stored: bytes) -> None:
    with pytest.raises(InvalidEvent, match="does not decode"):
        EventTypes([OrderPlaced]).decode("OrderPlaced", 1, stored)


def test_a_strict_store_refuses_a_type_that_it_does_not_know() -> None:
    types = EventTypes([OrderPlaced], strict=True)
    assert types.encode(Untyped("OrderPlaced", {"total": 1}))[0] == "OrderPlaced"
    with pytest.raises(InvalidEvent, match="strict_types"):
        types.encode(Untyped("Strange", {}))
    with pytest.raises(InvalidEvent, match="Node is not a known type") as caught:
        types.encode(Node())
    assert caught.value.field == "type"
    with pytest.raises(InvalidEvent) as mistyped:
        types.encode(Untyped("OrderPlacde", {"total": 1}))
    assert str(mistyped.value.remedy).endswith("; did you mean OrderPlaced?")


def unset() -> Counted:
    counted = Counted(1)
    del counted.n
    return counted


def nested(depth: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize(
    "data",
    [Measured(1, {"a": object()}), Measured(1, {"a": nested(5_000)}), Untyped("T", nested(5_000)), unset()],
    ids=["an object", "deep in a field", "deep", "an unset field"],
)
def test_what_cannot_be_written_is_an_invalid_event(data: Any) -> None:
    with pytest.raises(InvalidEvent, match="cannot be written"):
        EventTypes().encode(data)


@pytest.mark.parametrize("data", [Counted("1"), Counted(-1), Counted(1, Raw(b"{oops"))])  # type: ignore[arg-type]
def test_what_could_not_be_read_again_is_refused(data: Any) -> None:
    with pytest.raises(InvalidEvent, match="does not decode") as caught:
        EventTypes().encode(data)
    assert caught.value.remedy is not None


@pytest.mark.parametrize("data", [{"p": Point(math.nan)}, Measured(math.nan)])
def test_what_json_cannot_hold_is_found_inside_of_objects(data: Any) -> None:
    with pytest.raises(InvalidEvent, match="nan"):
        EventTypes().encode(Untyped("T", data))


def test_whatever_the_struct_raises_is_an_invalid_event() -> None:
    with pytest.raises(InvalidEvent, match="KeyError: 10"):
        EventTypes([Picky]).decode("Picky", 1, b'{"n": 10}')


def test_annotations_that_name_nothing_are_an_error_of_the_type() -> None:
    with pytest.raises(EventTypeError, match="Nowhere"):
        EventTypes([defstruct("Odd", [("n", "Nowhere")])])


def test_keys_that_json_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InvalidEvent, match="same text"):
        EventTypes().encode(Untyped("T", {"a": {1: "a", "1": "b"}}))
    assert EventTypes().encode(Untyped("T", {1: "a"}))[2] == b'{"1":"a"}'
