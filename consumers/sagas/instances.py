"""Sagas in this process: loaded from their streams, changed at the version that was loaded.

    change(stream, inputs): load -> inputs(state) -> what follows -> append at exactly that version; a conflict: again

What was loaded is kept, for the next fact of that stream; it is brought up to date before it is used where it must be,
and the version decides in any case. The log sees to it that no two changes are made to one state.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec.structs import replace

from consumers.sagas.advance import advance
from consumers.sagas.errors import UnknownSagaVersion
from consumers.sagas.facts import EventReceived, Fact
from consumers.sagas.saga import Saga
from consumers.sagas.state import State
from eventstore.envelope import Metadata, RecordedEvent
from eventstore.errors import WrongExpectedVersion
from eventstore.event_types import EventTypes
from eventstore.ids import new_id

MOST_KEPT = 10_000
Inputs = Callable[[State, Saga], Sequence[Fact]]


class Streams(Protocol):
    """Where the facts are: a store, or a test's."""

    @property
    def types(self) -> EventTypes: ...

    async def read(self, stream: str, from_version: int) -> Sequence[RecordedEvent]: ...

    async def append(
        self, stream: str, facts: Sequence[Fact], version: int, cause: RecordedEvent | None, metadata: Metadata
    ) -> int:
        """At exactly this version; gives the epoch. Raises WrongExpectedVersion."""


def now_us() -> int:
    return time.time_ns() // 1_000


class Instances:
    """All sagas of one type that this process deals with."""

    def __init__(self, streams: Streams, saga: Saga, clock: Callable[[], int] = now_us) -> None:
        self.saga = saga
        self.clock = clock
        self._streams = streams
        self._kept: OrderedDict[str, State] = OrderedDict()

    @property
    def types(self) -> EventTypes:
        return self._streams.types

    async def load(self, stream: str, at_least: int | None = None, epoch: int = 0) -> State:
        """The state, as of now; or what is known of it, if that is of version `at_least` or above and not of an earlier
        `epoch`. It belongs to everybody: copy what you change."""
        state = self._kept.get(stream)
        if state is not None and state.epoch < epoch:
            state = None
        if state is not None and at_least is not None and state.version >= at_least:
            return state
        state = State(stream) if state is None else state.copy()
        found = await self._streams.read(stream, state.version + 1)
        if state.version and any(event.epoch > state.epoch for event in found):  # what we know may be of the past
            state = State(stream)
            found = await self._streams.read(stream, 1)
        for event in found:
            state.take(event)
        self._keep(state)
        return state

    def definition(self, state: State) -> Saga:
        """That which the saga follows. Raises UnknownSagaVersion."""
        if state.saga_version == 0:
            return self.saga
        found = self.saga.of_version(state.saga_version)
        if found is None and state.is_final:  # nothing of it is asked any more
            return self.saga
        if found is None:
            raise UnknownSagaVersion(self.saga.name, {state.saga_version: 1})
        return found

    async def change(
        self,
        stream: str,
        inputs: Inputs,
        *,
        at_least: int | None = None,
        at: int | None = None,
        cause: RecordedEvent | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        actor: str | None = None,
    ) -> State:
        """Appends what `inputs` gives for the state that is loaded, and what follows from it. It is asked again after
        each conflict; if nothing is to be appended, nothing is. `at` is when the input was recorded, by default now.
        Gives the state after it. Raises UnknownSagaVersion, what reactions raise, and what an append raises."""
        known = at_least
        while True:
            state = await self.load(stream, known)
            saga = self.definition(state)
            moment = self.clock() if at is None else at
            after = state.copy()
            given = list(inputs(state, saga))
            for fact in given:
                after.fold(fact, moment)
            made = [*given, *advance(saga, after, moment, self.types)]
            if not made:
                return state
            after.correlation_id = state.correlation_id or correlation_id or str(new_id())
            after.traceparent = state.traceparent or traceparent
            metadata = Metadata(
                correlation_id=after.correlation_id,
                traceparent=after.traceparent,
                actor=actor or f"saga.{self.saga.name}",
            )
            lean = [_lean(fact, after) for fact in made]
            try:
                after.epoch = await self._streams.append(stream, lean, state.version, cause, metadata)
            except WrongExpectedVersion as error:  # somebody else was first, or a failover has lost what we know
                if error.actual < state.version:
                    self._kept.pop(stream, None)
                known = None
                continue
            if state.version == 0 or after.epoch == state.epoch:
                self._keep(after)
            else:
                self._kept.pop(stream, None)
            return after

    def _keep(self, state: State) -> None:
        kept = self._kept.get(state.stream)
        if kept is None or (kept.epoch, kept.version) <= (state.epoch, state.version):
            self._kept[state.stream] = state
            self._kept.move_to_end(state.stream)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def assume_new(self, stream: str) -> None:
        """Saves a look at a stream that most probably has no events: the version decides."""
        self._kept.setdefault(stream, State(stream))


def _lean(fact: Fact, after: State) -> Fact:
    """What an event says is kept only while it is not decided on."""
    if not isinstance(fact, EventReceived) or any(each.fact is fact for each in (*after.inbox, *after.kept)):
        return fact
    return replace(fact, early=None)


def stream_of(saga: str, saga_id: str) -> str:
    """The stream of a saga, which is what the saga is called elsewhere."""
    return f"saga-{saga}-{saga_id}"


def parts_of(stream: str) -> tuple[str, str] | None:
    """Type and id of the saga whose stream this is; None if it is no saga's."""
    head, _, rest = stream.partition("-")
    kind, _, saga_id = rest.partition("-")
    return (kind, saga_id) if head == "saga" and kind and saga_id else None
