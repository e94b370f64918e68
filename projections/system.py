"""Read models of the system itself: which streams there are, what belongs to one business transaction, how sagas stand.

    streams        a row for each stream: category, version, first and last event
    correlations   a row for each event, found by its correlation id without a scan of the log
    sagas          a row for each saga

They are projections like any other; `eventstore up` runs them.
"""

from typing import Any

import sqlalchemy as sa

from consumers.sagas import facts
from consumers.sagas.instances import parts_of
from eventstore.envelope import RecordedEvent
from eventstore.names import category_of
from projections.projection import Projection, projection
from projections.rows import Rows
from projections.sink import sql

_tables = sa.MetaData()
streams = sa.Table(
    "streams",
    _tables,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("category", sa.Text, nullable=False, index=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=True),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("last_type", sa.Text, nullable=False),
)
correlations = sa.Table(
    "correlations",
    _tables,
    sa.Column("correlation_id", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)
sagas = sa.Table(
    "sagas",
    _tables,
    sa.Column("saga", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False, index=True),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("correlation_id", sa.Text, nullable=True),
    sa.Column("started_at", sa.BigInteger, nullable=True),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=True),
)


@projection("streams", sink=sql(streams))
def list_streams(event: RecordedEvent, rows: Rows) -> None:
    """Times are microseconds since 1970."""
    first = {"first_at": event.recorded_at} if event.version == 1 else {}
    rows.put(
        streams,
        stream=event.stream,
        category=category_of(event.stream),
        partition=event.partition,
        version=event.version,
        last_at=event.recorded_at,
        last_type=event.type,
        **first,
    )


@projection("correlations", sink=sql(correlations))
def list_correlations(event: RecordedEvent, rows: Rows) -> None:
    rows.put(
        correlations,
        correlation_id=event.metadata.correlation_id or str(event.id),
        stream=event.stream,
        version=event.version,
        event_id=str(event.id),
        type=event.type,
        recorded_at=event.recorded_at,
        partition=event.partition,
        position=event.position,
    )


class _Sagas:
    def started(self, event: facts.Started, rows: Rows) -> None:
        _note(rows, "running", started_at=rows.event.recorded_at)

    def received(self, event: facts.EventReceived, rows: Rows) -> None:
        if rows.event.version == 1:
            _note(rows, "unstarted")

    def forward(self, event: facts.Forward, rows: Rows) -> None:
        _note(rows, event.to, why=None)

    def compensating(self, event: facts.Compensating, rows: Rows) -> None:
        _note(rows, "compensating", why=event.why)

    def stuck(self, event: facts.Stuck, rows: Rows) -> None:
        _note(rows, "stuck", why=event.why)

    def completed(self, event: facts.Completed, rows: Rows) -> None:
        _note(rows, "completed")

    def compensated(self, event: facts.Compensated, rows: Rows) -> None:
        _note(rows, "compensated", why=event.why)


list_sagas = projection("sagas", sink=sql(sagas), categories=["saga"])(_Sagas)
SYSTEM: tuple[Projection, ...] = (list_streams, list_correlations, list_sagas)


def _note(rows: Rows, status: str, **more: Any) -> None:
    event = rows.event
    parts = parts_of(event.stream)
    if parts is not None:
        rows.put(
            sagas,
            saga=event.stream,
            type=parts[0],
            status=status,
            correlation_id=event.metadata.correlation_id,
            changed_at=event.recorded_at,
            **more,
        )
