"""Changes as statements: runs of the same kind go out together, in their order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from consumers.state import Effect
from projections.checkpoint import BadChange
from projections.rows import ADD, EXECUTE, PUT, REMOVE
from projections.sinks.merged import merged
from projections.sinks.sql_trouble import may_pass

_Shape = tuple[str, str, Any]


class Changes:
    """Of one generation: `tables` are its own, by the names that the projection knows them by."""

    def __init__(self, tables: Mapping[str, sa.Table], dialect: str) -> None:
        self._tables = tables
        self._insert: Callable[[sa.Table], Any] = _insert_of(dialect)
        self._known: dict[_Shape, tuple[sa.Executable, tuple[str, ...]]] = {}

    def run(self, connection: sa.Connection, changes: Sequence[Effect]) -> None:
        """Raises BadChange for the first that the database refuses."""
        if not changes:
            return
        together = connection.begin_nested()
        try:
            for shape, group in groupby(merged(changes, self._tables), key=_shape):
                self._execute(connection, shape, list(group))
        except Exception as error:
            if may_pass(error):
                raise
        else:
            together.commit()
            return
        together.rollback()
        self._one_by_one(connection, changes)

    def _one_by_one(self, connection: sa.Connection, changes: Sequence[Effect]) -> None:
        """To find the one that is refused."""
        for index, change in enumerate(changes):
            try:
                self._execute(connection, _shape(change), [change])
            except Exception as error:
                if may_pass(error):
                    raise
                raise BadChange(index, str(getattr(error, "orig", None) or error)) from error

    def _execute(self, connection: sa.Connection, shape: _Shape, changes: Sequence[Effect]) -> None:
        if shape[0] == EXECUTE:
            for change in changes:
                connection.execute(*change.args)
            return
        statement, names = self._statement(shape)
        rows = [dict(zip(names, change.args[1], strict=True)) for change in changes]
        connection.execute(statement, rows if len(rows) > 1 else rows[0])

    def _statement(self, shape: _Shape) -> tuple[sa.Executable, tuple[str, ...]]:
        known = self._known.get(shape)
        if known is None:
            known = self._known[shape] = self._made(*shape)
        return known

    def _made(self, command: str, name: str, columns: Any) -> tuple[sa.Executable, tuple[str, ...]]:
        table = self._tables[name]
        if command == PUT:
            names = tuple(columns)
            insert = self._insert(table).values({each: sa.bindparam(f"v_{each}") for each in names})
            key = [column.name for column in table.primary_key]
            others = {each: insert.excluded[each] for each in names if each not in key}
            done = insert.on_conflict_do_update(index_elements=key, set_=others) if others else None
            return done if done is not None else insert.on_conflict_do_nothing(index_elements=key), _values(names)
        if command == ADD:
            key_names, amounts = columns
            insert = self._insert(table).values({each: sa.bindparam(f"v_{each}") for each in (*key_names, *amounts)})
            sums = {each: sa.func.coalesce(table.c[each], 0) + insert.excluded[each] for each in amounts}
            return insert.on_conflict_do_update(index_elements=list(key_names), set_=sums), _values(
                (*key_names, *amounts)
            )
        if command == REMOVE:
            return sa.delete(table).where(*_equal(table, columns)), _keys(columns)
        key_names, values = columns
        update = sa.update(table).where(*_equal(table, key_names))
        return update.values({each: sa.bindparam(f"v_{each}") for each in values}), (
            *_keys(key_names),
            *_values(values),
        )


def _insert_of(dialect: str) -> Callable[[sa.Table], Any]:
    """A dialect takes all its drivers along, so the one that is not needed is not loaded."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert
    from sqlalchemy.dialects import sqlite

    return sqlite.insert


def _shape(change: Effect) -> _Shape:
    """Changes of one shape are one statement."""
    return change.command, change.key, id(change) if change.command == EXECUTE else change.args[0]


def _values(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"v_{each}" for each in names)


def _keys(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"k_{each}" for each in names)


def _equal(table: sa.Table, names: Sequence[str]) -> Iterator[Any]:
    for name in names:
        yield table.c[name] == sa.bindparam(f"k_{name}")
