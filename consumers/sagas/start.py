"""start: begins a saga, once."""

from collections.abc import Sequence

from msgspec import Struct

from consumers.errors import InvalidConsumer
from consumers.sagas.actions import as_builtins
from consumers.sagas.advance import due_of
from consumers.sagas.errors import SagaConflict
from consumers.sagas.facts import Fact, Started
from consumers.sagas.instances import Instances, stream_of
from consumers.sagas.saga import Saga
from consumers.sagas.state import State, Status
from consumers.sagas.stored import Stored
from eventstore.arguments import told
from eventstore.envelope import Metadata, RecordedEvent
from eventstore.errors import InvalidRequest
from eventstore.names import stream_name
from eventstore.store import EventStore


class Begun(Struct, frozen=True):
    """A saga. `stream` is what it is called elsewhere; `is_new` says whether this call has started it."""

    stream: str
    id: str
    status: Status
    version: int
    is_new: bool


async def start(
    store: EventStore,
    saga: Saga,
    saga_id: str,
    data: Struct,
    *,
    correlation_id: str | None = None,
    traceparent: str | None = None,
    cause: RecordedEvent | None = None,
) -> Begun:
    """Starts a saga of this id, or gives the one that runs, or has run, under it. Events that were brought to it before
    are decided on now. Its correlation id is that given, else the cause's, else a new one, its trace
    (`traceparent`, as W3C writes it) that given, else the cause's; all that it does carries both on. A worker that runs
    the saga does the rest: `run(store, [saga])`. Raises SagaConflict if it was started with other data; InvalidRequest;
    what an append raises."""
    _check(saga, saga_id, data)
    about = Metadata() if cause is None else cause.metadata
    return await begin(
        Instances(Stored(store), saga),
        saga_id,
        data,
        correlation_id=correlation_id or about.correlation_id,
        traceparent=traceparent or about.traceparent,
        cause=cause,
    )


async def begin(
    instances: Instances,
    saga_id: str,
    data: Struct,
    *,
    correlation_id: str | None = None,
    traceparent: str | None = None,
    cause: RecordedEvent | None = None,
) -> Begun:
    """Wherever the sagas are."""
    saga = instances.saga
    _check(saga, saga_id, data)
    stream = stream_name(stream_of(saga.name, saga_id))
    given = as_builtins(data)
    instances.assume_new(stream)
    is_new = False

    def inputs(state: State, definition: Saga) -> Sequence[Fact]:
        nonlocal is_new
        is_new = state.status == "unstarted"
        if is_new:
            return [Started(saga.version, given, due_of(saga, instances.clock()))]
        if state.input != given:
            raise SagaConflict(stream)
        return ()

    state = await instances.change(
        stream, inputs, at_least=0, cause=cause, correlation_id=correlation_id, traceparent=traceparent
    )
    return Begun(stream, saga_id, state.status, state.saga_version, is_new)


def _check(saga: Saga, saga_id: str, data: Struct) -> None:
    if not isinstance(saga, Saga):
        raise InvalidConsumer(f"{told(saga)} is no saga", field="saga", remedy='Saga("ingestion", data=Ingestion)')
    if not isinstance(saga_id, str) or not saga_id:
        raise InvalidRequest(f"the id of a saga is {saga_id!r:.80}", field="saga_id", remedy='a text, such as "42"')
    if not isinstance(data, saga.data):
        raise InvalidRequest(
            f"data is {told(data)}, and saga {saga.name} has {saga.data.__name__}",
            field="data",
            remedy=f"give a {saga.data.__name__}",
        )
