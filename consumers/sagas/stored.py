"""The streams and timers of sagas, in an event store."""

from collections.abc import Sequence
from uuid import UUID

from consumers.sagas.facts import Fact, know_facts
from consumers.timers.calls import schedule_event, unschedule
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.event_types import EventTypes
from eventstore.store import EventStore


class Stored:
    """The `Streams` and the `Timers` of sagas."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        know_facts(store.log.types)

    @property
    def types(self) -> EventTypes:
        return self._store.log.types

    async def read(self, stream: str, from_version: int) -> Sequence[RecordedEvent]:
        return [each async for each in self._store.read(stream, from_version=from_version)]

    async def append(
        self, stream: str, facts: Sequence[Fact], version: int, cause: RecordedEvent | None, metadata: Metadata
    ) -> int:
        causes = () if cause is None else (cause,)
        receipt = await self._store.append_to(stream, facts, expected=version, causes=causes, metadata=metadata)
        return receipt.epoch

    async def schedule_event(self, stream: str, event: NewEvent, due_us: int, cause_recorded_at: int) -> bool:
        return await schedule_event(self._store.log, stream, event, due_us, cause_recorded_at)

    async def unschedule(self, stream: str, id: UUID) -> bool:  # noqa: A002 - as an event's
        return await unschedule(self._store.log, stream, id)
