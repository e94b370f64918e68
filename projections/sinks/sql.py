"""Read models in SQLite or PostgreSQL, by SQLAlchemy Core.

The checkpoint of a partition is a row beside the read model, so that both change in one transaction. Its first
statement compares and sets (term, number): the row is locked by it, so whoever claims the partition waits for a
transaction that is still open, and a transaction of an owner that has been replaced finds another term and rolls back.
Last in a transaction it would deadlock; without the number, changes of detached streams, which move no position, could
be applied twice.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import IntegrityError, InterfaceError, NotSupportedError, OperationalError, SQLAlchemyError

from consumers.state import Effect, Row
from eventstore.errors import InvalidRequest
from eventstore.jobs import WrongState
from projections.checkpoint import Checkpoint, Part, Refused, Step
from projections.errors import ReadModelUnavailable
from projections.generations import Generation, physical, standing
from projections.sinks.sql_changes import Changes
from projections.sinks.sql_engine import engine_of
from projections.sinks.sql_tables import PART, checkpoints, detached, generations, of_generation, own
from projections.sinks.sql_trouble import may_pass
from projections.sinks.sql_views import quoted, show

_MAKING = 7_305_102_204
"""The advisory lock under which tables are made."""
DROPPED = "dropped"
"""A generation that is there no more: its number is not given again, for some may not know yet that it went."""
_IS_THERE = generations.c.state != DROPPED


class SqlSink:
    """Of one database. `tables` are those of one projection."""

    def __init__(self, url: str, tables: tuple[sa.Table, ...]) -> None:
        self.tables = tables
        self._engine = engine_of(url)
        self._changes: dict[int, Changes] = {}
        self._lock = Lock()
        self._has_tables = False

    def close(self) -> None:
        self._engine.dispose()

    # ---- generations ----

    def prepare(self, generation: Generation) -> None:
        """Makes the tables of a generation; of one that has been dropped none."""
        with self._begin() as connection:
            _alone(connection)
            if not _is_there(connection, generation.projection, generation.number):
                return
            for table in self.of(generation.number).values():
                table.create(connection, checkfirst=True)

    def of(self, generation: int) -> dict[str, sa.Table]:
        """The tables of a generation, by the names that the projection knows them by."""
        return of_generation(self.tables, generation)

    def generations(self, projection: str) -> Sequence[Generation]:
        with self._begin(writes=False) as connection:
            if not self._is_made(connection):
                return []
            wanted = sa.select(generations).where(generations.c.projection == projection, _IS_THERE)
            found = connection.execute(wanted.order_by(generations.c.generation)).all()
        return [_generation(row) for row in found]

    def names(self) -> list[str]:
        """The projections that are kept in this database."""
        with self._begin(writes=False) as connection:
            if not self._is_made(connection):
                return []
            named = sa.select(generations.c.projection).where(_IS_THERE).distinct()
            return sorted(connection.execute(named).scalars())

    def begin(self, generation: Generation, *, again: bool = False) -> Generation:
        """One is begun, unless one of this version is there and it is not to be done `again`."""
        ours = sa.select(generations).where(generations.c.projection == generation.projection)
        try:
            with self._begin() as connection:
                _alone(connection)
                rows = connection.execute(ours.order_by(generations.c.generation)).all()
                known = [_generation(row) for row in rows if row.state != DROPPED]
                if found := standing(known, generation.version, again=again):
                    return found
                _refuse_tables_of_others(connection, generation)
                number = max((row.generation for row in rows), default=0) + 1
                connection.execute(sa.insert(generations).values(**_columns(generation, number)))
        except IntegrityError:  # another worker has begun one, just now
            return self.begin(generation, again=again)
        return replace(generation, number=number)

    def mark_diverged(self, projection: str, generation: int) -> None:
        """The log has lost events that are in its rows."""
        with self._begin() as connection:
            marked = sa.update(generations).where(*_of(generations, projection, generation)).values(diverged=True)
            connection.execute(marked)

    def switch(self, projection: str, generation: int) -> None:
        others = (generations.c.projection == projection, generations.c.generation != generation)
        with self._begin() as connection:
            _alone(connection)  # of two at once each would see the other's as not live yet
            wanted = sa.update(generations).where(*_of(generations, projection, generation), _IS_THERE)
            if connection.execute(wanted.values(state="live")).rowcount == 0:
                return  # it has been dropped just now
            was_live = sa.update(generations).where(*others, generations.c.state == "live")
            before = connection.execute(was_live.values(state="kept").returning(generations.c.generation)).scalars()
            names = _tables_of(connection, projection, generation)
            hidden = {name for each in before.all() for name in _tables_of(connection, projection, each)}
            show(connection, names, generation, hidden.difference(names))

    def drop(self, projection: str, generation: int) -> None:
        with self._begin() as connection:
            names = _tables_of(connection, projection, generation)
            which = _of(generations, projection, generation)
            gone = sa.update(generations).where(*which, generations.c.state != "live")
            if connection.execute(gone.values(state=DROPPED, tables="")).rowcount == 0:
                if connection.execute(sa.select(generations.c.state).where(*which)).scalar() == "live":
                    raise WrongState(f"generation {generation} of {projection} is read", field="generation")
                return
            for of in (checkpoints, detached):  # first, as every transaction does: it waits for those that are open
                connection.execute(sa.delete(of).where(*_of(of, projection, generation)))
            for name in names:
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quoted(connection, physical(name, generation))}")

    # ---- checkpoints ----

    def claim(self, part: Part, term: int) -> Checkpoint:
        key = _key(part)
        with self._begin() as connection:
            raised = sa.update(checkpoints).where(*_of(checkpoints, *key.values()), checkpoints.c.term < term)
            row = connection.execute(raised.values(term=term, number=0).returning(*checkpoints.c)).one_or_none()
            if row is None:
                stored = connection.execute(
                    sa.select(checkpoints).where(*_of(checkpoints, *key.values()))
                ).one_or_none()
                if stored is not None:
                    raise Refused(stored.term)
                if not _is_there(connection, part.projection, part.generation):
                    raise Refused(0)  # it has been dropped just now
                new = {"term": term, "number": 0, "epoch": 0, "position": 0, "chain": ""}
                try:
                    made = sa.insert(checkpoints).values(**key, **new).returning(*checkpoints.c)
                    row = connection.execute(made).one()
                except IntegrityError as error:  # somebody else has claimed it for the first time, just now
                    raise Refused(0) from error
            rows = connection.execute(sa.select(detached).where(*_of(detached, *key.values()))).all()
        return _checkpoint(row, {each.stream: Row.parse(each.packed) for each in rows})

    def apply(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        self.apply_all([(part, step, changes)])

    def apply_all(self, asked: Sequence[tuple[Part, Step, Sequence[Effect]]]) -> None:
        """Of parts of one generation, in one transaction: all of it or nothing. Raises as `apply` does."""
        in_order = sorted(asked, key=lambda each: each[0].partition)  # in which all lock
        with self._begin() as connection:
            new = [each for each in in_order if self._advance(connection, each[0], each[1])]
            if new:
                changes = [change for _, _, brought in new for change in brought]
                self._of(new[0][0].generation).run(connection, changes)
            for part, step, _ in new:
                self._keep(connection, _key(part), step.detached)

    @staticmethod
    def _advance(connection: sa.Connection, part: Part, step: Step) -> bool:
        """Sets the checkpoint. False if it was set by this step before: the answer was lost."""
        where = _of(checkpoints, *_key(part).values())
        is_next = (checkpoints.c.term == step.term, checkpoints.c.number == step.number - 1)
        epoch, position = step.place
        values = {"number": step.number, "epoch": epoch, "position": position, "chain": step.chain}
        if connection.execute(sa.update(checkpoints).where(*where, *is_next).values(**values)).rowcount == 1:
            return True
        stored = connection.execute(sa.select(checkpoints).where(*where)).one_or_none()
        if stored is not None and (stored.term, stored.number) == (step.term, step.number):
            return False
        raise Refused(0 if stored is None else stored.term)

    def checkpoints(self, projection: str, generation: int) -> Mapping[int, Checkpoint]:
        with self._begin(writes=False) as connection:
            if not self._is_made(connection):
                return {}
            found = connection.execute(sa.select(checkpoints).where(*_of(checkpoints, projection, generation))).all()
            rows = connection.execute(sa.select(detached).where(*_of(detached, projection, generation))).all()
        by_partition: dict[int, dict[str, Row]] = {}
        for each in rows:
            by_partition.setdefault(each.partition, {})[each.stream] = Row.parse(each.packed)
        return {each.partition: _checkpoint(each, by_partition.get(each.partition, {})) for each in found}

    # ---- reading ----

    def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows that a query finds."""
        return self._read(statement, parameters)[0]

    def read_of(
        self, projection: str, statement: sa.Executable, parameters: Mapping[str, Any] | None = None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """And the generation that they are of: what has been read keeps another one from taking its place."""
        live = sa.select(generations.c.generation).where(
            generations.c.projection == projection, generations.c.state == "live"
        )
        return self._read(statement, parameters, live)

    def _read(
        self, statement: sa.Executable, parameters: Mapping[str, Any] | None, last: sa.Select[Any] | None = None
    ) -> tuple[list[dict[str, Any]], Any]:
        for repeated in (False, True):
            try:
                with self._begin(writes=False) as connection:
                    rows = [dict(row) for row in connection.execute(statement, parameters or {}).mappings()]
                    return rows, None if last is None else connection.execute(last).scalar()
            except NotSupportedError:  # of PostgreSQL, once: a plan of before the view was switched
                if repeated:
                    raise
        raise AssertionError

    # ---- below ----

    def _of(self, generation: int) -> Changes:
        if generation not in self._changes:
            self._changes[generation] = Changes(self.of(generation), self._engine.dialect.name)
        return self._changes[generation]

    @staticmethod
    def _keep(connection: sa.Connection, key: Mapping[str, Any], changed: Mapping[str, Row | None]) -> None:
        if not changed:
            return
        gone = sa.delete(detached).where(*_of(detached, *key.values()), detached.c.stream.in_(list(changed)))
        connection.execute(gone)
        kept = [{**key, "stream": stream, "packed": row.pack()} for stream, row in changed.items() if row is not None]
        if kept:
            connection.execute(sa.insert(detached), kept)

    @contextmanager
    def _begin(self, *, writes: bool = True) -> Iterator[sa.Connection]:
        """One transaction. Raises Unavailable for what may pass."""
        try:
            if writes:
                self._make()
            with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            if isinstance(error, OperationalError | InterfaceError) or may_pass(error):
                raise ReadModelUnavailable(_said(error)) from error
            raise

    def _make(self) -> None:
        """The tables of the sink's own."""
        with self._lock:
            if not self._has_tables:
                with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                    _alone(connection)
                    own.create_all(connection, checkfirst=True)
                self._has_tables = True

    def _is_made(self, connection: sa.Connection) -> bool:
        self._has_tables = self._has_tables or sa.inspect(connection).has_table(generations.name)
        return self._has_tables


def _alone(connection: sa.Connection) -> None:
    """Tables are made by one process at a time: `IF NOT EXISTS` of PostgreSQL is no guard against another."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", error)).splitlines()[0][:200]


def _key(part: Part) -> dict[str, Any]:
    return dict(zip(PART, (part.projection, part.generation, part.partition), strict=True))


def _of(table: sa.Table, *key: Any) -> list[Any]:
    return [table.c[name] == value for name, value in zip(PART, key, strict=False)]


def _checkpoint(row: Any, rows: Mapping[str, Row]) -> Checkpoint:
    return Checkpoint(row.term, row.number, (row.epoch, row.position), row.chain, rows)


def _columns(generation: Generation, number: int) -> dict[str, Any]:
    return {
        "projection": generation.projection,
        "generation": number,
        "version": generation.version,
        "state": generation.state,
        "begun_at": generation.begun_at or time.time_ns() // 1_000,
        "diverged": generation.diverged,
        "tables": ",".join(generation.tables),
    }


def _generation(row: Any) -> Generation:
    tables = tuple(row.tables.split(",")) if row.tables else ()
    return Generation(row.projection, row.version, row.generation, row.state, row.begun_at, bool(row.diverged), tables)


def _refuse_tables_of_others(connection: sa.Connection, generation: Generation) -> None:
    """Two projections would write into the same tables, each thinking that they are its own."""
    others = sa.select(generations).where(generations.c.projection != generation.projection, _IS_THERE)
    for other in map(_generation, connection.execute(others)):
        for name in set(other.tables).intersection(generation.tables):
            raise InvalidRequest(
                f"table {name} belongs to the projection {other.projection}",
                field="tables",
                remedy="another name for the table: each projection has tables of its own",
            )


def _is_there(connection: sa.Connection, projection: str, generation: int) -> bool:
    """And it stays so until the end of the transaction."""
    wanted = sa.select(generations.c.state).where(*_of(generations, projection, generation), _IS_THERE)
    return connection.execute(wanted.with_for_update(read=True)).one_or_none() is not None


def _tables_of(connection: sa.Connection, projection: str, generation: int) -> list[str]:
    """The names by which they are read; none of a generation that is not there."""
    wanted = sa.select(generations.c.tables).where(*_of(generations, projection, generation))
    return [name for name in (connection.execute(wanted).scalar() or "").split(",") if name]
