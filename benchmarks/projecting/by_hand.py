"""The loop that one writes by hand: XRANGE, decode, one transaction for 250 events with a row that says how far it is.

One plain stream, one connection, no threads, no event loop. Nothing is tried again, no event is set apart that fails,
and a second worker would do everything twice.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import redis
import redis.asyncio

from benchmarks.consuming.tally import Span
from benchmarks.measure import Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, from_json, order, to_json
from benchmarks.projecting.ours import of_hashes
from benchmarks.projecting.places import Empty, Place
from benchmarks.projecting.work import DAILY, LATEST, Rows, check, day_of, expected, in_order, metadata, stream_of

BATCH = 250
TABLES = f"by hand: XRANGE, decode, executemany of {BATCH} in a transaction"
REDIS = f"by hand: XRANGE, decode, a pipeline for {BATCH}"
_STREAM, _PLACE = "by-hand", "by-hand-place"
_PUT = (
    "INSERT INTO latest (stream, number, cents) VALUES ({0}, {0}, {0})"
    " ON CONFLICT (stream) DO UPDATE SET number = excluded.number, cents = excluded.cents"
)
_ADD = (
    "INSERT INTO daily (day, orders, cents) VALUES ({0}, 1, {0}) ON CONFLICT (day) DO UPDATE"
    " SET orders = daily.orders + excluded.orders, cents = daily.cents + excluded.cents"
)
_Entry = tuple[str, OrderPlaced]


async def rebuild_tables(server: BenchServer, empty: Empty, events: int) -> Sample:
    async with empty() as place:
        _make(place)
        await _fill(server, events)
        used = await server.cpu_seconds() + await place.meter.cpu_seconds()
        span = _into_tables(server, place)
        used = await server.cpu_seconds() + await place.meter.cpu_seconds() - used
        check(TABLES, place.rows(), expected(events))
    await server.clean()
    return Sample(events, span.seconds, used, span.cpu_seconds)


async def rebuild_redis(server: BenchServer, events: int) -> Sample:
    await _fill(server, events)
    used = await server.cpu_seconds()
    span = _into_redis(server)
    used = await server.cpu_seconds() - used
    check(REDIS, await _in_redis(server), expected(events))
    await server.clean()
    return Sample(events, span.seconds, used, span.cpu_seconds)


def _into_tables(server: BenchServer, place: Place) -> Span:
    mark = "?" if place.url.startswith("sqlite") else "%s"
    put, add = _PUT.format(mark), _ADD.format(mark)
    with redis.Redis.from_url(server.url) as client, closing(place.connect()) as connection:
        cursor = connection.cursor()

        def write(last: str, entries: Sequence[_Entry]) -> None:
            if mark == "?":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(put, [(stream, each.number, each.total_cents) for stream, each in entries])
            cursor.executemany(add, [(day_of(each), each.total_cents) for _, each in entries])
            cursor.execute(f"UPDATE place SET last = {mark}", (last,))
            connection.commit()

        return _timed(client, write)


def _into_redis(server: BenchServer) -> Span:
    with redis.Redis.from_url(server.url) as client:

        def write(last: str, entries: Sequence[_Entry]) -> None:
            pipe: Any = client.pipeline(transaction=True)
            for stream, each in entries:
                day = day_of(each)
                pipe.hset(LATEST, stream, each.number)
                pipe.hincrby(DAILY, f"{day}:orders", 1)
                pipe.hincrby(DAILY, f"{day}:cents", each.total_cents)
            pipe.set(_PLACE, last)
            pipe.execute()

        return _timed(client, write)


def _timed(client: Any, write: Callable[[str, Sequence[_Entry]], None]) -> Span:
    client.ping()
    began, used = time.perf_counter(), time.process_time()
    for last, entries in _batches(client):
        write(last, entries)
    return Span(time.perf_counter() - began, time.process_time() - used)


def _batches(client: Any) -> Iterator[tuple[str, list[_Entry]]]:
    last = "-"
    while page := client.xrange(_STREAM, last if last == "-" else f"({last}", "+", count=BATCH):
        last = page[-1][0].decode()
        yield last, [(fields[b"s"].decode(), from_json(fields[b"e"])) for _, fields in page]


def _make(place: Place) -> None:
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.schema import CreateTable

    dialect: Any = sqlite.dialect() if place.url.startswith("sqlite") else postgresql.dialect()  # type: ignore[no-untyped-call]
    with closing(place.connect()) as connection:
        for table in metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        connection.execute("CREATE TABLE place (last TEXT NOT NULL)")
        connection.execute("INSERT INTO place VALUES ('-')")
        connection.commit()


async def _fill(server: BenchServer, events: int) -> None:
    """In the order in which our log has them, of all partitions together."""
    numbers = list(in_order(events))
    async with redis.asyncio.Redis.from_url(server.url) as client:
        for first in range(0, events, 1_000):
            async with client.pipeline(transaction=False) as pipe:
                for number in numbers[first : first + 1_000]:
                    pipe.xadd(_STREAM, {"s": stream_of(number), "e": to_json(order(number))})
                await pipe.execute()


async def _in_redis(server: BenchServer) -> Rows:
    last, days = await server.admin.hgetall(LATEST), await server.admin.hgetall(DAILY)
    return of_hashes(
        {field.decode(): int(value) for field, value in last.items()},
        {field.decode(): int(value) for field, value in days.items()},
    )
