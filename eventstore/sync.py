"""SyncEventStore: the log for code that is not async. What `EventStore` does, called and waited for from any thread."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct

from eventstore import decide
from eventstore.append import Cause, StreamAppend
from eventstore.cursor import Cursor
from eventstore.decide import Decided, Decider, Writing
from eventstore.envelope import Metadata, Receipt, RecordedEvent
from eventstore.expected import Expected, ExpectedVersion
from eventstore.filters import Filter
from eventstore.fold import Fold
from eventstore.loop_thread import LoopThread, loop_thread
from eventstore.read import Order
from eventstore.snapshots import Loaded
from eventstore.store import EventStore
from eventstore.subscribe import Subscription
from eventstore.sync_iteration import SyncReading
from eventstore.sync_subscription import SyncSubscription
from infrastructure.settings import Settings

C = TypeVar("C")
S = TypeVar("S")


class SyncEventStore:
    """A log, open. Make one with `with SyncEventStore.open() as store:`. Any thread may use it; appends of several are
    joined into one call. Each method is that of `EventStore` and raises what that raises. A call that Ctrl-C or a
    signal handler interrupts is cancelled: an append may have been written then. Where an event loop runs each call
    raises InvalidRequest, and in a forked child Unavailable: open a store in each process."""

    def __init__(self, loop: LoopThread, store: EventStore) -> None:
        self._loop, self._store = loop, store

    @classmethod
    @contextmanager
    def open(
        cls,
        url: str | None = None,
        *,
        types: Iterable[type[Struct]] = (),
        settings: Settings | None = None,
        read_only: bool = False,
    ) -> Iterator["SyncEventStore"]:
        """`EventStore.open`, in a thread of its own that ends with the block. Leaving waits for the appends under way,
        those of other threads too; by Ctrl-C it cancels them."""
        with loop_thread(EventStore.open(url, types=types, settings=settings, read_only=read_only)) as (loop, store):
            yield cls(loop, store)

    def append(
        self,
        stream: str,
        events: Sequence[Any],
        *,
        expected: ExpectedVersion = Expected.ANY,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Appends all events or none, at the expected version: 0 (new), a number, ANY or EXISTS. `EventStore.append`
        has the guarantees and the errors."""
        return self._loop.call(
            partial(
                self._store.append,
                stream,
                events,
                expected=expected,
                causes=causes,
                metadata=metadata,
                timeout_seconds=timeout_seconds,
            )
        )

    def append_many(
        self,
        appends: Sequence[StreamAppend],
        *,
        checks: Mapping[str, ExpectedVersion] | None = None,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> tuple[Receipt, ...]:
        """Appends to several streams of one partition, all events or none, if those of `checks` are as expected too."""
        return self._loop.call(
            partial(
                self._store.append_many,
                appends,
                checks=checks,
                causes=causes,
                metadata=metadata,
                timeout_seconds=timeout_seconds,
            )
        )

    def read(
        self, stream: str, *, from_version: int | None = None, backwards: bool = False, limit: int | None = None
    ) -> SyncReading:
        """The events of one stream in order of version, up to the version it has at the first step."""
        return self._reading(self._store.read(stream, from_version=from_version, backwards=backwards, limit=limit))

    def version(self, stream: str) -> int:
        """The version of a stream; 0 if nothing was ever appended."""
        return self._loop.call(partial(self._store.version, stream))

    def writing(
        self,
        stream: str,
        fold: Fold[S] | Decider[Any, S],
        *,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> "SyncWriting[S]":
        """`with store.writing(stream, fold) as writing:` loads the state; what `writing.append` collects in the block
        is appended when it ends, if the stream is still at the version loaded; else WrongExpectedVersion is raised."""
        writing = self._store.writing(stream, fold, causes=causes, metadata=metadata, timeout_seconds=timeout_seconds)
        return SyncWriting(self._loop, writing)

    def decide(
        self,
        stream: str,
        decider: Decider[C, S],
        command: C,
        *,
        attempts: int = decide.ATTEMPTS,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> Decided[S]:
        """Loads the state, decides, appends at the version loaded; after a conflict again. The decider runs in the
        thread of the store, where it must not call this one."""
        return self._loop.call(
            partial(
                self._store.decide,
                stream,
                decider,
                command,
                attempts=attempts,
                causes=causes,
                metadata=metadata,
                timeout_seconds=timeout_seconds,
            )
        )

    def load(self, stream: str, fold: Fold[S] | Decider[Any, S]) -> Loaded[S]:
        """State and version of a stream: its snapshot, if that is usable, and the events after it; else all events."""
        return self._loop.call(partial(self._store.load, stream, fold))

    def snapshot(self, stream: str, fold: Fold[S] | Decider[Any, S]) -> int:
        """Makes the present state the snapshot of the stream, and returns its version; 0 if there are no events."""
        return self._loop.call(partial(self._store.snapshot, stream, fold))

    def read_partition(
        self,
        partition: int,
        *,
        from_position: int | None = None,
        backwards: bool = False,
        limit: int | None = None,
        where: Filter | None = None,
    ) -> SyncReading:
        """The events of one partition in order of position, up to the head seen at the first step."""
        return self._reading(
            self._store.read_partition(
                partition, from_position=from_position, backwards=backwards, limit=limit, where=where
            )
        )

    def read_all(
        self,
        *,
        order: Order = "partition",
        backwards: bool = False,
        limit: int | None = None,
        where: Filter | None = None,
        cursor: Cursor | None = None,
        system: bool = False,
    ) -> SyncReading:
        """The events of all partitions, up to the heads seen at the first step. `order="total"` merges them by
        (recorded_at, partition, position). A filter is a scan. System streams are left out unless asked for."""
        return self._reading(
            self._store.read_all(
                order=order, backwards=backwards, limit=limit, where=where, cursor=cursor, system=system
            )
        )

    def position_at(self, time_us: int) -> Cursor:
        """The last position of each partition that was recorded at or before a time."""
        return self._loop.call(partial(self._store.position_at, time_us))

    def heads(self) -> Cursor:
        """The last position of each partition."""
        return self._loop.call(self._store.heads)

    def subscribe(
        self,
        *,
        order: Order = "partition",
        cursor: Cursor | None = None,
        where: Filter | None = None,
        observer: str | None = None,
        system: bool = False,
    ) -> SyncSubscription:
        """Events from the cursor (without one: from the first) and on into live, without gap or duplicate. Iterate, or
        ask with a time limit: `.next(timeout_seconds=1)`. `.cursor` resumes after what was delivered, `.close()` ends
        it from any thread."""

        async def begin() -> Subscription:
            return self._store.subscribe(order=order, cursor=cursor, where=where, observer=observer, system=system)

        return SyncSubscription(self._loop, self._loop.call(begin))

    def _reading(self, events: object) -> SyncReading:
        return SyncReading(self._loop, cast("AsyncGenerator[RecordedEvent, None]", events))


class SyncWriting(Generic[S]):
    """`Writing`, for a plain `with`. What it collects is folded in the thread that appends it."""

    def __init__(self, loop: LoopThread, writing: Writing[S]) -> None:
        self._loop, self._writing = loop, writing

    @property
    def stream(self) -> str:
        return self._writing.stream

    @property
    def receipt(self) -> Receipt | None:
        """Of what the block appended; None before that, and if it collected nothing."""
        return self._writing.receipt

    @property
    def state(self) -> S:
        """As loaded, and with what was collected since."""
        return self._writing.state

    @property
    def version(self) -> int:
        """The version loaded, at which the events will be appended; after the block the one of the last of them."""
        return self._writing.version

    @property
    def events(self) -> tuple[Any, ...]:
        """What was collected, in order."""
        return self._writing.events

    def append(self, *events: Any) -> None:
        """Collects events for the end of the block, and takes them into `state`: all, or none if one is refused."""
        self._writing.append(*events)

    def decide(self, decider: Decider[C, S], command: C) -> tuple[Any, ...]:
        """Collects what follows from a command, and returns it. Raises what its `decide` raises."""
        return self._writing.decide(decider, command)

    def __enter__(self) -> "SyncWriting[S]":
        self._loop.call(self._writing.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call(partial(self._writing.__aexit__, kind, error, trace))
