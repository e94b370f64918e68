"""Sagas without a server: streams in memory, and a clock that stands still until it is turned.

What route and react do here is what they do in a worker; this only brings them the events, in order, and fires timers
when their time comes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args
from uuid import UUID

from msgspec import Struct

from consumers.context import Context, To
from consumers.sagas.actions import as_builtins
from consumers.sagas.advance import due_of
from consumers.sagas.attempts import Actions
from consumers.sagas.facts import Fact, Started
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.react import React
from consumers.sagas.route import Route
from consumers.sagas.saga import Saga
from consumers.sagas.state import State
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.errors import WrongExpectedVersion
from eventstore.event_types import EventTypes
from eventstore.ids import new_id

START_US = 1_700_000_000_000_000


class World:
    """Streams, timers and the sagas of one type. It is the `Streams` and the `Timers` of these."""

    def __init__(self, saga: Saga, opened: Mapping[Any, Any] | None = None, types: Sequence[type[Struct]] = ()) -> None:
        self.types = EventTypes([*get_args(Fact), *(each.struct for each in saga.events), *types])
        self.now_us = START_US
        self.streams: dict[str, list[RecordedEvent]] = {}
        self.timers: dict[UUID, tuple[int, str, NewEvent]] = {}
        self.returned: list[To] = []
        self.saga = saga
        self._log: list[RecordedEvent] = []
        self._handled = 0
        self._instances = Instances(self, saga, lambda: self.now_us)
        self._route = Route(self._instances)
        self._react = React(self._instances, Actions(opened or {}, lambda: 0.0), self, _nothing_behind)

    # ---- what the sagas need ----

    async def read(self, stream: str, from_version: int) -> Sequence[RecordedEvent]:
        return self.streams.get(stream, [])[from_version - 1 :]

    async def append(
        self, stream: str, facts: Sequence[Any], version: int, cause: RecordedEvent | None, metadata: Metadata
    ) -> int:
        actual = len(self.streams.get(stream, ()))
        if actual != version:
            raise WrongExpectedVersion(stream, version, actual)
        for each in facts:
            self.add(stream, each, metadata)
        return 1

    async def schedule_event(self, stream: str, event: NewEvent, due_us: int, cause_recorded_at: int) -> bool:
        if event.id is None:
            raise RuntimeError("a timer without an id")
        is_new = event.id not in self.timers
        self.timers.setdefault(event.id, (due_us, stream, event))
        return is_new

    async def unschedule(self, stream: str, id: UUID) -> bool:  # noqa: A002 - as an event's
        return self.timers.pop(id, None) is not None

    # ---- what happens ----

    def add(self, stream: str, event: Any, metadata: Metadata | None = None) -> RecordedEvent:
        """An event in a stream, by way of JSON."""
        name, schema_version, data = self.types.encode(event)
        present, present_version, read = self.types.kind(name, schema_version)
        known = self.streams.setdefault(stream, [])
        self.now_us += 1
        event_id = new_id()
        recorded = RecordedEvent(
            event_id,
            stream,
            len(known) + 1,
            0,
            1,
            len(self._log) + 1,
            self.now_us,
            present,
            present_version,
            read(data),
            metadata or Metadata(correlation_id=str(event_id)),
        )
        known.append(recorded)
        self._log.append(recorded)
        return recorded

    async def start(self, saga_id: str, data: Struct) -> State:
        given = as_builtins(data)

        def inputs(state: State, saga: Saga) -> Sequence[Fact]:
            return [Started(saga.version, given, due_of(saga, self.now_us))] if state.status == "unstarted" else ()

        return await self._instances.change(stream_of(self.saga.name, saga_id), inputs)

    async def settle(self) -> None:
        """Until nothing more happens without a timer."""
        while self._handled < len(self._log):
            event = self._log[self._handled]
            self._handled += 1
            await self.handle(event)

    async def handle(self, event: RecordedEvent) -> None:
        """As a worker would."""
        ctx = Context(event)
        if event.stream.startswith(f"saga-{self.saga.name}-"):
            for to in await self._react.handle(event.data, ctx) or ():
                self.returned.append(to)
                self.add(to.stream, to.event, Metadata(correlation_id=event.metadata.correlation_id))
        elif any(each.name == event.type for each in self.saga.events):
            await self._route.handle(event.data, ctx)

    async def turn(self, seconds: float) -> None:
        """Time passes: timers fire, the earliest first, and what follows from each happens before the next."""
        end_us = self.now_us + round(seconds * 1_000_000)
        while True:
            await self.settle()
            due = min(self.timers.items(), key=lambda each: each[1][0], default=None)
            if due is None or due[1][0] > end_us:
                break
            timer, (due_us, stream, event) = due
            del self.timers[timer]
            self.now_us = max(self.now_us, due_us)
            self.add(stream, event.data, event.metadata)
        self.now_us = max(self.now_us, end_us)

    async def state(self, saga_id: str) -> State:
        return await self._instances.load(stream_of(self.saga.name, saga_id))


def _nothing_behind(task: Callable[[], Any]) -> None:
    raise RuntimeError("a thread has outlasted its attempt")
