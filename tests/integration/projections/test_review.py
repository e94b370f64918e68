"""What a hostile reader of the code has found: each was wrong once."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from consumers.state import Effect
from projections.checkpoint import BadChange, Part, Step
from projections.generations import Generation
from projections.rows import ADD, EXECUTE, PUT
from projections.sinks.sql import SqlSink
from tests.support.projected import totals

pytestmark = pytest.mark.anyio
PART = Part("counts", 1, 0)


@pytest.fixture
def opened(database: str) -> Iterator[Callable[..., SqlSink]]:
    """Sinks of the same database, as several processes have them."""
    sinks: list[SqlSink] = []

    def open_one(*tables: sa.Table) -> SqlSink:
        sinks.append(SqlSink(database, tables or (totals,)))
        return sinks[-1]

    yield open_one
    for each in sinks:
        each.close()


def _begun(sink: SqlSink, name: str = "counts", version: int = 1) -> Generation:
    begun = sink.begin(Generation(name, version, tables=tuple(table.name for table in sink.tables)), again=True)
    sink.prepare(begun)
    return begun


def _added(name: object, **amounts: object) -> Effect:
    return Effect(ADD, "totals", ((("name",), tuple(amounts)), (name, *amounts.values())))


def _slip(statement: object) -> Effect:
    return Effect(EXECUTE, "", (statement, {}))


REFUSED = {
    "nothing is added to": [_added("a", events=None), _added("a", events=1)],
    "a key that is a dict": [_added({"a": 1}, events=1)],
    "a number that is too large": [_added("a", events=2**70)],
    "text that is none": [_added("\ud800", events=1)],
    "a slip in SQL": [_slip(sa.text("UPDAT totals"))],
    "no statement at all": [_slip("UPDATE totals SET events = 1")],
    "an object": [_added("a", events=object())],
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_repetition_mends_is_told_of_its_change(opened: Callable[..., SqlSink], changes: list[Effect]) -> None:
    """Each ended the worker by an error that nobody expected, or was repeated for ever."""
    sink = opened()
    _begun(sink)
    sink.claim(PART, 1)
    with pytest.raises(BadChange) as raised:
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [_added("good", events=1), *changes])
    assert raised.value.index >= 1
    sink.apply(PART, Step(1, 1, (1, 1), "", {}), [_added("good", events=1)])
    assert [row["events"] for row in sink.read(sa.select(sink.of(1)["totals"]))] == [1]


def test_a_key_that_no_index_takes_is_told_of_its_change(opened: Callable[..., SqlSink], database: str) -> None:
    if database.startswith("sqlite"):
        pytest.skip("it takes any")
    sink = opened()
    _begun(sink)
    sink.claim(PART, 1)
    key = "".join(chr(33 + i * i % 89) + chr(33 + i * 7 % 83) for i in range(40_000))
    with pytest.raises(BadChange):
        sink.apply(PART, Step(1, 1, (1, 1), "", {}), [Effect(PUT, "totals", (("name",), (key,)))])
