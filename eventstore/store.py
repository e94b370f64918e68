"""EventStore: the way in. One line per operation; each operation's own file has the rules."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from msgspec import Struct

from eventstore import append, audit, decide, read, snapshots
from eventstore.append import Cause, StreamAppend
from eventstore.arguments import append_timeout, may_be, must_be_flags
from eventstore.cursor import Cursor
from eventstore.decide import Decided, Decider, Turns, Writing
from eventstore.envelope import Metadata, NewEvent, Receipt, RecordedEvent, Untyped
from eventstore.errors import InvalidRequest
from eventstore.event_types import EventTypes
from eventstore.expected import Expected, ExpectedVersion
from eventstore.filters import Filter
from eventstore.fold import Fold
from eventstore.group_commit import GroupCommit
from eventstore.health import check, refuse_unsafe
from eventstore.health_rules import only_reads
from eventstore.log import Log, open_log
from eventstore.names import publishable
from eventstore.no_writers import NoWriters
from eventstore.read import Order
from eventstore.server_facts import look
from eventstore.snapshots import Loaded
from eventstore.subscribe import Subscription, subscribe
from eventstore.wakeup import Wakeup
from infrastructure.server import serve
from infrastructure.settings import Settings, load_settings
from infrastructure.tasks import owned_tasks, to_the_end

C = TypeVar("C")
S = TypeVar("S")


class EventStore:
    """A log, open. Make one with `async with EventStore.open() as store:`."""

    def __init__(self, log: Log, writers: GroupCommit | NoWriters, settings: Settings) -> None:
        self.log, self.settings = log, settings
        self._writers = writers
        self._wakeup = Wakeup(log)
        self._turns = Turns()
        self._subscriptions: WeakSet[Subscription] = WeakSet()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str | None = None,
        *,
        types: Iterable[type[Struct]] = (),
        settings: Settings | None = None,
        read_only: bool = False,
    ) -> AsyncIterator["EventStore"]:
        """Opens the log of `url`, else of the settings (REDIS_URL ...), else of the embedded server, which it starts
        where none runs. Makes the log if there is none. A server that may lose events is refused; of a user who may
        only read, the appends are. With `read_only` they are too, and the log also opens where the server cannot give
        the durability that appends are to have, such as `replicas:1` while the replica is away. Leaving waits for the
        appends under way, takes no more, and ends the subscriptions.
        With the setting `strict_types` only events of these `types` are appended, and of those that a fold names.
        Raises Unavailable, SettingsError, EventTypeError, LogDamaged."""
        if url and settings:
            raise InvalidRequest(
                "url and settings are given", field="url", remedy="give one; settings have a redis.url"
            )
        may_be(str, "redis://HOST:PORT, or None for that of the settings", url=url)
        must_be_flags(read_only=read_only)
        may_be(Settings, "infrastructure.settings.Settings(...), or None: environment and file", settings=settings)
        chosen = settings or load_settings(overrides={"redis.url": url} if url else None)
        known = EventTypes(types, strict=chosen.eventstore.strict_types)
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(serve(chosen))
            servers = await look(redis, chosen)
            checks = await check(redis, chosen, servers)
            reads = read_only or only_reads(checks)
            refuse_unsafe(checks, read_only=reads)
            log = await open_log(redis, chosen, known, servers, read_only=reads)
            spawn = await stack.enter_async_context(owned_tasks())
            store = cls(log, NoWriters(by_choice=read_only) if reads else GroupCommit(log, spawn), chosen)
            stack.push_async_callback(store._close)
            yield store

    async def _close(self) -> None:
        self._writers.close()
        await to_the_end(self._end_subscriptions)

    async def _end_subscriptions(self) -> None:
        for subscription in list(self._subscriptions):
            await subscription.aclose()

    async def append(
        self,
        stream: str,
        events: Sequence[Any],
        *,
        expected: ExpectedVersion = Expected.ANY,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """Appends all events or none. `expected` is a version (0: the stream must be new), ANY or EXISTS. The events
        are recorded above their `causes`. An acknowledged append has reached the log's durability; repeating one
        whose answer was lost returns the first receipt. Raises WrongExpectedVersion, IdConflict, InvalidEvent,
        TooLarge, ClockDrift, Overloaded, Unavailable (not written), OutcomeUnknown, DurabilityNotReached (written)."""
        given = StreamAppend(publishable(stream), events, expected)
        return (await self._commit([given], {}, causes, metadata, timeout_seconds))[0]

    async def append_many(
        self,
        appends: Sequence[StreamAppend],
        *,
        checks: Mapping[str, ExpectedVersion] | None = None,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> tuple[Receipt, ...]:
        """Appends to several streams of one partition, all events or none, if every stream is at its expected version,
        those of `checks` too, which are not written to. A receipt for each append, in their order; all events have one
        `recorded_at`. Names with the same text in braces share a partition: `order-{42}`, `payment-{42}`. Repeating it
        returns the first receipts. Raises what `append` does; WrongExpectedVersion names every check that failed,
        DifferentPartitions every stream that lies elsewhere."""
        wanted = {} if checks is None else checks
        append.checked_many(appends, wanted, self.log.settings)
        return await self._commit(appends, wanted, causes, metadata, timeout_seconds)

    async def append_to(
        self,
        stream: str,
        events: Sequence[Any],
        expected: ExpectedVersion = Expected.ANY,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> Receipt:
        """`append`, system streams too: for the packages that keep one. Their Structs need not be given to a strict
        store."""
        for data in (each.data if isinstance(each, NewEvent) else each for each in events):
            if isinstance(data, Struct) and not isinstance(data, Untyped):
                self.log.types.add(type(data))
        given = StreamAppend(stream, events, expected)
        return (await self._commit([given], {}, causes, metadata, timeout_seconds))[0]

    async def _commit(
        self,
        appends: Sequence[StreamAppend],
        checks: Mapping[str, ExpectedVersion],
        causes: Sequence[Cause],
        metadata: Metadata | None,
        timeout_seconds: float | None,
    ) -> tuple[Receipt, ...]:
        log = self.log
        patience = append_timeout(timeout_seconds, log.settings.append_timeout_seconds)
        encoded = append.encode(appends, checks, causes, metadata, log.types, log.settings, log.partitions)
        return await self._writers.commit(encoded, patience)

    def read(
        self, stream: str, *, from_version: int | None = None, backwards: bool = False, limit: int | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """The events of one stream in order of version, up to the version it has at the first step."""
        return read.read_stream(self.log, stream, from_version=from_version, backwards=backwards, limit=limit)

    async def version(self, stream: str) -> int:
        """The version of a stream; 0 if nothing was ever appended."""
        return await read.stream_version(self.log, stream)

    def writing(
        self,
        stream: str,
        fold: Fold[S] | Decider[Any, S],
        *,
        causes: Sequence[Cause] = (),
        metadata: Metadata | None = None,
        timeout_seconds: float | None = None,
    ) -> Writing[S]:
        """`async with store.writing(stream, fold) as writing:` loads the state; what `writing.append` collects in the
        block is appended when it ends, if the stream is still at the version loaded; else WrongExpectedVersion is
        raised. Nothing is appended if the block raises, or collects nothing."""
        return Writing(self, stream, fold, causes, metadata, timeout_seconds)

    async def decide(
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
        """Loads the state, decides, appends at the version loaded; after WrongExpectedVersion again, up to `attempts`
        times in all. Raises what the decider, `load` and `append` do; nothing is appended if the decider raises."""
        return await decide.decide(
            self,
            self._turns,
            stream,
            decider,
            command,
            attempts=attempts,
            causes=causes,
            metadata=metadata,
            timeout_seconds=timeout_seconds,
        )

    async def load(self, stream: str, fold: Fold[S] | Decider[Any, S]) -> Loaded[S]:
        """State and version of a stream: its snapshot, if that is usable, and the events after it; else all events."""
        return await snapshots.load(self.log, stream, decide.fold_of(fold))

    async def snapshot(self, stream: str, fold: Fold[S] | Decider[Any, S]) -> int:
        """Makes the present state the snapshot of the stream, and returns its version; 0 if there are no events."""
        return await snapshots.snapshot(self.log, stream, decide.fold_of(fold))

    def read_partition(
        self,
        partition: int,
        *,
        from_position: int | None = None,
        backwards: bool = False,
        limit: int | None = None,
        where: Filter | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """The events of one partition in order of position, up to the head seen at the first step."""
        return read.read_partition(
            self.log, partition, from_position=from_position, backwards=backwards, limit=limit, where=where
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
    ) -> AsyncIterator[RecordedEvent]:
        """The events of all partitions, up to the heads seen at the first step. `order="total"` merges them by
        (recorded_at, partition, position). A filter is a scan. System streams are left out unless asked for."""
        return read.read_all(
            self.log, order=order, backwards=backwards, limit=limit, where=where, cursor=cursor, system=system
        )

    async def position_at(self, time_us: int) -> Cursor:
        """The last position of each partition that was recorded at or before a time."""
        return await read.position_at(self.log, time_us)

    async def heads(self) -> Cursor:
        """The last position of each partition."""
        return await read.heads(self.log)

    def subscribe(
        self,
        *,
        order: Order = "partition",
        cursor: Cursor | None = None,
        where: Filter | None = None,
        observer: str | None = None,
        system: bool = False,
    ) -> Subscription:
        """Events from the cursor (without one: from the first) and on into live, without gap or duplicate, with
        bounded memory. `.cursor` of what comes back resumes after what was delivered. Events that a failover has lost
        after they were delivered are reported in the audit stream under the name of the `observer`, else logged."""
        on_lost = partial(audit.record_lost, self) if observer else None
        subscription = subscribe(
            self.log,
            order=order,
            cursor=cursor,
            where=where,
            observer=observer,
            system=system,
            on_lost=on_lost,
            wakeup=self._wakeup,
        )
        self._subscriptions.add(subscription)
        return subscription


def must_append(store: EventStore, stream: str) -> None:
    """For what comes to an append later. Raises Unavailable if this store only reads."""
    if isinstance(store._writers, NoWriters):
        store._writers.refuse(stream)
