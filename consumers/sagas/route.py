"""Route: events to the sagas that they concern. An ordinary consumer, whose handler appends to the sagas' streams.

An event is brought to a saga once, however often and whenever it is handled: the state knows the ids of all that were.
It leaves a fact in any case: also if nothing takes it, and also before the saga is started, which then decides on it.
"""

from collections.abc import Sequence

import msgspec

from consumers.context import Context
from consumers.sagas.facts import Early, EventReceived, Fact
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.reactions import ids_of
from consumers.sagas.saga import Saga, ids_for
from consumers.sagas.state import State
from eventstore.envelope import RecordedEvent

UNROUTED = "unrouted"
"""The group's hash of events that were for no saga, by type."""


class Route:
    """Of one type of saga."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def handle(self, event: msgspec.Struct, ctx: Context) -> None:
        """Brings the event to its sagas. Raises what correlations and reactions raise, and what an append raises."""
        if not await self.bring(ctx.event):
            ctx.effects.hincrby(UNROUTED, ctx.event.type)

    async def bring(self, event: RecordedEvent) -> bool:
        """False if it is for no saga."""
        saga = self._instances.saga
        found = [each for correlate in ids_for(saga, event.type) for each in ids_of(correlate, event.data, saga.name)]
        for saga_id in dict.fromkeys(found):
            await self._to(stream_of(saga.name, saga_id), event)
        return bool(found)

    async def _to(self, stream: str, event: RecordedEvent) -> None:
        cause = str(event.id)

        def inputs(state: State, saga: Saga) -> Sequence[Fact]:
            if cause in state.causes:
                return ()
            early = Early(event.schema_version, msgspec.to_builtins(event.data, str_keys=True))
            return [EventReceived(cause, event.type, event.stream, event.version, early)]

        await self._instances.change(
            stream,
            inputs,
            at_least=0,
            at=event.recorded_at,
            cause=event,
            correlation_id=event.metadata.correlation_id,
            traceparent=event.metadata.traceparent,
        )
