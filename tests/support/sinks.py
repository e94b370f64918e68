"""Sinks under test: those of SQL, and a toy of one's own, as a user would write it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, field
from msgspec.structs import replace

from consumers.state import Effect
from infrastructure.settings import Settings
from projections.checkpoint import BadChange, Checkpoint, Part, Refused, Step
from projections.generations import Generation
from projections.rows import ADD, PUT
from projections.sinks.contract import NAME
from projections.sinks.protocol import Sink
from projections.sinks.sql import SqlSink

counters = sa.Table(
    "counters", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True), sa.Column("n", sa.BigInteger, default=0)
)


class SqlUnderTest:
    """`sinks` are those opened, to be closed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.sinks: list[SqlSink] = []

    def open(self) -> Sink:
        self.sinks.append(SqlSink(self._url, (counters,)))
        return self.sinks[-1]

    def added(self, name: str, amount: int) -> Effect:
        return Effect(ADD, "counters", ((("name",), ("n",)), (name, amount)))

    def refused(self) -> Effect:
        return Effect(PUT, "counters", (("name", "n"), (None, 1)))

    def counts(self, sink: Sink, generation: int) -> Mapping[str, int]:
        assert isinstance(sink, SqlSink)
        return self._counts(sink, sink.of(generation)["counters"])

    def read(self, sink: Sink) -> Mapping[str, int]:
        assert isinstance(sink, SqlSink)
        return self._counts(sink, counters)

    def generation(self, version: int = 1) -> Generation:
        return Generation(NAME, version, tables=("counters",))

    @staticmethod
    def _counts(sink: SqlSink, table: sa.Table) -> dict[str, int]:
        return {row["name"]: row["n"] for row in sink.read(sa.select(table))}


class Shelf(Struct):
    """What processes share that keep a toy: counters in memory."""

    generations: dict[int, Generation] = field(default_factory=dict)
    checkpoints: dict[Part, Checkpoint] = field(default_factory=dict)
    counts: dict[tuple[int, str], int] = field(default_factory=dict)
    last: int = 0
    lock: Any = field(default_factory=Lock)


class ToySink:
    """Understands `rows.note("count", name, amount)`, of amounts that are whole."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def prepare(self, generation: Generation) -> None:
        """Nothing is needed."""

    def claim(self, part: Part, term: int) -> Checkpoint:
        with self.shelf.lock:
            stored = self.shelf.checkpoints.get(part, Checkpoint(0, 0))
            if stored.term >= term or part.generation not in self.shelf.generations:
                raise Refused(stored.term)
            self.shelf.checkpoints[part] = replace(stored, term=term, number=0)
            return self.shelf.checkpoints[part]

    def apply(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        with self.shelf.lock:
            stored = self.shelf.checkpoints.get(part, Checkpoint(0, 0))
            if (stored.term, stored.number) == (step.term, step.number):
                return
            if (stored.term, stored.number) != (step.term, step.number - 1):
                raise Refused(stored.term)
            for index, change in enumerate(changes):
                if not isinstance(change.args[0], int):
                    raise BadChange(index, "no whole number")
            for change in changes:
                key = part.generation, change.key
                self.shelf.counts[key] = self.shelf.counts.get(key, 0) + change.args[0]
            rows = {**stored.detached, **step.detached}
            kept = {stream: row for stream, row in rows.items() if row is not None}
            self.shelf.checkpoints[part] = Checkpoint(step.term, step.number, step.place, step.chain, kept)

    def checkpoints(self, projection: str, generation: int) -> Mapping[int, Checkpoint]:
        with self.shelf.lock:
            found = self.shelf.checkpoints.items()
            return {part.partition: each for part, each in found if part.generation == generation}

    def generations(self, projection: str) -> Sequence[Generation]:
        with self.shelf.lock:
            return list(self.shelf.generations.values())

    def begin(self, generation: Generation, *, again: bool = False) -> Generation:
        with self.shelf.lock:
            of_version = [each for each in self.shelf.generations.values() if each.version == generation.version]
            building = [each for each in of_version if each.state == "building"]
            if building or (of_version and not again):
                return (building or of_version)[-1]
            self.shelf.last += 1
            self.shelf.generations[self.shelf.last] = replace(generation, number=self.shelf.last)
            return self.shelf.generations[self.shelf.last]

    def mark_diverged(self, projection: str, generation: int) -> None:
        with self.shelf.lock:
            self.shelf.generations[generation] = replace(self.shelf.generations[generation], diverged=True)

    def switch(self, projection: str, generation: int) -> None:
        with self.shelf.lock:
            if generation not in self.shelf.generations:
                return
            for number, each in self.shelf.generations.items():
                if number == generation or each.state == "live":
                    state = "live" if number == generation else "kept"
                    self.shelf.generations[number] = replace(each, state=state)

    def drop(self, projection: str, generation: int) -> None:
        with self.shelf.lock:
            self.shelf.generations.pop(generation, None)
            for part in [each for each in self.shelf.checkpoints if each.generation == generation]:
                del self.shelf.checkpoints[part]
            for key in [each for each in self.shelf.counts if each[0] == generation]:
                del self.shelf.counts[key]


class Toy(Struct, frozen=True, eq=False):
    """What `@projection(sink=...)` takes."""

    shelf: Shelf = field(default_factory=Shelf)
    opened: list[ToySink] = field(default_factory=list)

    def open(self, settings: Settings) -> ToySink:
        self.opened.append(ToySink(self.shelf))
        return self.opened[-1]


class ToyUnderTest:
    def __init__(self) -> None:
        self.shelf = Shelf()

    def open(self) -> Sink:
        return ToySink(self.shelf)

    def added(self, name: str, amount: int) -> Effect:
        return Effect("count", name, (amount,))

    def refused(self) -> Effect:
        return Effect("count", "a", ("many",))

    def counts(self, sink: Sink, generation: int) -> Mapping[str, int]:
        return {name: n for (number, name), n in self.shelf.counts.items() if number == generation}

    def read(self, sink: Sink) -> Mapping[str, int]:
        live = next(each.number for each in self.shelf.generations.values() if each.state == "live")
        return self.counts(sink, live)

    def generation(self, version: int = 1) -> Generation:
        return Generation(NAME, version)


@contextmanager
def sql_under_test(url: str) -> Iterator[SqlUnderTest]:
    made = SqlUnderTest(url)
    try:
        yield made
    finally:
        for sink in made.sinks:
            sink.close()
