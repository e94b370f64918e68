"""Snapshots: the latest state of a stream, kept so that a load folds few events. Never truth: what cannot be used is
put aside and all events are folded.

A snapshot is usable when the same fold wrote it (`Fold.identity`), the log has the very event that it was made at, and
it decodes. The first two are checked in the script that also reads the events after it, so all is of one moment. One
script writes a snapshot, after checking that the log has its event, and never in place of a newer one of that fold.
"""

from typing import Generic, Literal, TypeVar

import anyio
import structlog
from msgspec import Struct
from msgspec.structs import replace

from eventstore.envelope import RecordedEvent
from eventstore.errors import EventsMissing, EventStoreError, InvalidRequest, TooLarge
from eventstore.fold import Fold, data_of
from eventstore.log import Log
from eventstore.names import stream_name
from eventstore.pages import BYTES_PER_PAGE, Page, StreamPage, ask, stream_entries
from eventstore.partitions import partition_of
from eventstore.read import STREAM_EVENTS_PER_PAGE, stream_pages
from eventstore.snapshot_state import pack, unpack
from infrastructure import lua

S = TypeVar("S")
PutAside = Literal["fold", "ahead", "damaged"]
_Snapshot = tuple[int, bytes, int, bytes, PutAside | None]
WRITE_SECONDS = 1.0
TRIES = 3

logger = structlog.get_logger(__name__)
_load_state = lua.load("eventstore", "load_state")
_write_snapshot = lua.load("eventstore", "write_snapshot")


class Loaded(Struct, Generic[S], frozen=True):
    """The state of a stream at a version (0: it has no events), which is the entry `epoch`-`position` of its partition.

    `folded` events were folded for it, on a snapshot of version `snapshot_version` if that is above 0. `put_aside` says
    why a snapshot was not used: another fold wrote it, it is ahead of the log, or it is damaged. `untyped` names a type
    among the folded events that this process has no Struct for; of such a state no snapshot is made."""

    state: S
    version: int
    epoch: int = 0
    position: int = 0
    folded: int = 0
    snapshot_version: int = 0
    put_aside: PutAside | None = None
    untyped: str | None = None


async def load(log: Log, stream: str, fold: Fold[S]) -> Loaded[S]:
    """The state as of the version that the stream has at the first step. Leaves a snapshot where the fold wants one;
    that this fails is logged, and no error. Raises EventsMissing, InvalidEvent, InvalidRequest, Unavailable, and what
    `apply` raises."""
    loaded = await _load(log, stream, fold)
    if _is_due(fold, loaded):
        await _leave_snapshot(log, stream, fold, loaded)
    return loaded


async def snapshot(log: Log, stream: str, fold: Fold[S]) -> int:
    """Makes the state of now the snapshot of the stream, in place of another fold's. Returns its version: 0, and no
    snapshot, for a stream without events. Raises what `load` does; InvalidRequest if the state cannot be kept, TooLarge
    if it is over `max_event_bytes`."""
    for _ in range(TRIES):
        loaded = await _load(log, stream, fold)
        if loaded.version == loaded.snapshot_version:
            return loaded.version
        if await _write(log, stream, fold, loaded, _packed(log, fold, loaded)) != b"lost":
            return loaded.version
    raise EventsMissing(f"stream {stream} (lost while its snapshot was made)", loaded.version, loaded.version)


async def _load(log: Log, stream: str, fold: Fold[S]) -> Loaded[S]:
    partition = partition_of(stream_name(stream), log.partitions)
    fold.know(log.types)
    begun, page = await _begin(log, stream, partition, fold)
    state, version, place = begun.state, begun.version, (begun.epoch, begun.position)
    untyped, folded = None, 0
    async for entries in stream_pages(log, stream, version + 1, begun=page):
        for recorded in map(log.recorded, entries):
            state = _step(log, fold, state, recorded)
            if log.types.named(recorded.type) is None:
                untyped = recorded.type
        version, place = entries[-1].version, (entries[-1].epoch, entries[-1].position)
        folded += len(entries)
    return replace(
        begun, state=state, version=version, epoch=place[0], position=place[1], folded=folded, untyped=untyped
    )


def _step(log: Log, fold: Fold[S], state: S, recorded: RecordedEvent) -> S:
    data = data_of(log.types, recorded.type, recorded.schema_version, recorded.data)
    return fold.step(state, data, recorded.type, recorded.version, recorded.stream)


async def _begin(log: Log, stream: str, partition: int, fold: Fold[S]) -> tuple[Loaded[S], StreamPage]:
    """The snapshot, or the state of no events; and the first page of what comes after it."""
    (version, epoch, position, packed, why), page = await _ask(log, stream, partition, fold.identity)
    if version:
        try:
            state = unpack(fold, packed)
        except Exception as error:  # noqa: BLE001 - the types of the user are asked, and may raise anything
            why = "damaged"
            logger.warning("snapshot_put_aside", stream=stream, why=why, version=version, error=str(error))
            _, page = await _ask(log, stream, partition, "")
        else:
            return Loaded(state, version, int(epoch), position, snapshot_version=version), page
    elif why in ("ahead", "damaged"):
        logger.warning("snapshot_put_aside", stream=stream, why=why)
    return Loaded(fold.start(), 0, put_aside=why), page


async def _ask(log: Log, stream: str, partition: int, identity: str) -> tuple[_Snapshot, StreamPage]:
    keys = log.keys
    used = [keys.head(partition), keys.events(partition)]
    used += [keys.index(partition, stream), keys.snapshot(partition, stream)]
    reply = (await ask(log, _load_state, used, [identity, STREAM_EVENTS_PER_PAGE, BYTES_PER_PAGE]))[0]
    version, archived, head, epochs, at, epoch, position, packed, why, *flat = reply
    entries = stream_entries(stream, partition, at + 1, flat, by=1)
    return (at, epoch, position, packed, why.decode() or None), StreamPage(
        version, archived, Page(head, epochs, entries)
    )


def _is_due(fold: Fold[S], loaded: Loaded[S]) -> bool:
    if fold.snapshot_every is None or loaded.untyped is not None or not loaded.folded:
        return False
    return loaded.folded >= fold.snapshot_every or loaded.put_aside in ("ahead", "damaged")


async def _leave_snapshot(log: Log, stream: str, fold: Fold[S], loaded: Loaded[S]) -> None:
    why = f"no answer within {WRITE_SECONDS} s"
    with anyio.move_on_after(WRITE_SECONDS):
        try:
            await _write(log, stream, fold, loaded, _packed(log, fold, loaded))
        except EventStoreError as error:
            why = error.detail
        else:
            return
    logger.warning("snapshot_not_written", stream=stream, version=loaded.version, why=why)


def _packed(log: Log, fold: Fold[S], loaded: Loaded[S]) -> bytes:
    """The state as it is stored. It must come back as it was: a Counter of type `dict` would be a plain dict."""
    if fold.unfit is not None or loaded.untyped is not None:
        raise _not_kept(fold, fold.unfit or f"{loaded.untyped} is of no type that this store knows", loaded)
    try:
        packed = pack(fold, loaded.state)
    except ValueError as error:
        raise _not_kept(fold, str(error), loaded) from error
    limit = log.settings.max_event_bytes
    if len(packed) > limit:
        raise TooLarge("a snapshot's size in bytes", len(packed), limit, "max_event_bytes")
    return packed


def _not_kept(fold: Fold[S], why: str, loaded: Loaded[S]) -> InvalidRequest:
    if loaded.untyped is not None and fold.unfit is None:
        remedy = "give its Struct to `types`: a process that knows it may make another state of it"
    else:
        remedy = "give the state fields of exact types that msgspec knows, and say state_type=... if they are not told"
    return InvalidRequest(f"the state of {fold!r} cannot be kept in a snapshot: {why}", field="fold", remedy=remedy)


async def _write(log: Log, stream: str, fold: Fold[S], loaded: Loaded[S], packed: bytes) -> bytes:
    """What write_snapshot.lua answers. One that did not decode is replaced: it was not of a later version."""
    partition, keys = partition_of(stream, log.partitions), log.keys
    used = [keys.head(partition), keys.index(partition, stream), keys.snapshot(partition, stream)]
    args: list[str | bytes | int] = [fold.identity, loaded.version, loaded.epoch, loaded.position, packed]
    answer: bytes = (await ask(log, _write_snapshot, used, args))[0]
    return answer
