"""From what was stored by older releases to what this one knows; a chain that cannot work is an error at start."""

from datetime import date
from typing import Any

import pytest
from msgspec import Raw, Struct

from eventstore.envelope import Untyped
from eventstore.errors import EventTypeError, InvalidEvent
from eventstore.event_types import EventTypes, event


class PlacedV1(Struct, frozen=True):
    total: float


@event(
    name="OrderPlaced",
    version=3,
    formerly=("OrderCreated",),
    upcasters={1: lambda old: {"cents": old["total"]}, 2: lambda old: {**old, "currency": "EUR"}},
)
class OrderPlaced(Struct, frozen=True):
    cents: int
    currency: str


def test_old_data_climb_the_chain_of_upcasters() -> None:
    types = EventTypes([OrderPlaced])
    assert types.decode("OrderPlaced", 1, b'{"total": 5}') == OrderPlaced(5, "EUR")
    assert types.decode("OrderPlaced", 2, b'{"cents": 5}') == OrderPlaced(5, "EUR")
    assert types.decode("OrderPlaced", 3, b'{"cents": 5, "currency": "USD"}') == OrderPlaced(5, "USD")


@pytest.mark.parametrize(
    ("upcasters", "chain", "remedy"),
    [
        ({}, "1 to 2 is missing, 2 to 3 is missing", "upcasters={1: ..., 2: ...}; or oldest=3"),
        ({2: dict}, "1 to 2 is missing, 2 to 3", "upcasters={1: ...}; or oldest=2"),
        ({1: dict}, "1 to 2, 2 to 3 is missing", "upcasters={2: ...}; or oldest=3"),
    ],
)
def test_a_gap_is_an_error_that_names_the_chain_and_the_remedy(
    upcasters: dict[int, Any], chain: str, remedy: str
) -> None:
    with pytest.raises(EventTypeError, match=f"Odd version 3: its chain of upcasters: {chain}") as caught:
        event(name="Odd", version=3, upcasters=upcasters)(PlacedV1)
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize("stray", [0, 3, 7, "1", True])
def test_an_upcaster_that_leads_nowhere_is_an_error(stray: Any) -> None:
    with pytest.raises(EventTypeError, match=f"out of place: {stray!r}"):
        event(version=3, upcasters={2: dict, stray: dict} | ({} if stray is True else {1: dict}))(PlacedV1)


def test_what_was_never_stored_needs_no_upcaster() -> None:
    @event(name="Young", version=3, oldest=2, upcasters={2: lambda old: {"total": old["sum"]}})
    class Young(Struct):
        total: int

    types = EventTypes([Young])
    assert types.decode("Young", 2, b'{"sum": 1}') == Young(1)
    with pytest.raises(InvalidEvent, match="stored with schema version 1, no upcaster from 1") as caught:
        types.decode("Young", 1, b"{}")
    assert caught.value.remedy is not None


@pytest.mark.parametrize("oldest", [0, 4, "1"])
def test_the_oldest_version_is_one_that_can_have_been(oldest: Any) -> None:
    with pytest.raises(EventTypeError, match="oldest"):
        event(version=3, oldest=oldest, upcasters={1: dict, 2: dict})(PlacedV1)


async def later(old: object) -> object:
    return old


@pytest.mark.parametrize("unfit", [7, later, lambda: None, lambda old, more: old])
def test_what_cannot_be_called_with_the_data_alone_is_no_upcaster(unfit: Any) -> None:
    with pytest.raises(EventTypeError, match="the upcaster from version 1 ") as caught:
        event(version=2, upcasters={1: unfit})(PlacedV1)
    assert caught.value.remedy is not None


def test_an_upcaster_may_take_the_old_struct_and_return_the_new() -> None:
    def newer(old: PlacedV1) -> OrderPlaced:
        return OrderPlaced(round(old.total * 100), "EUR")

    @event(name="Typed", version=2, upcasters={1: newer})
    class Typed(Struct):
        cents: int

    assert EventTypes([Typed]).decode("Typed", 1, b'{"total": 0.5}') == Typed(50)


def test_an_annotation_that_names_nothing_is_an_error_of_the_type() -> None:
    def newer(old: "Nowhere") -> object:  # type: ignore[name-defined] # noqa: F821
        return old

    with pytest.raises(EventTypeError, match="Nowhere"):
        event(version=2, upcasters={1: newer})(PlacedV1)


def test_upcast_data_are_read_like_stored_ones() -> None:
    """Converted from Python values instead, keys that are numbers and raw JSON would be refused."""

    @event(version=2, upcasters={1: lambda old: old})
    class Kept(Struct):
        by_number: dict[int, str]
        on: date
        raw: Raw

    kept = EventTypes([Kept]).decode("Kept", 1, b'{"by_number": {"1": "a"}, "on": "2026-01-02", "raw": [1]}')
    assert kept == Kept({1: "a"}, date(2026, 1, 2), Raw(b"[1]"))


def test_an_upcaster_gets_data_of_its_own_each_time() -> None:
    seen: list[Any] = []

    def greedy(old: dict[str, Any]) -> dict[str, Any]:
        seen.append(old)
        old["items"].append("more")
        return old

    @event(version=2, upcasters={1: greedy})
    class Kept(Struct):
        items: list[str]

    types, stored = EventTypes([Kept]), b'{"items": ["one"]}'
    for _ in range(2):
        assert types.decode("Kept", 1, stored) == Kept(["one", "more"])
    seen[0]["items"].clear()
    assert seen[1] == {"items": ["one", "more"]}
    assert stored == b'{"items": ["one"]}'


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda old: {"total": old["gone"]}, "KeyError: 'gone'"),
        (lambda old: None, "TypeError: it returned NoneType, not the data"),
        (lambda old: {"total": object()}, "TypeError"),
    ],
)
def test_whatever_an_upcaster_does_names_the_type_and_the_version(broken: Any, said: str) -> None:
    @event(version=2, upcasters={1: broken})
    class Moved(Struct):
        total: int

    with pytest.raises(InvalidEvent, match=f"Moved: the upcaster from version 1 failed: {said}") as caught:
        EventTypes([Moved]).decode("Moved", 1, b"{}")
    assert caught.value.remedy is not None


def test_an_event_stored_under_a_former_name_is_read_as_the_type() -> None:
    types = EventTypes([OrderPlaced], strict=True)
    assert types.decode("OrderCreated", 1, b'{"total": 5}') == OrderPlaced(5, "EUR")
    assert types.names_of("OrderCreated") == types.names_of("OrderPlaced") == ("OrderPlaced", "OrderCreated")
    assert types.names_of("Strange") == ("Strange",)
    assert [each.name for each in types] == ["OrderPlaced"]


def test_new_events_are_stored_under_the_present_name_and_imported_ones_as_they_are() -> None:
    types = EventTypes([OrderPlaced])
    assert types.encode(OrderPlaced(5, "EUR"))[:2] == ("OrderPlaced", 3)
    assert types.encode(Untyped("OrderCreated", {"total": 5})) == ("OrderCreated", 1, b'{"total":5}')
    with pytest.raises(InvalidEvent, match="upcaster from version 1 failed"):
        types.encode(Untyped("OrderCreated", {}))


def named(name: str, *formerly: str) -> type[Struct]:
    class Other(Struct):
        n: int

    return event(name=name, formerly=formerly)(Other)


@pytest.mark.parametrize(
    ("structs", "said"),
    [
        ([named("A", "B"), named("B", "A")], "a cycle of renames: A was B, which was A"),
        ([named("A", "B"), named("B", "C"), named("C", "A")], "B is the name of one type and a former name of another"),
        ([named("A"), named("B", "A")], "A is the name of one type and a former name of another"),
        ([named("A", "X"), named("B", "X")], "X is a former name of two types, A and B"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_name_belongs_to_one_type_so_there_is_no_cycle(structs: list[type[Struct]], said: str, turned: bool) -> None:
    with pytest.raises(EventTypeError) as caught:
        EventTypes(reversed(structs) if turned else structs)
    assert turned or said in caught.value.detail
    assert caught.value.remedy is not None


@pytest.mark.parametrize("formerly", ["OrderCreated", ("A", "A"), ("Odd",), ("no spaces",)])
def test_former_names_are_a_list_of_other_names(formerly: Any) -> None:
    with pytest.raises(Exception, match=r"formerly|not usable"):
        event(name="Odd", formerly=formerly)(PlacedV1)
