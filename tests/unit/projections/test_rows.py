"""What a projection asks of its rows, and what it is told when that makes no sense."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from eventstore import Metadata, RecordedEvent
from eventstore.errors import InvalidRequest
from eventstore.ids import new_id
from projections import Rows
from projections.generations import Generation
from projections.sinks.sql_tables import check_tables, of_generation

Ask = Callable[[], None]
table = sa.Table(
    "files",
    sa.MetaData(),
    sa.Column("folder", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("size", sa.Integer, index=True),
)
keyless = sa.Table("keyless", sa.MetaData(), sa.Column("n", sa.Integer))


@pytest.fixture
def rows() -> Rows:
    return Rows(RecordedEvent(new_id(), "order-1", 1, 0, 1, 1, 1, "Any", 1, None, Metadata()))


def test_a_row_without_its_key_is_refused_by_name(rows: Rows) -> None:
    asks: list[Ask] = [
        lambda: rows.put(table, folder="a", size=1),
        lambda: rows.add(table, {"folder": "a"}, size=1),
    ]
    for ask in asks:
        with pytest.raises(InvalidRequest, match="the row of files has no name") as raised:
            ask()
        assert raised.value.field == "name"
        assert "primary key" in str(raised.value.remedy)
    with pytest.raises(InvalidRequest, match="keyless has no primary key"):
        rows.put(keyless, n=1)
    assert rows.collected() == ()


def test_a_column_that_is_not_there_is_refused_and_those_that_are_named(rows: Rows) -> None:
    key = {"folder": "a", "name": "b"}
    asks: list[Ask] = [
        lambda: rows.put(table, **key, sise=1),
        lambda: rows.add(table, key, sise=1),
        lambda: rows.add(table, {**key, "sise": 1}, size=1),
        lambda: rows.change(table, {"sise": 1}, size=1),
        lambda: rows.change(table, key, sise=1),
        lambda: rows.remove(table, sise=1),
    ]
    for ask in asks:
        with pytest.raises(InvalidRequest, match="table files has no column sise") as raised:
            ask()
        assert raised.value.field == "sise"
        assert raised.value.remedy == "folder, name, size"


def test_one_adds_to_a_row_by_its_primary_key_alone(rows: Rows) -> None:
    with pytest.raises(InvalidRequest, match="size is no part of the primary key of files") as raised:
        rows.add(table, {"folder": "a", "name": "b", "size": 1}, size=1)
    assert raised.value.field == "size"


def test_rows_are_not_found_by_none_which_equals_nothing_in_sql(rows: Rows) -> None:
    asks: list[Ask] = [
        lambda: rows.remove(table, folder="a", size=None),
        lambda: rows.change(table, {"folder": "a", "size": None}, size=1),
    ]
    for ask in asks:
        with pytest.raises(InvalidRequest, match="have None as size") as raised:
            ask()
        assert raised.value.field == "size"
        assert "is_(None)" in str(raised.value.remedy)
    rows.change(table, {"folder": "a"}, size=None)


def test_changes_are_collected_in_their_order_with_those_of_redis_first(rows: Rows) -> None:
    rows.put(table, folder="a", name="b", size=1)
    rows.remove(table, folder="a")
    rows.note("index", "a/b", 1, "text")
    rows.effects.hset("files", "a", "b")
    assert [(each.command, each.key) for each in rows.collected()] == [
        ("HSET", "files"),
        ("put", "files"),
        ("remove", "files"),
        ("index", "a/b"),
    ]


def test_a_statement_of_ones_own_is_about_the_table_of_its_generation() -> None:
    event = RecordedEvent(new_id(), "order-1", 1, 0, 1, 1, 1, "Any", 1, None, Metadata())
    assert Rows(event, tables=of_generation((table,), 3)).table(table).name == "files__3"
    assert Rows(event).table(table) is table


def test_tables_of_generations_share_no_name() -> None:
    one, two = (of_generation((table,), number)["files"] for number in (1, 2))
    assert (one.name, two.name) == ("files__1", "files__2")
    names = [{index.name for index in each.indexes} for each in (one, two)]
    assert all(names)
    assert not names[0] & names[1]
    assert Generation("files", 2, 3).group == "projection.files.3"


def test_tables_that_cannot_be_a_read_model_are_refused() -> None:
    other = sa.Table("t", sa.MetaData(), sa.Column("k", sa.ForeignKey("files.name"), primary_key=True))
    schema = sa.Table("t", sa.MetaData(), sa.Column("k", sa.Text, primary_key=True), schema="s")
    for tables, why in (
        ((), "at least one table"),
        (("files",), "is no table"),
        ((other,), "has a foreign key"),
        ((schema,), "has a schema"),
    ):
        with pytest.raises(InvalidRequest, match=why) as raised:
            check_tables(tables)
        assert raised.value.field == "tables"
        assert raised.value.remedy
