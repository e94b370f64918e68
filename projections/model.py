"""ReadModel: what a projection has made, read; if wanted, not before it has come to an event.

receipt = await store.append("order-42", [OrderPlaced(total=99)])
rows = await query(store, totals, select(order_totals), wait_for=receipt)
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from sqlalchemy import Executable
from sqlalchemy.exc import SQLAlchemyError

from consumers.checks import duration
from eventstore.envelope import Receipt, RecordedEvent
from eventstore.errors import InvalidRequest
from eventstore.store import EventStore
from projections.checkpoint import Checkpoint
from projections.errors import ProjectionNotFound, ReadModelBehind, ReadModelUnavailable
from projections.generations import Generation
from projections.projection import Projection
from projections.sink import Sql
from projections.sinks.sql import SqlSink
from projections.threads import in_thread

Seen = Receipt | RecordedEvent
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.002, 0.05


async def query(
    store: EventStore,
    projection: Projection,
    statement: Executable,
    parameters: Mapping[str, Any] | None = None,
    *,
    wait_for: Seen | Sequence[Seen] = (),
    timeout: str | float = "5s",
) -> list[dict[str, Any]]:
    """The rows that a statement finds in the read model of a projection, as `ReadModel.query` says; opened and closed
    for it. For many queries keep one open: `async with ReadModel.open(store, totals) as model`."""
    async with ReadModel.open(store, projection) as model:
        return await model.query(statement, parameters, wait_for=wait_for, timeout=timeout)


class ReadModel:
    """Of one projection, open. It reads the generation that is live."""

    def __init__(self, projection: str, sink: SqlSink) -> None:
        self._name, self._sink = projection, sink
        self._looking, self._looks = anyio.Lock(), 0
        self._seen: tuple[Generation | None, Mapping[int, Checkpoint]] = (None, {})

    @classmethod
    @asynccontextmanager
    async def open(cls, store: EventStore, projection: Projection) -> AsyncIterator["ReadModel"]:
        """Raises InvalidRequest for a projection whose sink is no database."""
        if not isinstance(projection, Projection) or not isinstance(projection.sink, Sql):
            remedy = "a projection with sink=sql(...)"
            raise InvalidRequest(f"{projection!r:.80} has no tables", field="projection", remedy=remedy)
        sink = projection.sink.open(store.settings)
        try:
            yield cls(projection.name, sink)
        finally:
            sink.close()

    async def query(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | None = None,
        *,
        wait_for: Seen | Sequence[Seen] = (),
        timeout: str | float = "5s",
    ) -> list[dict[str, Any]]:
        """The rows that a statement finds, which names the tables as the projection does. With `wait_for`, receipts of
        appends or events, not before what is read has come to them: to their places, whether it takes such events or
        not, and in their streams to their versions. Raises ReadModelBehind if that takes longer than `timeout`;
        ProjectionNotFound if nothing was ever projected, ReadModelUnavailable."""
        if isinstance(wait_for, Seen) or wait_for:
            seconds = duration("timeout", timeout)
            over_at = anyio.current_time() + seconds
            while True:
                waited = await self._until(wait_for, seconds, over_at)
                rows, read = await in_thread(self._sink.read_of, self._name, statement, parameters)
                if read == waited:  # not another one that has been switched to meanwhile
                    return rows
        try:
            return await in_thread(self._sink.read, statement, parameters)
        except (SQLAlchemyError, ReadModelUnavailable):
            if (await self._looked())[0] is None:
                raise ProjectionNotFound(self._name) from None
            raise

    async def wait(self, wait_for: Seen | Sequence[Seen], *, timeout: str | float = "5s") -> None:
        """Until what is read has come to all of them. Raises as `query` does."""
        seconds = duration("timeout", timeout)
        if isinstance(wait_for, Seen) or wait_for:
            await self._until(wait_for, seconds, anyio.current_time() + seconds)

    async def _until(self, wait_for: Seen | Sequence[Seen], seconds: float, over_at: float) -> int:
        """The generation that has come to all of them, and is read."""
        pause = FIRST_PAUSE_SECONDS
        wanted = [wait_for] if isinstance(wait_for, Seen) else list(wait_for)
        while True:
            live, reached = await self._looked()
            missing = [each for each in wanted if not _is_reached(each, reached.get(each.partition))]
            if live is not None and not missing:
                return live.number
            if anyio.current_time() > over_at:
                if live is None:
                    raise ProjectionNotFound(self._name)
                first = missing[0]
                place = reached[first.partition].place[1] if first.partition in reached else 0
                raise ReadModelBehind(self._name, first.partition, first.position, place, seconds)
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _looked(self) -> tuple[Generation | None, Mapping[int, Checkpoint]]:
        """What is read, and how far it is. Who asks while others look waits for the next look, of which all of them
        have what it finds: many who wait for a database that is behind would else keep it from coming on."""
        begun = self._looks
        async with self._looking:
            if self._looks == begun:
                self._looks += 1
                self._seen = await in_thread(self._look)
            return self._seen

    def _look(self) -> tuple[Generation | None, Mapping[int, Checkpoint]]:
        known = self._sink.generations(self._name)
        live = next((each for each in known if each.state == "live"), None)
        return live, {} if live is None else self._sink.checkpoints(self._name, live.number)


def _is_reached(wanted: Seen, checkpoint: Checkpoint | None) -> bool:
    if checkpoint is None or checkpoint.place[1] < wanted.position:
        return False
    if checkpoint.place[0] < wanted.epoch:  # there it had read events that the log has lost since
        return False
    row = checkpoint.detached.get(wanted.stream)
    return row is None or row.next > wanted.version
