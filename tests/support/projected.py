"""A projection that counts, what its read model must be, and waiting until it is."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import sqlalchemy as sa

from consumers.keys import GroupKeys, group_keys
from consumers.lease_calls import acquire
from consumers.retry import Park
from consumers.state import Commit, Effect, Stored, Token
from eventstore import EventStore, RecordedEvent
from projections import Projection, ReadModel, Rows, projection, sql
from projections.generations import Generation
from projections.home import home_of
from projections.rows import ADD, EXECUTE
from projections.sinks.sql import SqlSink
from projections.status import GenerationShape, describe_projection
from projections.truth import InSink
from tests.support.servers import tries

_tables = sa.MetaData()
totals = sa.Table(
    "totals",
    _tables,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("events", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("sum", sa.BigInteger, nullable=False, server_default="0"),
)
streams = sa.Table(
    "stream_states",
    _tables,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("n", sa.BigInteger, nullable=False),
)
Fails = Callable[[RecordedEvent], bool]
Fold = tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]


def counting(
    url: str,
    *,
    name: str = "counts",
    fails: Fails = lambda _: False,
    weight: int = 1,
    **options: Any,
) -> Projection:
    """Of all events together (rows that all partitions change), and of each stream (rows of its own)."""

    @projection(name, sink=sql(totals, streams, url=url), **{"retry": Park(), **options})
    def count(event: RecordedEvent, rows: Rows) -> None:
        if fails(event):
            raise ValueError(f"{event.stream}@{event.version} is poison")
        rows.add(totals, {"name": "all"}, events=1, sum=weight * event.data.n)
        rows.add(totals, {"name": f"odd-{event.data.n % 2}"}, events=1, sum=weight * event.data.n)
        rows.put(streams, stream=event.stream, version=event.version, n=event.data.n)

    return count


async def fold(store: EventStore, *, weight: int = 1, without: Fails = lambda _: False) -> Fold:
    """What the read model must be: name -> (events, sum), and stream -> (version, n)."""
    counted: Counter[str] = Counter()
    summed: Counter[str] = Counter()
    states = {}
    async for event in store.read_all():
        if event.stream.startswith("$") or without(event):
            continue
        for name in ("all", f"odd-{event.data.n % 2}"):
            counted[name] += 1
            summed[name] += weight * event.data.n
        states[event.stream] = event.version, event.data.n
    return {name: (counted[name], summed[name]) for name in counted}, states


async def rows_of(model: ReadModel) -> Fold:
    found = await model.query(sa.select(totals))
    states = await model.query(sa.select(streams))
    return (
        {row["name"]: (row["events"], row["sum"]) for row in found},
        {row["stream"]: (row["version"], row["n"]) for row in states},
    )


async def until_rows(store: EventStore, count: Projection, wanted: Fold, seconds: float = 20.0) -> None:
    """Until the read model is exactly that."""
    async with ReadModel.open(store, count) as model:
        await until_read(store, count)
        end = anyio.current_time() + seconds
        while (found := await rows_of(model)) != wanted:
            assert anyio.current_time() < end, f"{found} is not {wanted}"
            await anyio.sleep(0.02)


async def until_read(store: EventStore, count: Projection, number: int | None = None) -> GenerationShape:
    """Until a generation, by default any, is read."""
    async with home_of(store, count.sink) as home:
        async for _ in tries():
            if any(each.state == "live" for each in await home.generations(count.name)):
                live = (await describe_projection(store, home, count.name)).live
                if live is not None and number in (None, live.generation):
                    return live
    raise AssertionError


async def until_caught_up(store: EventStore, count: Projection, number: int) -> None:
    async with home_of(store, count.sink) as home:
        async for _ in tries():
            shape = await describe_projection(store, home, count.name)
            if any(each.generation == number and each.lag == 0 for each in shape.generations):
                return


def begun(sink: SqlSink, name: str = "counts", version: int = 1) -> Generation:
    """A generation of the tables of a sink, made ready."""
    tables = tuple(table.name for table in sink.tables)
    generation = sink.begin(Generation(name, version, tables=tables), again=True)
    sink.prepare(generation)
    return generation


def added(name: object, **amounts: object) -> Effect:
    """To a row of `totals`."""
    return Effect(ADD, "totals", ((("name",), tuple(amounts)), (name, *amounts.values())))


def slip(statement: object) -> Effect:
    """A statement of one's own, which may be none."""
    return Effect(EXECUTE, "", (statement, {}))


class ByHand:
    """A generation of `counting`, moved step by step, as a worker that has one partition does."""

    def __init__(self, store: EventStore, sink: SqlSink, generation: Generation, partition: int = 0) -> None:
        self.store, self.sink, self.generation = store, sink, generation
        self.truth = InSink(store, sink, generation)
        self.keys: GroupKeys = group_keys(store.log.keys, generation.group, partition)
        self.stored: Stored
        self.token: Token
        self._number = 0

    async def take(self, owner: str, above: int = 0, *, force: bool = False) -> Stored:
        """Only the lease."""
        taken = await acquire(self.store.log, self.keys, owner, 60_000, above=above, force=force)
        assert isinstance(taken, Stored)
        self.stored, self.token, self._number = taken, taken.token(owner), 0
        return taken

    async def claim(self) -> Stored:
        self.stored = await self.truth.claim(self.store.log, self.keys, self.token, self.stored)
        return self.stored

    def call(self, position: int, **more: Any) -> Commit:
        """The next commit, up to a position, which adds 1 to `all`."""
        self._number += 1
        place = self.token.epoch, position
        return Commit(self.token, self._number, place, **{"effects": (added("all", events=1),), **more})

    async def commit(self, call: Commit) -> None:
        await self.truth.commit(self.store.log, self.keys, call)

    def count(self) -> int:
        table = self.sink.of(self.generation.number)["totals"]
        return sum(row["events"] for row in self.sink.read(sa.select(table)))
