"""`eventsourcing`: its ProjectionRunner on PostgreSQL. It has a transaction for each event, with its tracking."""

import asyncio
import time
from functools import partial
from threading import Event
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL

from benchmarks.consuming.groups import EVENTS_A_STREAM
from benchmarks.measure import Sample
from benchmarks.payload import order
from benchmarks.postgres import Cluster
from benchmarks.projecting.cases import RUNNER
from benchmarks.projecting.places import Empty
from benchmarks.projecting.work import DAYS, check, expected, in_order, stream_of

_PAGE = 1_000
_PATIENCE_SECONDS = 600.0


class Order(Aggregate):  # type: ignore[misc]  # the library is untyped for mypy here
    class Placed(Aggregate.Event):  # type: ignore[misc]  # the library is untyped for mypy here
        stream: str
        number: int
        customer: str
        currency: str
        total_cents: int
        lines: list[str]
        note: str


class Orders(Application[UUID]):  # type: ignore[misc]  # the library is untyped for mypy here
    name = "orders"


class View(PostgresTrackingRecorder):  # type: ignore[misc]  # the library is untyped for mypy here
    """Both tables, and the tracking of each event, in one transaction."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS latest (stream text PRIMARY KEY, number bigint, cents bigint)")
        )
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS daily (day bigint PRIMARY KEY, orders bigint, cents bigint)")
        )

    def placed(self, event: Order.Placed, tracking: Tracking) -> None:
        put = (
            "INSERT INTO latest VALUES (%s, %s, %s) ON CONFLICT (stream) DO UPDATE"
            " SET number = excluded.number, cents = excluded.cents"
        )
        add = (
            "INSERT INTO daily VALUES (%s, 1, %s) ON CONFLICT (day) DO UPDATE"
            " SET orders = daily.orders + 1, cents = daily.cents + excluded.cents"
        )
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(put, (event.stream, event.number, event.total_cents), prepare=True)
            cursor.execute(add, (event.number % DAYS, event.total_cents), prepare=True)


class Totals(Projection[View]):  # type: ignore[misc]  # the library is untyped for mypy here
    name = "totals"

    began, began_cpu, left = 0.0, 0.0, 0
    done = Event()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        cls = type(self)
        if not cls.began:
            cls.began, cls.began_cpu = time.perf_counter(), time.process_time()
        self.view.placed(domain_event, tracking)
        cls.left -= 1
        if cls.left == 0:
            cls.done.set()


async def rebuild(empty: Empty, postgres: Cluster, events: int) -> Sample:
    """The library works in threads of its own; meanwhile this one waits in another."""
    async with empty() as place:
        environment = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": postgres.DATABASE,
            "POSTGRES_HOST": postgres.HOST,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.USER,
            "POSTGRES_PASSWORD": postgres.password,
        }
        await asyncio.to_thread(_fill, environment, events)
        used = await place.meter.cpu_seconds()
        seconds, cpu_seconds = await asyncio.to_thread(partial(_run, environment, events))
        used = await place.meter.cpu_seconds() - used
        check(RUNNER, place.rows(), expected(events))
    return Sample(events, seconds, used, cpu_seconds)


def _run(environment: dict[str, str], events: int) -> tuple[float, float]:
    Totals.began, Totals.left = 0.0, events
    Totals.done.clear()
    with ProjectionRunner(
        application_class=Orders, projection_class=Totals, view_class=View, env=environment
    ) as runner:
        if not Totals.done.wait(_PATIENCE_SECONDS):
            runner.run_forever(timeout=0)  # raises what it has died of
            raise TimeoutError(f"{Totals.left} of {events} events were never projected")
        return time.perf_counter() - Totals.began, time.process_time() - Totals.began_cpu


def _fill(environment: dict[str, str], events: int) -> None:
    """Packed by the application's own mapper; by calls of 1,000, for its aggregates would take an hour."""
    app = Orders(env=environment)
    try:
        page: list[StoredEvent] = []
        for number in in_order(events):
            page.append(app.mapper.to_stored_event(_placed(number)))
            if len(page) == _PAGE:
                app.recorder.insert_events(page)
                page = []
        if page:
            app.recorder.insert_events(page)
    finally:
        app.close()


def _placed(number: int) -> Order.Placed:
    placed, stream = order(number), stream_of(number)
    return Order.Placed(
        originator_id=uuid5(NAMESPACE_URL, stream),
        originator_version=number % EVENTS_A_STREAM + 1,
        timestamp=Order.Placed.create_timestamp(),
        stream=stream,
        number=number,
        customer=placed.customer,
        currency=placed.currency,
        total_cents=placed.total_cents,
        lines=list(placed.lines),
        note=placed.note,
    )
