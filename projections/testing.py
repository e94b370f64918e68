"""Given events, when they are projected, then the read model has these rows: tested without a server.

given(OrderPlaced(day="mon", total=99)).project(totals).then([{"day": "mon", "orders": 1, "total": 99}])
given(...).project(documents).then({files: [...], folders: [...]})
given(OrderPlaced(day="", total=-1)).project(totals).then_raises(ValueError, "negative")
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.pool import StaticPool

from consumers.errors import InvalidConsumer
from consumers.loops import run_apart
from consumers.testing import Given, Handled, handled
from eventstore.arguments import told
from eventstore.errors import InvalidRequest
from eventstore.expectations import checked_events, row, side_by_side
from eventstore.names import stream_name
from projections.projection import Projection
from projections.rows import Rows
from projections.sink import Sql
from projections.sinks.sql_changes import Changes

E = TypeVar("E", bound=Exception)
Expected = Iterable[Mapping[str, Any]] | Mapping[sa.Table, Iterable[Mapping[str, Any]]]


def given(*events: Any, stream: str = "given") -> "GivenEvents":
    """The events to project, as versions 1, 2, ... of the stream. `To(stream, event)` puts one elsewhere, a NewEvent
    has metadata, an Untyped is what an older release stored. Raises InvalidRequest for a list of events."""
    return GivenEvents(Given(checked_events(events, "given"), stream_name(stream)))


class GivenEvents(Struct, frozen=True):
    events: Given

    def project(self, projection: Projection) -> "Projected":
        """Has the projection handle them, and keeps what it says in a SQLite database in memory."""
        __tracebackhide__ = True
        if not isinstance(projection, Projection) or not isinstance(projection.sink, Sql):
            remedy = "what @projection(name, sink=sql(...)) has made"
            raise InvalidConsumer(f"{told(projection)} is no projection with tables", field="projection", remedy=remedy)
        done = run_apart(partial(handled, self.events, projection.consumer("test"), context=Rows))
        return Projected(projection, done, _kept(projection.sink.tables, done))


class Projected(Struct, frozen=True):
    """What came of the events."""

    projection: Projection
    done: Handled
    rows: dict[str, list[dict[str, Any]]]

    def then(self, expected: Expected) -> None:
        """The read model has exactly these rows, in any order: of its only table, or of each table that is named. Of a
        row those columns count that are given."""
        __tracebackhide__ = True
        if self.done.error is not None:
            raise self._wrong("rows were expected", f"  raised    {self.done.error!r}") from self.done.error
        for table, rows in self._by_table(expected).items():
            wanted, actual = _sorted(rows), self.rows[table.name]
            columns = {name for each in wanted for name in each} or set(table.columns.keys())
            found = _sorted({name: value for name, value in each.items() if name in columns} for each in actual)
            if found != wanted:
                raise self._wrong(
                    f"other rows of {table.name} were expected", side_by_side(tuple(wanted), tuple(found))
                )

    def then_raises(self, kind: type[E], match: str | None = None) -> E:
        """A function raised this exception, as in `consumers.given(...).handle(...).then_raises`. Returns it."""
        __tracebackhide__ = True
        return self.done.then_raises(kind, match)

    def _by_table(self, expected: Expected) -> Mapping[sa.Table, Iterable[Mapping[str, Any]]]:
        tables: Sequence[sa.Table] = self.projection.sink.tables if isinstance(self.projection.sink, Sql) else ()
        if isinstance(expected, Mapping):
            strangers = [str(each) for each in expected if each not in tables]
            if strangers:
                names = ", ".join(each.name for each in tables)
                raise InvalidRequest(f"{strangers[0]} is no table of it", field="then", remedy=f"one of {names}")
            return expected
        if len(tables) > 1:
            raise InvalidRequest("it has several tables", field="then", remedy="then({table: [rows], ...})")
        return {tables[0]: expected}

    def _wrong(self, what: str, rows: str) -> AssertionError:
        given = row("given", self.done.given)
        return AssertionError(f"{what}\n{given}\n  projected by {self.projection!r}\n{rows}")


def _kept(tables: Sequence[sa.Table], done: Handled) -> dict[str, list[dict[str, Any]]]:
    """All rows, after one transaction for each event."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            for table in tables:
                table.create(connection)
        changes = Changes({table.name: table for table in tables}, "sqlite")
        for _, succeeded in done.done:
            with engine.begin() as connection:
                changes.run(connection, succeeded.effects)
        with engine.connect() as connection:
            return {
                each.name: [dict(found) for found in connection.execute(sa.select(each)).mappings()] for each in tables
            }
    finally:
        engine.dispose()


def _sorted(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return sorted((dict(sorted(each.items())) for each in rows), key=repr)
