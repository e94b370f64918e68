"""Decide: load the state of a stream, decide on it, append at the version that was loaded.

    async with store.writing("account-7", account) as writing:
        if writing.state.balance < 5:
            raise Insufficient
        writing.append(Withdrawn(5))

    await store.decide("account-7", account, Withdraw(5))  # the same by a Decider, and again after a conflict

Two writers may load one version; the append of the second then finds the stream at another version than expected and
writes nothing. So no decision is ever recorded that was made on a state that had passed.

A lost answer is the business of the append: it repeats one decision with the ids it was given, until it knows or raises
OutcomeUnknown. A conflict is another matter: nothing was written, so the decision is made anew and has new ids.
"""

import inspect
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakValueDictionary

import anyio
from msgspec import Struct

from eventstore.append import Cause, checked_causes, checked_metadata
from eventstore.arguments import append_timeout, at_least, must_be, must_be_function, told, whole_number
from eventstore.envelope import Metadata, NewEvent, Receipt, Untyped
from eventstore.errors import DurabilityNotReached, InvalidRequest, WrongExpectedVersion
from eventstore.event_types import EventTypes
from eventstore.fold import Fold, data_of
from eventstore.names import publishable
from eventstore.snapshots import Loaded, load

if TYPE_CHECKING:
    from eventstore.store import EventStore

C = TypeVar("C")
S = TypeVar("S")
ATTEMPTS = 10
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.2


class Decider(Generic[C, S]):
    """A decision as a value: `decide(command, state)` returns the event or events that follow (a list; none: nothing
    happens) or raises, `evolve(state, event)` returns the state after an event. Both are pure: `given` tests them
    without a server. The rest is as in `Fold`, which `.fold` is. Raises InvalidRequest."""

    def __init__(
        self,
        initial: S,
        decide: Callable[[C, S], Any],
        evolve: Callable[[S, Any], S],
        *,
        version: int = 1,
        snapshot_every: int | None = None,
        state_type: Any = None,
    ) -> None:
        must_be_function("decide(command, state)", decide)
        must_be_function("evolve(state, event)", evolve)
        self._decide = decide
        self.fold = Fold(initial, evolve, version=version, snapshot_every=snapshot_every, state_type=state_type)

    def __repr__(self) -> str:
        return f"Decider({getattr(self._decide, '__qualname__', self._decide)}, {self.fold!r})"

    def decide(self, command: C, state: S) -> tuple[Any, ...]:
        """The events that follow from a command. Raises what `decide` raises; InvalidRequest for what are no events."""
        return _events(self._decide(command, state))


class Decided(Struct, Generic[S], frozen=True):
    """What became of a command: the events appended, if any, with their receipt; the state and version after them; and
    how often it was decided, conflicts included."""

    events: tuple[Any, ...]
    receipt: Receipt | None
    state: S
    version: int
    attempts: int


class Writing(Generic[S]):
    """One load, decide, append. Made by `EventStore.writing`; usable again when its block has ended."""

    def __init__(
        self,
        store: "EventStore",
        stream: str,
        fold: Fold[S] | Decider[Any, S],
        causes: Sequence[Cause],
        metadata: Metadata | None,
        timeout_seconds: float | None,
    ) -> None:
        self.stream = publishable(stream)
        self.receipt: Receipt | None = None
        """Of what the block appended; None before that, and if it collected nothing."""
        self._store, self._fold = store, fold_of(fold)
        # what is wrong is told before the work, not behind it
        self._causes, self._metadata = checked_causes(causes), checked_metadata(metadata)
        self._patience_seconds = append_timeout(timeout_seconds, store.log.settings.append_timeout_seconds)
        self._loaded: Loaded[S] | None = None
        self._state: S
        self._new: list[Any] = []
        self._is_open = False

    @property
    def state(self) -> S:
        """As loaded, and with what was collected since."""
        self._begun()
        return self._state

    @property
    def version(self) -> int:
        """The version loaded, at which the events will be appended; after the block the one of the last of them."""
        return self.receipt.version if self.receipt else self._begun().version

    @property
    def events(self) -> tuple[Any, ...]:
        """What was collected, in order."""
        return tuple(self._new)

    def append(self, *events: Any) -> None:
        """Collects events (Structs, NewEvent, Untyped) for the end of the block, and takes them into `state`: all, or
        none if one is refused. Raises InvalidEvent, and what `apply` raises (which leaves a state that it changes in
        place half changed)."""
        loaded, types = self._begun(), self._store.log.types
        if not self._is_open:
            raise InvalidRequest("the block has ended", field="events", remedy="append within `async with`")
        state = self._state
        read = [as_read(types, event) for event in events]  # before the first changes a state that changes in place
        for version, (name, data) in enumerate(read, loaded.version + len(self._new) + 1):
            state = self._fold.step(state, data, name, version, self.stream)
        self._new += events
        self._state = state

    def decide(self, decider: Decider[C, S], command: C) -> tuple[Any, ...]:
        """Collects what follows from a command, and returns it. Raises what its `decide` raises."""
        must_be_decider(decider)
        events = decider.decide(command, self.state)
        self.append(*events)
        return events

    async def __aenter__(self) -> "Writing[S]":
        if self._is_open:  # what it has collected would be lost
            raise InvalidRequest(
                "the block has not ended", field="writing", remedy="one store.writing(...) for each block"
            )
        self._loaded, self._new, self.receipt = None, [], None
        self._is_open = True
        try:
            await self._load()
        except BaseException:
            self._is_open = False
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if kind is None and self._new:
            await self._append(self._begun().version)

    async def _load(self) -> None:
        self._loaded = await load(self._store.log, self.stream, self._fold)
        self._state = self._loaded.state

    async def _append(self, version: int) -> None:
        try:
            self.receipt = await self._store.append(
                self.stream,
                self._new,
                expected=version,
                causes=self._causes,
                metadata=self._metadata,
                timeout_seconds=self._patience_seconds,
            )
        except DurabilityNotReached as error:
            self.receipt = error.receipt
            raise
        if self.receipt.version != version + len(self._new):
            await self._load()  # ids of the caller's that were stored before: the state has these events elsewhere

    def _begun(self) -> Loaded[S]:
        if self._loaded is None:
            raise InvalidRequest("nothing is loaded yet", field="writing", remedy="async with store.writing(...) as w:")
        return self._loaded


class Turns:
    """Tasks of one process that decide on one stream take turns: together they would load one version, and all but one
    would do their work in vain. A courtesy, no guarantee: whoever has waited for `seconds` goes ahead, and the version
    decides as ever."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, anyio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, stream: str, seconds: float) -> AsyncIterator[None]:
        turn = self._turns.setdefault(stream, anyio.Semaphore(1, fast_acquire=True))
        taken = False
        with anyio.move_on_after(seconds):
            await turn.acquire()
            taken = True
        try:
            yield
        finally:
            if taken:
                turn.release()


async def decide(
    store: "EventStore",
    turns: Turns,
    stream: str,
    decider: Decider[C, S],
    command: C,
    *,
    attempts: int,
    causes: Sequence[Cause],
    metadata: Metadata | None,
    timeout_seconds: float | None,
) -> Decided[S]:
    """`EventStore.decide`."""
    at_least(1, attempts=attempts)
    whole_number("a whole number from 1", attempts=attempts)
    must_be_decider(decider)
    writing = Writing(store, stream, decider, causes, metadata, timeout_seconds)
    async with turns.of(stream, writing._patience_seconds):
        attempt = 1
        while True:
            try:
                async with writing:
                    writing.decide(decider, command)
                return Decided(writing.events, writing.receipt, writing.state, writing.version, attempt)
            except WrongExpectedVersion as conflict:
                if attempt == attempts:
                    conflict.facts["attempts"] = attempts
                    raise
            await anyio.sleep(_pause(attempt))
            attempt += 1


def _pause(attempt: int) -> float:
    """Unlike for any two processes, or they would meet again."""
    longest = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - no secret


def must_be_decider(given: object) -> None:
    """Raises InvalidRequest for what is none, a Fold too: it decides nothing."""
    must_be(Decider, "give a Decider(initial, decide, evolve)", decider=given)


def fold_of(given: Fold[S] | Decider[Any, S]) -> Fold[S]:
    """Raises InvalidRequest for what is neither."""
    if isinstance(given, Decider):
        return given.fold
    if isinstance(given, Fold):
        return given
    raise InvalidRequest(
        f"fold is {told(given)}",
        field="fold",
        remedy="give Fold(initial, apply) or a Decider",
    )


def as_read(types: EventTypes, event: object) -> tuple[str, object]:
    """What a fold will get of an event that is not recorded yet, with its type. Raises InvalidEvent."""
    name, schema_version, stored = types.encode(event.data if isinstance(event, NewEvent) else event)
    return name, data_of(types, name, schema_version, types.decode(name, schema_version, stored))


def _events(decided: object) -> tuple[Any, ...]:
    match decided:
        case None:
            return ()
        case NewEvent() | Untyped() | Struct():
            return (decided,)
        case Iterable() if not isinstance(decided, str | bytes | dict):
            return tuple(decided)
        case _ if inspect.iscoroutine(decided):
            decided.close()
            raise InvalidRequest(
                "decide is an async function", field="decide", remedy="load what it needs before, into the command"
            )
    raise InvalidRequest(
        f"decide returned something of type {type(decided).__name__}",
        field="decide",
        remedy="return an event, a list of events or None",
    )
