"""Sagas without a server: streams in memory, and a clock that stands still until it is turned.

What route and react do here is what they do in a worker; this only brings them the events, in order, and fires timers
when their time comes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args
from uuid import UUID

from msgspec import Struct

from consumers.context import Context, To
from consumers.sagas.attempts import Actions
from consumers.sagas.facts import Fact
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.react import React
from consumers.sagas.route import Route
from consumers.sagas.saga import Saga
from consumers.sagas.start import Begun, begin
from consumers.sagas.state import State
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.errors import WrongExpectedVersion
from eventstore.event_types import EventTypes
from eventstore.ids import new_id

START_US = 1_700_000_000_000_000
MOST_EVENTS = 100_000


class World:
    """Streams, timers and the sagas of one type. It is the `Streams` and the `Timers` of these."""

    def __init__(
        self,
        saga: Saga,
        opened: Mapping[Any, Any] | None = None,
        types: Sequence[type[Struct]] = (),
        actions: Actions | None = None,
    ) -> None:
        self.types = EventTypes([*get_args(Fact), *(each.struct for each in saga.events), *types])
        self.now_us = START_US
        self.streams: dict[str, list[RecordedEvent]] = {}
        self.timers: dict[UUID, tuple[int, str, NewEvent]] = {}
        self.sent: list[To] = []
        self.log: list[RecordedEvent] = []
        self.saga = saga
        self._handled = 0
        self._fired: set[UUID] = set()
        self.instances = Instances(self, saga, lambda: self.now_us)
        self._route = Route(self.instances)
        self._react = React(self.instances, actions or Actions(opened or {}, lambda: 0.0), self, _nothing_behind)

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
        if event.id in self.timers or event.id in self._fired:
            return False
        self.timers[event.id] = (due_us, stream, event)
        return True

    async def unschedule(self, stream: str, id: UUID) -> bool:  # noqa: A002 - as an event's
        return self.timers.pop(id, None) is not None

    # ---- what happens ----

    def add(self, stream: str, event: Any, metadata: Metadata | None = None) -> RecordedEvent:
        """An event in a stream, by way of JSON. Nobody is told before `settle`."""
        new = event if isinstance(event, NewEvent) else NewEvent(data=event)
        name, schema_version, data = self.types.encode(new.data)
        present, present_version, _ = self.types.kind(name, schema_version)
        known, event_id = self.streams.setdefault(stream, []), new.id or new_id()
        recorded = RecordedEvent(
            event_id,
            stream,
            len(known) + 1,
            0,
            1,
            len(self.log) + 1,
            self.now_us,
            present,
            present_version,
            self.types.decode(name, schema_version, data),
            metadata or new.metadata or Metadata(correlation_id=str(event_id)),
        )
        known.append(recorded)
        self.log.append(recorded)
        return recorded

    async def start(self, saga_id: str, data: Struct) -> Begun:
        """Raises SagaConflict, InvalidRequest."""
        return await begin(self.instances, saga_id, data)

    async def ask(self, saga_id: str, request: Fact) -> None:
        """An operator's request."""
        self.add(self.stream(saga_id), request)
        await self.settle()

    async def discard(self) -> None:
        """What was not handled yet never is: as dead letters that an operator has discarded."""
        self._handled = len(self.log)

    async def settle(self) -> None:
        """Until nothing more happens without a timer. Raises what handling an event raises."""
        while self._handled < len(self.log):
            if self._handled >= MOST_EVENTS:
                raise RuntimeError(f"{self.saga!r} goes on without end: {MOST_EVENTS:,} events")
            event = self.log[self._handled]
            self._handled += 1
            await self.handle(event)

    async def handle(self, event: RecordedEvent) -> None:
        """As a worker would."""
        ctx = Context(event)
        if event.stream.startswith(self.stream("")):
            for to in await self._react.handle(event.data, ctx) or ():
                sent = self.add(to.stream, to.event, Metadata(correlation_id=event.metadata.correlation_id))
                self.sent.append(To(to.stream, sent.data))
        else:
            await self.bring(event)

    async def bring(self, event: RecordedEvent) -> list[tuple[str, str, tuple[Any, ...]]]:
        """An event to the sagas that it concerns, if any takes its type; gives the effects."""
        ctx = Context(event)
        if any(each.name == event.type for each in self.saga.events):
            await self._route.handle(event.data, ctx)
        return [(effect.command, effect.key, effect.args) for effect in ctx.collected()]

    async def turn(self, seconds: float) -> None:
        """Time passes: timers fire, the earliest first, and what follows from each happens before the next."""
        end_us = self.now_us + round(seconds * 1_000_000)
        await self.settle()
        while (due_us := self.next_due_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            self.fire()
            await self.settle()
        self.now_us = max(self.now_us, end_us)

    def next_due_us(self) -> int | None:
        """When the next timer fires."""
        return min((due_us for due_us, _, _ in self.timers.values()), default=None)

    def fire(self) -> RecordedEvent:
        """The next timer, before its time too."""
        timer, (_, stream, event) = min(self.timers.items(), key=lambda each: each[1][0])
        del self.timers[timer]
        self._fired.add(timer)
        return self.add(stream, event)

    def stream(self, saga_id: str) -> str:
        return stream_of(self.saga.name, saga_id)

    async def state(self, saga_id: str) -> State:
        return await self.instances.load(self.stream(saga_id))


def _nothing_behind(task: Callable[[], Any]) -> None:
    raise RuntimeError("a thread has outlasted its attempt")
