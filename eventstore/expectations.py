"""What tests expect and what came, compared and told: shared by the given/when/then of each package."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from msgspec import Struct

from eventstore.arguments import told
from eventstore.envelope import NewEvent
from eventstore.errors import InvalidRequest


def checked_events(given: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Those that were given to a function of this name. Raises InvalidRequest for what is no event."""
    for event in given:
        if not isinstance(event, Struct):
            remedy = f"{name}(*events)" if isinstance(event, Iterable) else f"{name}(OrderPlaced(total=99))"
            raise InvalidRequest(f"an event of {name}(...) is {told(event)}", field="events", remedy=remedy)
    return given


def must_be_exception(kind: object) -> None:
    """Raises InvalidRequest."""
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        raise InvalidRequest(
            f"kind is {told(kind)}", field="kind", remedy="the class of the exception: then_raises(Insufficient)"
        )


def comparable(expected: object, actual: object) -> object:
    """What came, without the metadata and id that nobody expected."""
    return actual.data if isinstance(actual, NewEvent) and not isinstance(expected, NewEvent) else actual


def side_by_side(expected: Sequence[Any], actual: Sequence[Any]) -> str:
    """Row by row, with the fields that differ."""
    nothing = object()
    rows: list[str] = []
    for number, (one, other) in enumerate(zip_longest(expected, actual, fillvalue=nothing), 1):
        if one == other:
            rows.append(f"  {number}. as expected  {one!r}")
            continue
        said = "nothing more" if one is nothing else repr(one)
        came = "nothing more" if other is nothing else repr(other)
        rows += [f"  {number}. expected     {said}", f"     actual       {came}"]
        rows += [f"                  {each}" for each in _differences(one, other)]
    return "\n".join(rows)


def _differences(one: object, other: object) -> list[str]:
    if not isinstance(one, Struct) or type(one) is not type(other):
        return []
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in one.__struct_fields__]
    return [f"{name}: {here!r} expected, {there!r} came" for name, here, there in pairs if here != there]


def row(name: str, events: Sequence[Any]) -> str:
    """One line of what is told about a test."""
    return f"  {name:<9} {listed(events) or 'no events'}"


def listed(events: Sequence[Any]) -> str:
    return ", ".join(map(repr, events))
