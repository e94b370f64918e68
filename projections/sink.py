"""Which sink a projection has, as its module says it; opened by the worker that runs it."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

from infrastructure.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Table

    from projections.sinks.protocol import Sink
    from projections.sinks.sql import SqlSink

FILE = "read-models.sqlite"


@runtime_checkable
class Opens(Protocol):
    """What `@projection(sink=...)` takes for a sink of one's own. Functions tell it by `rows.note` what to change."""

    def open(self, settings: Settings) -> "Sink":
        """Each worker and each query opens one, and closes it. Nothing need be connected yet."""


class Sql(Struct, frozen=True, eq=False):
    """Made by `sql`."""

    tables: tuple[Any, ...]
    url: str | None = None

    def open(self, settings: Settings) -> "SqlSink":
        """Nothing is connected yet."""
        from projections.sinks.sql import SqlSink

        return SqlSink(self.url or url_of(settings), self.tables)


class Redis(Struct, frozen=True, eq=False):
    """Made by `redis`."""


def sql(*tables: "Table", url: str | None = None) -> Sql:
    """The read model is these tables, in the database of `url` (`sqlite:///FILE`, `postgresql://...`); by default in
    that of the settings (POSTGRES_HOST ...), else in a SQLite file beside the embedded server's data. The tables are
    made by the projection; under their own names a view is read. Raises InvalidRequest."""
    from projections.sinks.sql_tables import check_tables

    return Sql(check_tables(tables), url)


def redis() -> Redis:
    """The read model is what the functions write by `rows.effects`: keys of the partition of each event."""
    return Redis()


def url_of(settings: Settings) -> str:
    """Where read models are, if nothing else is said."""
    postgres = settings.postgres
    if postgres.host:
        import sqlalchemy as sa

        password = None if postgres.password is None else postgres.password.reveal()
        made = sa.URL.create("postgresql", postgres.user, password, postgres.host, postgres.port, postgres.db)
        return str(made.render_as_string(hide_password=False))
    return f"sqlite:///{settings.eventstore.data_dir}/{FILE}"
