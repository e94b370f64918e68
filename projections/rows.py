"""Rows: what a projection does to its read model, collected while an event is handled.

    async def totals(event: OrderPlaced, rows: Rows) -> None:
        rows.add(order_totals, {"day": event.day}, orders=1, total=event.total)

Nothing is written while the function runs. What it asked for is written when the event is finished, in one transaction
with the checkpoint that says so: exactly once, whatever fails.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from consumers.context import Context
from consumers.state import Effect
from eventstore.errors import InvalidRequest

if TYPE_CHECKING:
    from sqlalchemy import Executable, Table

PUT, ADD, CHANGE, REMOVE, EXECUTE = "put", "add", "change", "remove", "execute"


class Rows(Context):
    """Of one event. It is a Context too: `rows.event` is the envelope, `rows.effects` writes into Redis, for sinks that
    are there."""

    __slots__ = ("_changes", "_tables")

    def __init__(self, *args: Any, tables: "Mapping[str, Table] | None" = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._changes: list[Effect] = []
        self._tables = tables or {}

    def table(self, table: "Table", /) -> "Table":
        """The table as this generation has it, for statements of your own."""
        return self._tables.get(table.name, table)

    def put(self, table: "Table", /, **values: Any) -> None:
        """Writes the row with this primary key; where there is one, its columns that are given are changed."""
        columns = tuple(values)
        _must_have_key(table, columns)
        self._changes.append(Effect(PUT, table.name, (columns, tuple(values.values()))))

    def add(self, table: "Table", key: Mapping[str, Any], /, **amounts: Any) -> None:
        """Adds to columns of the row with this primary key, which begins at zero."""
        names, added = tuple(key), tuple(amounts)
        _must_be_key(table, names)
        _must_be_columns(table, added)
        self._changes.append(Effect(ADD, table.name, ((names, added), (*key.values(), *amounts.values()))))

    def change(self, table: "Table", key: Mapping[str, Any], /, **values: Any) -> None:
        """Changes columns of all rows whose columns are as in `key`; of none, if there is none."""
        names, changed = tuple(key), tuple(values)
        _must_be_columns(table, names)
        _must_be_known(table, key)
        _must_be_columns(table, changed)
        self._changes.append(Effect(CHANGE, table.name, ((names, changed), (*key.values(), *values.values()))))

    def remove(self, table: "Table", /, **key: Any) -> None:
        """Removes all rows whose columns are as given."""
        columns = tuple(key)
        _must_be_columns(table, columns)
        _must_be_known(table, key)
        self._changes.append(Effect(REMOVE, table.name, (columns, tuple(key.values()))))

    def execute(self, statement: "Executable", parameters: Mapping[str, Any] | None = None) -> None:
        """Any statement of SQLAlchemy Core that writes, for tables as `rows.table` gives them."""
        self._changes.append(Effect(EXECUTE, "", (statement, dict(parameters or {}))))

    def note(self, command: str, key: str, /, *args: Any) -> None:
        """A change in words of your own, for a sink of your own: its `apply` gets them as an Effect."""
        self._changes.append(Effect(command, key, args))

    def collected(self) -> tuple[Effect, ...]:
        """For the transaction."""
        return (*super().collected(), *self._changes)


@lru_cache(maxsize=4_096)
def _must_have_key(table: "Table", names: tuple[str, ...]) -> None:
    """Asked for each event, of few tables and names: a quarter of the time of a function went into it."""
    _must_be_columns(table, names)
    missing = [column.name for column in table.primary_key if column.name not in names]
    if missing or not table.primary_key.columns:
        raise InvalidRequest(
            f"the row of {table.name} has no {', '.join(missing) or 'primary key'}",
            field=missing[0] if missing else "table",
            remedy="give every column of the primary key, so that one row is meant",
        )


@lru_cache(maxsize=4_096)
def _must_be_key(table: "Table", names: tuple[str, ...]) -> None:
    _must_have_key(table, names)
    others = [name for name in names if name not in table.primary_key.columns]
    if others:
        raise InvalidRequest(
            f"{others[0]} is no part of the primary key of {table.name}",
            field=others[0],
            remedy="leave it out: rows.put gives other columns their values",
        )


@lru_cache(maxsize=4_096)
def _must_be_columns(table: "Table", names: tuple[str, ...]) -> None:
    for name in names:
        if name not in table.columns:
            raise InvalidRequest(
                f"table {table.name} has no column {name}", field=name, remedy=", ".join(table.columns.keys())
            )


def _must_be_known(table: "Table", key: Mapping[str, Any]) -> None:
    """In SQL nothing equals NULL: a change of such rows would be one of none."""
    for name, value in key.items():
        if value is None:
            raise InvalidRequest(
                f"the rows of {table.name} that are meant have None as {name}",
                field=name,
                remedy="rows.execute(update(t).where(t.c.column.is_(None))), with t = rows.table(...)",
            )
