"""The read model of all contestants: one row for each stream, and totals of each day."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import sqlalchemy as sa
from msgspec import Struct

from benchmarks.consuming.groups import EVENTS_A_CALL, EVENTS_A_STREAM, TASKS
from benchmarks.measure import CountWrong
from benchmarks.payload import OrderPlaced, order

DAYS = 30
LATEST, DAILY = "latest", "daily"
metadata = sa.MetaData()
latest = sa.Table(
    LATEST,
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("cents", sa.BigInteger, nullable=False),
)
daily = sa.Table(
    DAILY,
    metadata,
    sa.Column("day", sa.BigInteger, primary_key=True),
    sa.Column("orders", sa.BigInteger, nullable=False),
    sa.Column("cents", sa.BigInteger, nullable=False),
)
SELECTS = ("SELECT stream, number, cents FROM latest", "SELECT day, orders, cents FROM daily")


class Rows(Struct, frozen=True):
    """All of the read model: of each stream the number of its last order, of each day how many there were and their
    cents."""

    latest: Mapping[str, int]
    daily: Mapping[int, tuple[int, int]]


def day_of(event: OrderPlaced) -> int:
    return event.number % DAYS


def stream_of(number: int) -> str:
    """Of the order with this number, as `consuming.groups.fill` appends it."""
    return f"order-{number - number % EVENTS_A_STREAM}"


def in_order(events: int) -> Iterable[int]:
    """Numbers as they lie in a log that is filled by so many tasks at once: those of a stream in their order."""
    streams = range(0, events, EVENTS_A_STREAM)
    for first in range(0, len(streams), TASKS):
        for call in range(0, EVENTS_A_STREAM, EVENTS_A_CALL):
            for stream in streams[first : first + TASKS]:
                yield from range(min(stream + call, events), min(stream + call + EVENTS_A_CALL, events))


def expected(events: int, stream: Callable[[int], str] = stream_of) -> Rows:
    """What must be there after so many orders, computed apart from all contestants."""
    cents = order(0).total_cents
    of_day = Counter(number % DAYS for number in range(events))
    last = {stream(number): number for number in range(events)}
    return Rows(last, {day: (orders, cents * orders) for day, orders in of_day.items()})


def of_tables(latest_rows: Sequence[Sequence[object]], daily_rows: Sequence[Sequence[object]]) -> Rows:
    """What `SELECTS` found. Raises CountWrong for cents that no order has."""
    cents = order(0).total_cents
    if any(row[2] != cents for row in latest_rows):
        raise CountWrong("a row of a stream has the cents of no order")
    return Rows(
        {str(row[0]): _int(row[1]) for row in latest_rows},
        {_int(row[0]): (_int(row[1]), _int(row[2])) for row in daily_rows},
    )


def check(who: str, found: Rows, wanted: Rows) -> None:
    """Raises CountWrong unless the final rows are those of a fold of all events."""
    if found != wanted:
        wrong = sum(found.latest.get(stream) != number for stream, number in wanted.latest.items())
        days = sum(found.daily.get(day) != total for day, total in wanted.daily.items())
        raise CountWrong(
            f"{who}: rows of {wrong} streams and {days} days are wrong; there are {len(found.latest)} and"
            f" {len(found.daily)} rows, not {len(wanted.latest)} and {len(wanted.daily)}"
        )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise CountWrong(f"{value!r} is no number")
    return value
