"""Read models as they were: one built into a file of its own, or two compared."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct

from eventstore.cursor import Cursor
from eventstore.errors import InvalidRequest
from eventstore.store import EventStore
from gateway.errors import BadRequest
from gateway.modules import projections_of
from gateway.moments import parse_moment
from projections.at import file_of, project_at
from projections.errors import ProjectionNotFound
from projections.projection import Projection
from projections.sinks.sql_engine import engine_of

__all__ = ["ChangedRow", "changed_rows", "moment", "project_to_file", "projection_named"]


class ChangedRow(Struct, frozen=True):
    """A row that is not the same in both; of a changed one `before` and `after` have all columns. Tables without a
    primary key have no changed rows: one is removed, and another one added."""

    table: str
    change: Literal["added", "removed", "changed"]
    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def projection_named(app: str, name: str) -> Projection:
    """That of a module. Raises BadRequest, ProjectionNotFound."""
    found = {each.name: each for each in projections_of(app)}
    if not found:
        remedy = "name the module whose functions are decorated with @projection(...)"
        raise BadRequest(f"module {app} has no projection", field="--app", remedy=remedy)
    if name not in found:
        raise ProjectionNotFound(name, f"module {app} has no projection {name}; it has {', '.join(sorted(found))}")
    return found[name]


async def moment(store: EventStore, text: str, *, field: str) -> Cursor:
    """The place in the log of a time, or of a cursor. Raises BadRequest."""
    try:
        return await store.position_at(parse_moment(text, field=field))
    except BadRequest:
        with suppress(InvalidRequest):
            return Cursor.parse(text)
        raise


async def project_to_file(
    store: EventStore, projection: Projection, as_of: Cursor, file: Path, on_progress: Callable[[int, int], None]
) -> int:
    """Builds the read model as it was into a new SQLite file; of how many events it is made. If it fails there is no
    file. Raises InvalidRequest, and what the functions raise."""
    url, total = file_of(file), 0
    try:
        async for done, total in project_at(store, projection, as_of, url):
            on_progress(done, total)
    except BaseException:
        for each in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal"))):
            each.unlink(missing_ok=True)
        raise
    return total


def changed_rows(projection: Projection, before: Path, after: Path) -> Iterator[ChangedRow]:
    """What is between two files that `project_to_file` has made: table by table, in order of the keys."""
    engine = engine_of(f"sqlite:///{after}")
    try:
        with engine.connect().execution_options(writes=False) as connection:
            connection.connection.execute("ATTACH DATABASE ? AS before", (str(before),))
            for table in projection.sink.tables:  # type: ignore[union-attr] # project_to_file takes no other
                yield from _changes_of(connection, table)
    finally:
        engine.dispose()


def _changes_of(connection: sa.Connection, table: sa.Table) -> Iterator[ChangedRow]:
    then = table.to_metadata(sa.MetaData(), schema="before").alias("a")
    now = table.to_metadata(sa.MetaData(), schema="main").alias("b")
    columns = [str(each.key) for each in table.columns]
    names = [str(each.key) for each in table.primary_key] or columns
    same = sa.and_(*(then.c[name].is_not_distinct_from(now.c[name]) for name in names))
    differs = sa.or_(*(then.c[name].is_distinct_from(now.c[name]) for name in columns))
    questions: tuple[tuple[Literal["added", "removed", "changed"], sa.Select[Any], Any], ...] = (
        ("removed", sa.select(then).where(~sa.exists().where(same)), then),
        ("added", sa.select(now).where(~sa.exists().where(same)), now),
        ("changed", sa.select(then, now).where(same, differs), now),
    )
    for change, question, side in questions:
        for row in connection.execute(question.order_by(*(side.c[name] for name in names))):
            old = dict(zip(columns, row, strict=False)) if change != "added" else None
            new = dict(zip(columns, row[-len(columns) :], strict=True)) if change != "removed" else None
            known = new or old or {}
            yield ChangedRow(str(table.name), change, {name: known[name] for name in names}, old, new)
