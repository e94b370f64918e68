"""Which changes of a fold's code make another fold of it, and which do not. A module is written twice, with 1 and 2."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from eventstore import Fold

HEAD = """
import enum, functools
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar
from msgspec import Struct
from eventstore import Fold
"""
STATE = """
def apply(state: State, event: object) -> State: return state.plus()
FOLD = Fold(State(), apply, snapshot_every=5)
"""
PLAIN = """
def apply(state: int, event: object) -> int: return rule(state)
FOLD = Fold(0, apply, snapshot_every=5)
"""


def fold(source: str, number: int) -> Fold[Any]:
    module: dict[str, Any] = {"__name__": "shop.accounts"}
    exec(HEAD + source.replace("NUMBER", str(number)), module)
    made: Fold[Any] = module["FOLD"]
    return made


RULES = {
    "a function that stands below the fold": f"{PLAIN}\ndef rule(n): return n + NUMBER",
    "a cached function": f"@functools.cache\ndef rule(n): return n + NUMBER\n{PLAIN}",
    "a table of functions": f"TABLE = {{'a': lambda n: n + NUMBER}}\ndef rule(n): return TABLE['a'](n)\n{PLAIN}",
    "a setting": f"""
@dataclass(frozen=True)
class Rates:
    vat: int = NUMBER
RATES = Rates()
def rule(n): return n + RATES.vat
{PLAIN}""",
    "arguments that change places": f"""
if NUMBER == 1:
    def minus(a, b): return a - b
else:
    def minus(b, a): return b - a
def rule(n): return minus(a=n, b=2)
{PLAIN}""",
    "a constant of the class": f"""
class State(Struct):
    LIMIT: ClassVar[int] = NUMBER
    n: int = 0
    def plus(self): return State(self.n + self.LIMIT)
{STATE}""",
    "a cached method": f"""
class State(Struct, frozen=True):
    n: int = 0
    @functools.lru_cache
    def plus(self): return State(self.n + NUMBER)
{STATE}""",
    "a method of an enum": f"""
class Kind(enum.Enum):
    A = "a"
    def weight(self): return NUMBER
class State(Struct):
    n: int = 0
    kind: Kind = Kind.A
    def plus(self): return State(self.n + self.kind.weight())
{STATE}""",
    "a method of a generic class": f"""
T = TypeVar("T")
class Of(Struct, Generic[T]):
    n: int = 0
    def plus(self): return Of(self.n + NUMBER)
State = Of[int]
{STATE}""",
    "what it begins with": """
@dataclass
class State:
    n: dict[int, set[str]]
def apply(state: State, event: object) -> State: return state
FOLD = Fold(State({NUMBER: {"a", "b"}}), apply, snapshot_every=5)
""",
}


@pytest.mark.parametrize("source", RULES.values(), ids=RULES)
def test_a_changed_rule_makes_another_fold(source: str) -> None:
    assert fold(source, 1).identity == fold(source, 1).identity != fold(source, 2).identity


def test_a_table_that_holds_itself_has_an_end() -> None:
    source = f"TABLE = {{'n': NUMBER}}\nTABLE['again'] = TABLE\ndef rule(n): return n + TABLE['n']\n{PLAIN}"
    assert fold(source, 1).identity != fold(source, 2).identity


class Ordered(frozenset[Any]):
    """A set in an order that is given. Where functions lie elsewhere in memory, a set of them has another one."""

    order: tuple[Any, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.order)


def test_a_set_of_functions_that_call_each_other_is_the_same_in_every_order() -> None:
    module: dict[str, Any] = {"__name__": "shop.accounts", "RULES": frozenset()}
    source = f"""
def a(n): return b(n)
def b(n): return c(n)
def c(n): return a(n)
def rule(n): return sum(each(n) for each in RULES)
{PLAIN}"""
    seen = set()
    for order in itertools.permutations("abc"):
        exec(HEAD + source, module)
        module["RULES"] = rules = Ordered(module[name] for name in order)
        rules.order = tuple(module[name] for name in order)
        seen.add(module["FOLD"].identity)
    assert len(seen) == 1
