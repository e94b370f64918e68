"""Changes of a batch come to the same, merged and in another order, as one after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.state import Effect
from eventstore import Metadata, RecordedEvent
from eventstore.ids import new_id
from projections import Rows
from projections.rows import ADD, CHANGE, PUT
from projections.sinks.merged import merged
from projections.sinks.sql_changes import Changes

_tables = sa.MetaData()
plain = sa.Table(
    "plain",
    _tables,
    sa.Column("k", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, server_default="7"),
    sa.Column("m", sa.Integer),
    sa.Column("t", sa.Text),
)
double = sa.Table(
    "double",
    _tables,
    sa.Column("a", sa.Integer, primary_key=True),
    sa.Column("b", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer),
)
TABLES = {"plain": plain, "double": double}
Ask = Callable[[Rows], None]

numbers = st.integers(-3, 3)
names = st.sampled_from("xyz")


@st.composite
def asked(draw: st.DrawFn) -> Ask:
    """What a function may ask for, of few rows."""
    k, n, m, t = draw(names), draw(numbers), draw(numbers), draw(names)
    a, b = draw(st.integers(1, 2)), draw(names)
    asks: list[Ask] = [
        lambda rows: rows.put(plain, k=k, n=n),
        lambda rows: rows.put(plain, k=k, n=n, t=t),
        lambda rows: rows.put(plain, t=t, k=k),
        lambda rows: rows.put(plain, k=k),
        lambda rows: rows.add(plain, {"k": k}, n=n),
        lambda rows: rows.add(plain, {"k": k}, m=m, n=n),
        lambda rows: rows.change(plain, {"t": t}, n=n),
        lambda rows: rows.change(plain, {"k": k}, m=m),
        lambda rows: rows.remove(plain, k=k),
        lambda rows: rows.remove(plain, n=n),
        lambda rows: rows.put(double, a=a, b=b, n=n),
        lambda rows: rows.add(double, {"b": b, "a": a}, n=n),
        lambda rows: rows.add(double, {"a": a, "b": b}, n=n),
        lambda rows: rows.remove(double, b=b, a=a),
        lambda rows: rows.remove(double, a=a),
        lambda rows: rows.execute(sa.update(plain).where(plain.c.n > n).values(m=plain.c.n + m)),
    ]
    return draw(st.sampled_from(asks))


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    made = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    _tables.create_all(made)
    yield made
    made.dispose()


@settings(deadline=None)
@given(st.lists(asked(), max_size=25))
def test_merged_comes_to_the_same_as_one_by_one(engine: sa.Engine, asks: Sequence[Ask]) -> None:
    changes = _collected(asks)
    with engine.connect() as connection:
        together = _run(connection, [changes])
        one_by_one = _run(connection, [[change] for change in changes])
    assert together == one_by_one


def test_sums_and_last_values_of_a_row_are_one_change() -> None:
    changes = _collected(
        [
            lambda rows: rows.add(plain, {"k": "b"}, n=1),
            lambda rows: rows.put(plain, k="a", t="old"),
            lambda rows: rows.add(plain, {"k": "b"}, n=2),
            lambda rows: rows.put(plain, k="a", t="new"),
        ]
    )
    assert list(merged(changes, TABLES)) == [
        Effect(PUT, "plain", (("k", "t"), ("a", "new"))),
        Effect(ADD, "plain", ((("k",), ("n",)), ("b", 3))),
    ]


def test_rows_come_in_one_order_whoever_asks() -> None:
    """Or two transactions that change the same rows would wait for each other."""
    asks: list[Ask] = [lambda rows, k=k: rows.add(plain, {"k": k}, n=1) for k in "zxy"]  # type: ignore[misc]
    forth, back = (list(merged(_collected(each), TABLES)) for each in (asks, asks[::-1]))
    assert forth == back


def test_what_may_be_about_many_rows_keeps_its_place() -> None:
    changes = _collected(
        [
            lambda rows: rows.add(plain, {"k": "b"}, n=1),
            lambda rows: rows.change(plain, {"n": 1}, m=5),
            lambda rows: rows.add(plain, {"k": "b"}, n=1),
        ]
    )
    assert [each.command for each in merged(changes, TABLES)] == [ADD, CHANGE, ADD]


def _collected(asks: Sequence[Ask]) -> list[Effect]:
    rows = Rows(RecordedEvent(new_id(), "order-1", 1, 0, 1, 1, 1, "Any", 1, None, Metadata()))
    for ask in asks:
        ask(rows)
    return list(rows.collected())


def _run(connection: sa.Connection, batches: Sequence[Sequence[Effect]]) -> Any:
    changes = Changes(TABLES, "sqlite")
    with connection.begin():
        for table in TABLES.values():
            connection.execute(sa.delete(table))
        for batch in batches:
            changes.run(connection, batch)
        return [sorted(map(tuple, connection.execute(sa.select(each)).all()), key=repr) for each in TABLES.values()]
