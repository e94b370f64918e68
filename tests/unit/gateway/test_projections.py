"""Read models as they were, compared; and where they are, told without a password."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import Struct

from eventstore import wire
from gateway.errors import BadRequest
from gateway.projections import _checked, _shown
from gateway.projections_past import ChangedRow, changed_rows, projection_named
from projections import Rows, projection, sql
from projections.errors import ProjectionNotFound


class Seen(Struct):
    pass


_tables = sa.MetaData()
visits = sa.Table(
    "visits",
    _tables,
    sa.Column("day", sa.DateTime, primary_key=True),
    sa.Column("page", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer),
)
notes = sa.Table("notes", _tables, sa.Column("a", sa.Text), sa.Column("b", sa.Integer))


@projection("visits", sink=sql(visits, notes))
def count(event: Seen, rows: Rows) -> None: ...


DAY = datetime(2026, 11, 23, tzinfo=UTC).replace(tzinfo=None)
Made = Callable[[str, dict[sa.Table, list[dict[str, Any]]]], Path]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(name: str, rows: dict[sa.Table, list[dict[str, Any]]]) -> Path:
        engine = sa.create_engine(f"sqlite:///{tmp_path / name}")
        with engine.begin() as connection:
            _tables.create_all(connection)
            for table, values in rows.items():
                connection.execute(sa.insert(table), values)
        engine.dispose()
        return tmp_path / name

    return make


def test_rows_that_were_added_removed_or_changed_are_told_by_their_keys(made: Made) -> None:
    one, other, third = ({"day": DAY, "page": page} for page in "abc")
    before = made("before", {visits: [{**one, "count": 1}, {**other, "count": None}]})
    after = made("after", {visits: [{**other, "count": 2}, {**third, "count": 3}]})
    assert list(changed_rows(count, before, after)) == [
        ChangedRow("visits", "removed", one, {**one, "count": 1}, None),
        ChangedRow("visits", "added", third, None, {**third, "count": 3}),
        ChangedRow("visits", "changed", other, {**other, "count": None}, {**other, "count": 2}),
    ]
    assert list(changed_rows(count, before, before)) == []
    assert [wire.encode(each) for each in changed_rows(count, before, after)]


def test_without_a_primary_key_the_whole_row_is_the_key(made: Made) -> None:
    before = made("before", {notes: [{"a": "x", "b": None}, {"a": "y", "b": 1}]})
    after = made("after", {notes: [{"a": "x", "b": None}, {"a": "y", "b": 2}]})
    assert [(each.change, each.key) for each in changed_rows(count, before, after)] == [
        ("removed", {"a": "y", "b": 1}),
        ("added", {"a": "y", "b": 2}),
    ]


def test_a_projection_is_found_in_its_module() -> None:
    assert projection_named(__name__, "visits") is count
    with pytest.raises(ProjectionNotFound, match="has no projection visit; it has visits"):
        projection_named(__name__, "visit")
    with pytest.raises(BadRequest, match="has no projection"):
        projection_named("json", "visits")


@pytest.mark.parametrize("url", ["mysql://h/d", "x", "oracle://h"])
def test_a_database_that_read_models_are_not_kept_in_is_refused(url: str) -> None:
    with pytest.raises(BadRequest) as refused:
        _checked(url)
    assert refused.value.field == "database"


def test_a_password_is_not_told() -> None:
    assert _shown("postgresql://shop:secret@db/shop") == "postgresql://shop:***@db/shop"
