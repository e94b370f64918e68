"""A saga as its stream tells it: its state and its timeline, without its definition."""

from collections.abc import AsyncIterator

from consumers.sagas.errors import SagaNotFound
from consumers.sagas.facts import know_facts
from consumers.sagas.instances import parts_of
from consumers.sagas.state import State
from consumers.sagas.timeline import Timeline
from eventstore.envelope import RecordedEvent
from eventstore.errors import EventStoreError, InvalidEvent, LogDamaged
from eventstore.log import Log
from eventstore.names import stream_name
from eventstore.read import read_stream


class History:
    """What the facts up to `state.version` come to. `positions` are those of the facts, in order of version, `first_at`
    is when the first was recorded; `damage` says why what follows them cannot be read."""

    def __init__(self, stream: str) -> None:
        self.state = State(stream)
        self.timeline = Timeline()
        self.positions: list[int] = []
        self.first_at = 0
        self.damage: EventStoreError | None = None

    def add(self, event: RecordedEvent) -> None:
        """The fact of the next version. Raises LogDamaged if it is none."""
        self.state.take(event)
        self.timeline.add(event)
        self.positions.append(event.position)
        self.first_at = self.first_at or event.recorded_at

    async def follow(self, log: Log, until: int | None = None) -> None:
        """Takes in all facts that are there, or those below version `until`. Raises Unavailable."""
        try:
            async for event in facts_of(log, self.state.stream, self.state.version + 1):
                if event.version == until:
                    return
                self.add(event)
        except (InvalidEvent, LogDamaged) as error:
            self.damage = error


async def history(log: Log, stream: str) -> History:
    """Of one saga, as of now, or up to the first event that is no fact. Raises SagaNotFound, also for a stream that
    begins with one; InvalidRequest, Unavailable."""
    found = History(stream_name(stream))
    if parts_of(stream) is None:
        raise SagaNotFound(stream)
    await found.follow(log)
    if found.state.version == 0:
        raise SagaNotFound(stream)
    return found


async def facts_of(log: Log, stream: str, from_version: int = 1) -> AsyncIterator[RecordedEvent]:
    """The events of a saga's stream, from a version on. Raises as `read_stream`."""
    know_facts(log.types)
    async for event in read_stream(log, stream, from_version=from_version):
        yield event
