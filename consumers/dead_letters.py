"""Dead letters as operators see and deal with them.

A letter is a version of a stream that fails in a group: at most one of a stream, for the rest of the stream waits
behind it. Nothing is copied. It is named by group and stream; whoever acts on it names the version that was looked at,
so that never another one is meant. Everything that is changed is told in the audit stream (letter_orders.py), and a
selection is dealt with by a job (letter_jobs.py).

    retry     the handler is called again, at once, with all its attempts; then what waits behind
    discard   this version is never handled by the group; the stream goes on behind it; it stays in the log
"""

from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from consumers.errors import DeadLetterNotFound, InvalidRequest, OrderUnanswered
from consumers.keys import group_keys
from consumers.letter_jobs import LetterPlan, PlanRow, Selected, check_reason, discard_selected, plan, retry_selected
from consumers.letter_orders import Dealt, act
from consumers.letter_scan import LetterPlace, groups_of, letters_of, scan
from consumers.letter_shape import Letter, LetterDetail, LetterShape, LetterStats, Share, Where
from consumers.letter_stats import stats
from consumers.order_delivery import WAIT_SECONDS
from consumers.state import OrderKind
from eventstore.codec import Entry
from eventstore.errors import InvalidEvent
from eventstore.jobs import WrongState
from eventstore.log import Log
from eventstore.names import stream_name
from eventstore.partitions import partition_of
from eventstore.read import stream_pages
from eventstore.store import EventStore
from eventstore.wire import Envelope, encode, envelope

__all__ = [
    "Acted",
    "LetterDetail",
    "LetterPlan",
    "LetterShape",
    "LetterStats",
    "PlanRow",
    "Selected",
    "Share",
    "Where",
    "cursor_of",
    "discard",
    "discard_selected",
    "export_letters",
    "list_letters",
    "plan",
    "retry",
    "retry_selected",
    "show_letter",
    "stats",
]
EVENTS_SHOWN = 20
NO_LIMITS = Where()


class Acted(Struct, frozen=True):
    """So many letters were retried or discarded; `events` are those of their streams that are not handled yet, they
    themselves included. `by_holder`: members run that have all of them; without, they wait until one starts."""

    done: int
    events: int
    by_holder: bool


async def list_letters(
    store: EventStore,
    group: str | None = None,
    where: Where = NO_LIMITS,
    *,
    retrying: bool = False,
    limit: int | None = None,
    after: str | None = None,
) -> AsyncIterator[LetterShape]:
    """The parked letters of a group, or of all, each once, in order of group, partition and stream; with `retrying`
    also the streams that wait for their next attempt. `after` is a `cursor_of` one, and goes on behind it. Read in
    pages, so memory does not depend on their number. Raises GroupNotFound, InvalidRequest, Unavailable, LogDamaged."""
    place = None if after is None else LetterPlace.parse(after)
    groups = await groups_of(store.log, group)
    left = limit
    async for page in scan(store.log, groups, where, retrying=retrying, after=place):
        for letter in page:
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield letter.shape()


def cursor_of(letter: LetterShape) -> str:
    """A text to go on behind this letter, also after a restart of whatever."""
    return str(LetterPlace(letter.group, letter.partition, letter.stream))


async def show_letter(
    store: EventStore, group: str, stream: str, *, from_version: int | None = None, limit: int = EVENTS_SHOWN
) -> LetterDetail:
    """A letter, parked or retrying, with at most `limit` of the events of its stream from its own version on, or from
    a later one. Raises DeadLetterNotFound, GroupNotFound, InvalidRequest, Unavailable, LogDamaged."""
    letter = (await _found(store, group, [stream], tracebacks=True))[0]
    first = max(letter.version, from_version or 0)
    pages = stream_pages(store.log, stream, first, limit=limit)
    return letter.detail(tuple([_shown(store.log, entry) async for page in pages for entry in page]))


async def export_letters(
    store: EventStore, group: str | None = None, where: Where = NO_LIMITS, *, retrying: bool = False
) -> AsyncIterator[bytes]:
    """Each letter as a line of NDJSON: `event` is the envelope of the event itself, `failure` why it fails, with the
    traceback. In the order of `list_letters`; raises as it does."""
    groups = await groups_of(store.log, group)
    async for page in scan(store.log, groups, where, retrying=retrying, tracebacks=True):
        for letter in page:
            async for entries in stream_pages(store.log, letter.stream, letter.version, limit=1):
                event = _shown(store.log, entries[0])
                failure = msgspec.structs.asdict(letter.detail(()))
                del failure["events"]
                yield encode({"event": event, "failure": failure}) + b"\n"


def _shown(log: Log, entry: Entry) -> Envelope:
    """The event as it is read here; as it is stored, if it is because it cannot be read that it fails."""
    try:
        return envelope(log.recorded(entry))
    except InvalidEvent:
        stored = msgspec.structs.replace(entry, data=msgspec.json.decode(entry.data))
        return envelope(stored)  # type: ignore[arg-type] # has all that an envelope is made of


async def retry(
    store: EventStore,
    group: str,
    streams: Sequence[str],
    *,
    who: str,
    why: str | None = None,
    versions: Mapping[str, int] | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Acted:
    """Has the letters of these streams handled again, now; all their attempts are theirs again. It waits until the
    orders are carried out, not for the handlers. `versions` are those that were looked at, if they were.

    Raises DeadLetterNotFound, GroupNotFound and WrongState (another version fails by now) before anything is changed;
    WrongState, naming who won, if somebody was faster, when all the others are retried; OrderUnanswered if a holder
    does not answer; Unavailable, LogDamaged."""
    return await _act(store, "retry", group, streams, who, why, versions, wait_seconds)


async def discard(
    store: EventStore,
    group: str,
    streams: Sequence[str],
    *,
    who: str,
    why: str,
    versions: Mapping[str, int] | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Acted:
    """Has the group pass over the letters of these streams for ever, and go on behind them. This cannot be taken back,
    and needs a reason. Raises as `retry` does, and InvalidRequest without a reason."""
    check_reason(why)
    return await _act(store, "discard", group, streams, who, why, versions, wait_seconds)


async def _act(
    store: EventStore,
    kind: OrderKind,
    group: str,
    streams: Sequence[str],
    who: str,
    why: str | None,
    versions: Mapping[str, int] | None,
    wait_seconds: float,
) -> Acted:
    letters = await _found(store, group, streams)
    _check_versions(letters, versions or {})
    dealt = await act(store, kind, letters, who=who, why=why, wait_seconds=wait_seconds)
    if dealt.late:
        raise _too_late(group, dealt)
    if dealt.unanswered:
        raise OrderUnanswered(group, [each.stream for each in dealt.unanswered], wait_seconds)
    return Acted(len(dealt.done), sum(1 + each.waiting for each in dealt.done), dealt.by_holder)


async def _found(store: EventStore, group: str, streams: Sequence[str], *, tracebacks: bool = False) -> list[Letter]:
    await groups_of(store.log, group)
    if not streams or isinstance(streams, str):
        raise InvalidRequest("no stream is named", field="streams", remedy='["order-42"]')
    found = []
    for stream in dict.fromkeys(map(stream_name, streams)):
        keys = group_keys(store.log.keys, group, partition_of(stream, store.log.partitions))
        letters = await letters_of(store.log, keys, [stream], tracebacks=tracebacks)
        if not letters:
            raise DeadLetterNotFound(group, stream)
        found += letters
    return found


def _check_versions(letters: Sequence[Letter], versions: Mapping[str, int]) -> None:
    for letter in letters:
        seen = versions.get(letter.stream, letter.version)
        if seen != letter.version:
            raise WrongState(
                f"{letter.stream} has moved on in {letter.group}: version {letter.version} fails by now, not {seen}",
                field="version",
                remedy=f"eventstore dlq show {letter.group} {letter.stream}, then decide again",
                facts={"group": letter.group, "stream": letter.stream, "version": letter.version},
            )


def _too_late(group: str, dealt: Dealt) -> WrongState:
    streams = list(dealt.late)
    first = f"too late for {streams[0]}: {dealt.late[streams[0]]}"
    more = f", and for {len(streams) - 1} more" if len(streams) > 1 else ""
    others = f"; {len(dealt.done)} others are done" if dealt.done else ""
    return WrongState(
        f"{first}{more}{others}",
        field="stream",
        remedy=f"eventstore dlq show {group} {streams[0]}; eventstore audit",
        facts={
            "group": group,
            "late": dealt.late,
            "done": [each.stream for each in dealt.done],
            "unanswered": [each.stream for each in dealt.unanswered],
        },
    )
