"""The views by which a read model is read: under the names of its tables, of the generation that is live."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from projections.errors import ReadModelUnavailable
from projections.generations import physical

LOCK_SECONDS = 2
"""While a view waits for a reader that takes long, all who come behind wait too: it gives up, and comes again."""
_OTHER_COLUMNS = "42P16"  # SQLSTATE of a view that cannot be replaced
_IN_USE = "2BP01"  # of one that others are made of


def show(connection: sa.Connection, names: Iterable[str], generation: int, hidden: Iterable[str]) -> None:
    """Has a generation read; nothing is read under the names that are `hidden`. Raises ReadModelUnavailable for what
    somebody must put away first."""
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    tables = set(sa.inspect(connection).get_table_names())
    for name in sorted(hidden):
        _hide(connection, name)
    for name in names:
        if name in tables:
            raise ReadModelUnavailable(
                f"there is a table {name}, where the view of the read model is to be: rename or drop it"
                " (a projection makes its tables, MetaData.create_all must not)"
            )
        if not (is_postgres and _is_replaced(connection, name, generation)):
            _hide(connection, name)
            connection.exec_driver_sql(f"CREATE VIEW {_view(connection, name, generation)}")


def _is_replaced(connection: sa.Connection, name: str, generation: int) -> bool:
    """If the columns are the same, or more: so it keeps who may read it, and the views that are made of it."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {_view(connection, name, generation)}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _OTHER_COLUMNS:
            raise
        return False
    return True


def _hide(connection: sa.Connection, name: str) -> None:
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quoted(connection, name)}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _IN_USE:
            raise
        why = f"other views are made of {name}, whose columns change: drop them first, and make them anew"
        raise ReadModelUnavailable(why) from error


def _view(connection: sa.Connection, name: str, generation: int) -> str:
    return f"{quoted(connection, name)} AS SELECT * FROM {quoted(connection, physical(name, generation))}"  # noqa: S608 - both quoted


def quoted(connection: sa.Connection, name: str) -> str:
    return str(connection.dialect.identifier_preparer.quote(name))
