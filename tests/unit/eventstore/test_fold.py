"""What tells one fold from another, which states fit into a snapshot, and what a fold is told about at once."""

import enum
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from eventstore import Decider, Fold, InvalidRequest, Untyped, event
from eventstore.event_types import EventTypes
from tests.support.accounts import ACCOUNT, BANK, Account, Deposited, Withdrawn, apply, decide

ROOT = Path(__file__).parents[3]


class Added(Struct, frozen=True):
    n: int


class Colour(enum.Enum):
    RED = 1


class Sum(Struct, frozen=True):
    total: int = 0
    colour: Colour = Colour.RED

    def plus(self, n: int) -> "Sum":
        return Sum(self.total + n)


RATE = 2
RATES = {"a": 1, "b": 2}
NAMES = frozenset({"ada", "bob", "cyn", "dan"})


def rated(n: int) -> int:
    return n * RATE


def add(state: Sum, event: Added) -> Sum:
    """With a rule in another function, constants, a set, and a method of the state."""
    if "ada" in {"ada", "bob", "cyn", "dan"} and NAMES and RATES["a"]:
        return state.plus(rated(event.n))
    return state


SUM = Fold(Sum(), add)


def identity(fold: Fold[Any]) -> str:
    """Asked anew: a fold asks once in its life."""
    return Fold(fold._initial, fold._apply, version=fold.version, state_type=fold.state_type).identity


def test_a_fold_is_the_same_in_every_process() -> None:
    code = "from tests.unit.eventstore.test_fold import SUM; print(SUM.identity)"
    seen = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        shown = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        seen.add(shown.stdout.strip())
    assert seen == {SUM.identity}
    assert SUM.identity.startswith("1-")


def changed_method(self: Sum, n: int) -> Sum:
    return Sum(self.total - n)


def changed_rate(n: int) -> int:
    return n * RATE + 1


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (sys.modules[__name__], "RATE", 3),
        (sys.modules[__name__], "RATES", {"a": 1, "b": 3}),
        (sys.modules[__name__], "NAMES", frozenset({"ada"})),
        (sys.modules[__name__], "rated", changed_rate),
        (Sum, "plus", changed_method),
    ],
    ids=["constant", "table", "set", "function", "method"],
)
def test_another_rule_makes_another_fold(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    before = identity(SUM)
    monkeypatch.setattr(place, name, value)
    assert identity(SUM) != before


def make(rule: str, state: str = "total: int = 0", taken: str = "n: int", default: str = "State()") -> Fold[Any]:
    """A fold as if its module had been written so."""
    source = f"""
from msgspec import Struct
class State(Struct, frozen=True):
    {state}
class Added(Struct, frozen=True):
    {taken}
def apply(state: State, event: Added) -> State:
    {rule}
"""
    module: dict[str, Any] = {"__name__": "shop"}
    exec(source, module)
    return Fold(eval(default, module), module["apply"])


PLAIN = make("return State(state.total + event.n)")


@pytest.mark.parametrize(
    "other",
    [
        make("return State(state.total - event.n)"),
        make("return State(state.total + event.n + 1)"),
        make("return State(sum([state.total, event.n]))"),
        make("return state"),
        make("return State(state.total + event.n)", default="State(1)"),
        make("return State(state.total + event.n)", state="total: float = 0"),
        make("return State(state.total + event.n)", state="total: int = 0; more: int = 0"),
        make("return State(state.total + event.n)", state="total: int | None = 0"),
        make("return State(state.sum + event.n)", state="sum: int = 0"),
        make("return State(state.total + event.n)", taken="n: int; why: str = ''"),
        make("return State(state.total + (lambda n: n)(event.n))"),
    ],
)
def test_other_code_or_another_type_makes_another_fold(other: Fold[Any]) -> None:
    assert other.identity != PLAIN.identity


@pytest.mark.parametrize(
    "same",
    [
        make("return State(state.total + event.n)"),
        make("# a remark\n    return State(\n        state.total + event.n\n    )"),
    ],
)
def test_a_remark_or_a_line_break_makes_no_other_fold(same: Fold[Any]) -> None:
    assert same.identity == PLAIN.identity


def add_n(n: int, state: int, event: object) -> int:
    return state + n


def adder(n: int) -> Callable[[int, object], int]:
    return lambda state, event: state + n


class Adder:
    def __init__(self, n: int) -> None:
        self.n = n

    def apply(self, state: int, event: object) -> int:
        return state + self.n

    @staticmethod
    def one(state: int, event: object) -> int:
        return state + 1

    def __call__(self, state: int, event: object) -> int:
        return state + 2


@functools.singledispatch
def dispatched(event: object, state: int) -> int:
    return state


@dispatched.register
def _(event: Deposited, state: int) -> int:
    return state + event.amount


def test_folds_of_closures_partials_and_methods_are_told_apart() -> None:
    applies: list[Callable[[int, Any], int]] = [
        adder(1),
        adder(2),
        functools.partial(add_n, 1),
        functools.partial(add_n, 2),
        Adder.one,
        Adder(1).apply,
        Adder(1),
        lambda state, event: dispatched(event, state),
        lambda state, event: len([state, event]),
        max,
    ]
    identities = [Fold(0, each).identity for each in applies]
    assert "" not in identities
    assert len(set(identities)) == len(applies)
    assert Fold(0, adder(2)).identity == identities[1]


def test_upcasters_and_versions_of_the_events_belong_to_a_fold() -> None:
    def of(version: int, rate: int) -> Fold[int]:
        @event(
            name="Paid", version=version, upcasters={n: lambda old: {"n": old["n"] * rate} for n in range(1, version)}
        )
        class Paid(Struct, frozen=True):
            n: int

        def total(state: int, event: Paid) -> int:
            return state + event.n

        total.__annotations__["event"] = Paid
        return Fold(0, total)

    assert of(2, 5).identity == of(2, 5).identity
    assert len({of(1, 5).identity, of(2, 5).identity, of(3, 5).identity, of(2, 6).identity}) == 4


class Foreign:
    """Of no type that msgspec knows."""


class Holder(Struct):
    inside: Foreign | None = None


class Left(Struct):
    pass


class Right(Struct):
    pass


def either(state: Left | Right, event: object) -> Left | Right:
    return state


@pytest.mark.parametrize(
    ("fold", "why"),
    [
        (Fold(Foreign(), lambda state, event: state), "Foreign"),
        (Fold(Holder(), lambda state, event: state), "Foreign"),
        (Fold(None, lambda state, event: None), "nothing tells the type"),
        (Fold[Left | Right](Left(), either), "must be tagged"),
    ],
)
def test_a_state_that_no_snapshot_holds_is_told_when_snapshots_are_wanted(fold: Fold[Any], why: str) -> None:
    assert fold.identity == ""
    assert why in str(fold.unfit)
    with pytest.raises(InvalidRequest, match="cannot be kept in a snapshot") as caught:
        Fold(fold._initial, fold._apply, snapshot_every=1)
    assert why in caught.value.detail


def test_the_type_of_the_state_is_the_one_given_else_the_one_returned_else_that_of_the_first() -> None:
    def maybe(state: Account | None, event: object) -> Account | None:
        return state

    assert Fold[Account | None](None, maybe).state_type == Account | None
    assert Fold(None, lambda state, event: state, state_type=Account | None).state_type == Account | None
    assert Fold({"a": 1}, lambda state, event: state).state_type is dict
    assert ACCOUNT.state_type is Account


class Event(Struct, frozen=True):
    """A base: no event of its own."""


class Opened(Event, frozen=True):
    pass


class Closed(Event, frozen=True):
    pass


def test_a_store_learns_the_events_that_the_annotation_names() -> None:
    def by_base(state: int, event: Event | Untyped) -> int:
        return state

    def unknown(state: int, event: "Missing") -> int:  # type: ignore[name-defined]  # noqa: F821
        return state

    types = EventTypes()
    for fold in (ACCOUNT, BANK.fold, Fold(0, by_base), Fold(0, unknown), Fold(0, max)):
        fold.know(types)
    assert {known.struct for known in types} == {Deposited, Withdrawn, Event, Opened, Closed}


def test_a_base_whose_name_is_taken_stays_unknown() -> None:
    class Taken(Struct):
        pass

    types = EventTypes()
    types.add(type("Event", (Taken,), {}))
    Fold(0, _by_base).know(types)
    assert types.named("Opened") is not None


def _by_base(state: int, event: Event) -> int:
    return state


ANYTHING: Callable[[object], Any] = lambda given: given  # noqa: E731 - what a type checker would not let pass


@pytest.mark.parametrize(
    ("make_fold", "says"),
    [
        (lambda: Fold(0, ANYTHING(7)), "apply is of type int"),
        (lambda: Fold(0, max, version=0), "version is 0"),
        (lambda: Fold(0, max, version=True), "version is True"),
        (lambda: Fold(0, max, snapshot_every=0), "snapshot_every is 0"),
        (lambda: Decider(0, ANYTHING(None), max), "decide is of type NoneType"),
        (lambda: Decider(0, max, ANYTHING(None)), "evolve is of type NoneType"),
    ],
)
def test_what_makes_no_fold_is_told_at_once(make_fold: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        make_fold()


def test_a_fold_and_a_decider_show_what_they_are_of() -> None:
    assert repr(ACCOUNT) == "Fold(Account(balance=0, events=0), apply, version=1)"
    assert repr(Decider(Account(), decide, apply)) == f"Decider(decide, {ACCOUNT!r})"
