"""A read model as it was: built beside everything, from the events up to a moment.

    async for done, total in project_at(store, documents, as_of=cursor, url="sqlite:///then.sqlite"): ...

Every partition is cut at the last event recorded at or before the moment; so a read model as of a time is the same
whenever it is asked for.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import sqlalchemy as sa

from consumers.handle import Handling
from consumers.slots import Slot
from consumers.state import Effect
from eventstore.cursor import Cursor
from eventstore.errors import InvalidRequest
from eventstore.store import EventStore
from projections.projection import Projection
from projections.rows import Rows
from projections.sink import Sql
from projections.sinks.sql_changes import Changes
from projections.sinks.sql_engine import engine_of
from projections.threads import in_thread

BATCH = 1_000


async def project_at(
    store: EventStore, projection: Projection, as_of: Cursor, url: str
) -> AsyncIterator[tuple[int, int]]:
    """Builds the tables of a projection in the database of `url`, which must not have them, from all events up to a
    cursor (`store.position_at(time)`). Yields how many events are done, and of how many. An event whose function
    raises ends it with that error. Raises InvalidRequest, EventsMissing, Unavailable."""
    if not isinstance(projection.sink, Sql):
        raise InvalidRequest(f"{projection!r} has no tables", field="projection", remedy="one with sink=sql(...)")
    tables = projection.sink.tables
    engine = engine_of(url)
    try:
        await in_thread(_make, engine, tables)
        changes = Changes({each.name: each for each in tables}, engine.dialect.name)
        consumer = projection.consumer("at")
        handling = Handling(consumer, store.log, {}, context=Rows)
        slot = Slot()
        done, total = 0, sum(position for _, position in as_of.places)
        for partition, (_, position) in enumerate(as_of.places):
            batch: list[Effect] = []
            last = done
            if position == 0:
                continue
            async for event in store.read_partition(partition, limit=position):
                done += 1
                if consumer.wants(event):
                    batch += (await handling.attempt(slot, event)).effects
                if done - last == BATCH:
                    await in_thread(_write, engine, changes, batch)
                    batch, last = [], done
                    yield done, total
            await in_thread(_write, engine, changes, batch)
            yield done, total
    finally:
        engine.dispose()


def file_of(path: Path) -> str:
    """The database of a file. Raises InvalidRequest if there is one."""
    if path.exists():
        raise InvalidRequest(f"{path} is there already", field="out", remedy="another file, or remove this one")
    return f"sqlite:///{path}"


def _make(engine: sa.Engine, tables: tuple[sa.Table, ...]) -> None:
    with engine.begin() as connection:
        for table in tables:
            if sa.inspect(connection).has_table(table.name):
                raise InvalidRequest(f"there is a table {table.name} already", field="url", remedy="an empty database")
            table.create(connection)


def _write(engine: sa.Engine, changes: Changes, batch: list[Effect]) -> None:
    if batch:
        with engine.begin() as connection:
            changes.run(connection, batch)
