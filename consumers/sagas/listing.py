"""The list of sagas: from the index, the newest first, in pages."""

import binascii
import heapq
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import get_args

import msgspec
from msgspec import Struct

from consumers.sagas.errors import SagaNotFound
from consumers.sagas.find import Indexed, Parked, Place, parked_of, saga_types
from consumers.sagas.history import history
from consumers.sagas.shape import SagaRow
from consumers.sagas.show import kind_of, why_parked
from consumers.sagas.state import STATUSES, Status
from eventstore.errors import InvalidRequest
from eventstore.log import Log
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from infrastructure.patience import replies
from infrastructure.tasks import together


async def list_sagas(
    store: EventStore,
    *,
    saga: str | None = None,
    status: Status | None = None,
    older_than_seconds: float | None = None,
    prefix: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> AsyncIterator[SagaRow]:
    """The sagas of a type, or of all, each once, the newest first: by when they began; those that have ended by when
    they did. All that is given must hold: the status, which is `stuck` also if the stream is parked; so many seconds
    since then; the beginning of its name. `cursor` is a `cursor_of` one, and goes on behind it.

    It is as new as the group is that follows the sagas (`saga_stats` tells how far it is behind), and read in pages, so
    memory does not depend on the number of sagas. Raises GroupNotFound if no worker has run sagas of that type,
    InvalidRequest, Unavailable, LogDamaged."""
    if status is not None and status not in get_args(Status):
        raise InvalidRequest(f"no saga is {status!r:.40}", field="status", remedy=f"one of {', '.join(STATUSES)}")
    below = None if cursor is None else _place(cursor)
    kinds = [kind for kind in await saga_types(store.log, saga) if _may_match(kind, prefix)]
    newest = float("inf") if older_than_seconds is None else await _now_ms(store.log) - older_than_seconds * 1_000
    left = limit
    async for place, found in _merged(store.log, kinds, status, newest, below):
        if prefix is not None and not place[1].startswith(prefix):
            continue
        if left is not None:
            if left <= 0:
                return
            left -= 1
        yield await _row(store.log, place, found)


def cursor_of(row: SagaRow) -> str:
    """A text to go on behind this saga, also after a restart of whatever."""
    at = datetime.fromisoformat(row.ended_at or row.started_at or row.received_at or rfc3339(0))
    place = (round(at.timestamp() * 1_000), row.id)
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place(cursor: str) -> Place:
    try:
        place: Place = _decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        remedy = "one that a page has as its next"
        raise InvalidRequest(f"the cursor {cursor[:60]!r} cannot be used", field="cursor", remedy=remedy) from error
    return place


_decode = msgspec.json.Decoder(Place).decode


def _may_match(saga: str, prefix: str | None) -> bool:
    beginning = f"saga-{saga}-"
    return prefix is None or beginning.startswith(prefix) or prefix.startswith(beginning)


# ---- all sources in one order ----


async def _merged(
    log: Log, kinds: Sequence[str], status: Status | None, newest_ms: float, below: Place | None
) -> AsyncIterator[tuple[Place, "Indexed | Parked"]]:
    """Each saga once: a parked one as such, and not as what the index says of it."""
    parts = [(kind, partition) for kind in kinds for partition in range(log.partitions)]
    pages = await together([partial(parked_of, log, *part) for part in parts])
    parked = {each.stream: each for page in pages for each in page}
    stuck = [each for each in parked.values() if status in (None, "stuck") and each.place[0] <= newest_ms]
    waiting = sorted((each for each in stuck if below is None or each.place < below), key=lambda each: each.place)
    statuses = STATUSES if status is None else (status,)
    sources = [Indexed(log, *part, each, below) for part in parts for each in statuses]
    heap = [_Next(each.place, each) for each in waiting]
    heap += [_Next(place, source) for source, place in await _firsts(sources, newest_ms) if place is not None]
    heapq.heapify(heap)
    last: Place | None = None
    while heap:
        place, source = (head := heapq.heappop(heap)).place, head.source
        if place != last and (isinstance(source, Parked) or place[1] not in parked):
            yield place, source
        last = place
        if isinstance(source, Indexed):
            source.take()
            following = await source.first(newest_ms)
            if following is not None:
                heapq.heappush(heap, _Next(following, source))


class _Next(Struct, eq=False):
    """The newest is the least."""

    place: Place
    source: Indexed | Parked

    def __lt__(self, other: "_Next") -> bool:
        return self.place > other.place


async def _firsts(sources: Sequence[Indexed], newest_ms: float) -> list[tuple[Indexed, Place | None]]:
    places = await together([partial(each.first, newest_ms) for each in sources])
    return list(zip(sources, places, strict=True))


async def _now_ms(log: Log) -> float:
    """By the server's clock, which the times of the index are of."""
    ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
    return int(seconds) * 1_000 + int(microseconds) / 1_000


# ---- rows ----


async def _row(log: Log, place: Place, found: "Indexed | Parked") -> SagaRow:
    at, stream = rfc3339(place[0] * 1_000), place[1]
    if isinstance(found, Parked):
        state = found.found.state
        begun = {"started_at" if state.started_at else "received_at": at}
        told = why_parked(found.letter)
        return SagaRow(stream, kind_of(stream), "stuck", step=state.stuck_at or None, why=told, **begun)
    match found.status:
        case "unstarted":
            return SagaRow(stream, found.saga, found.status, received_at=at)
        case "completed" | "compensated":
            return SagaRow(stream, found.saga, found.status, ended_at=at)
        case "stuck":
            step, why = await _stuck(log, stream)
            return SagaRow(stream, found.saga, found.status, started_at=at, step=step, why=why)
    return SagaRow(stream, found.saga, found.status, started_at=at)


async def _stuck(log: Log, stream: str) -> tuple[str | None, str | None]:
    """Where, and why: that stands in its stream alone."""
    try:
        state = (await history(log, stream)).state
    except SagaNotFound:  # a failover has lost it, and the index knows nothing of that yet
        return None, None
    return state.stuck_at or None, state.why or None
