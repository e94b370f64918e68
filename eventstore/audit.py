"""The audit stream: who changed what and why. Each entry holds the hash of the one before, from the first on.

An entry that is changed, taken out or put in later breaks the chain at its place. Who cuts off the end, or writes the
whole stream anew, is not found by the chain alone: keep a digest elsewhere to notice that.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventstore.envelope import Metadata, NewEvent, Receipt, RecordedEvent
from eventstore.epochs import LostEvents
from eventstore.errors import IdConflict, InvalidEvent, WrongExpectedVersion
from eventstore.event_types import event

if TYPE_CHECKING:
    from eventstore.store import EventStore

STREAM = "$audit"
BEGINNING = "0" * 64
"""What the first entry names as the digest before it."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@event(name="eventstore.AuditRecorded")
class AuditRecorded(Struct, frozen=True):
    """One entry. `digest` is the SHA-256 of `previous` (the digest of the entry before) and the content."""

    who: str
    what: str
    why: str | None
    facts: dict[str, Any]
    previous: str
    digest: str


class BrokenLink(Struct, frozen=True):
    """The first entry that does not follow from the one before."""

    version: int
    detail: str


async def record(
    store: "EventStore",
    who: str,
    what: str,
    why: str | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    id: UUID | None = None,  # noqa: A002 - the word that NewEvent and every envelope use
) -> Receipt:
    """Writes one entry behind the last. `facts` are what JSON can hold.

    With an `id` it is written once, however often and by whomever it is recorded: a repeat returns the first receipt,
    and looks through the whole stream for it. Raises InvalidEvent, and what an append raises: WrongExpectedVersion only
    if others were first each time, for as long as an append may take.
    """
    content = _Content(who, what, why, _plain(facts or {}))
    over_at = anyio.current_time() + store.log.settings.append_timeout_seconds
    seen = 0
    while True:
        found, last = await _look(store, id, above=seen)
        if found is not None:
            return await _again(store, found)
        version, previous = (last.version, _entry(last).digest) if last else (0, BEGINNING)
        try:
            return await _append(store, content, previous, version, id)
        except (WrongExpectedVersion, IdConflict) as error:  # another was first: look again
            if anyio.current_time() > over_at or (isinstance(error, IdConflict) and error.stream != STREAM):
                raise
        seen = version


async def record_lost(store: "EventStore", lost: LostEvents) -> Receipt:
    """The report of a reader that had read events which the log no longer has; the same report is one entry."""
    return await record(
        store,
        who=lost.observer or "a reader",
        what="LostEvents",
        why="the log lost events that had been read",
        facts={"partition": lost.partition, "epoch": lost.epoch, "first": lost.first, "last": lost.last},
        id=lost.id,
    )


async def entries(
    store: "EventStore", *, from_version: int | None = None, backwards: bool = False, limit: int | None = None
) -> AsyncIterator[RecordedEvent]:
    """The entries in order of version; their `data` is AuditRecorded. Raises InvalidEvent for what is none."""
    async for recorded in store.read(STREAM, from_version=from_version, backwards=backwards, limit=limit):
        yield replace(recorded, data=_entry(recorded))


async def check_chain(store: "EventStore") -> BrokenLink | None:
    """The first broken link, None if the chain is whole up to the version seen at the start."""
    chain = Chain()
    try:
        async for recorded in store.read(STREAM):
            if broken := chain.add(recorded.version, recorded.type, recorded.data):
                return broken
    except InvalidEvent as error:
        return BrokenLink(chain.version + 1, error.detail)
    return None


class Chain:
    """Follows the chain an entry at a time, in order."""

    def __init__(self) -> None:
        self.version = 0
        self._previous = BEGINNING

    def add(self, version: int, event_type: str, data: object) -> BrokenLink | None:
        """What is wrong with the link to this entry. The chain goes on from it in any case."""
        self.version = version
        try:
            entry = _as_entry(event_type, data)
        except msgspec.ValidationError as error:
            return BrokenLink(version, f"is no audit entry: {error}")
        previous, self._previous = self._previous, entry.digest
        if entry.digest != digest_of(entry.previous, entry.who, entry.what, entry.why, entry.facts):
            return BrokenLink(version, "was changed after it was written: its content does not give its digest")
        if entry.previous != previous:
            return BrokenLink(version, "does not name the digest of the entry before: one was taken out or put in")
        return None


def digest_of(previous: str, who: str, what: str, why: str | None, facts: Mapping[str, Any]) -> str:
    """SHA-256, as hex, of the digest before and the content as JSON: keys sorted, no spaces, UTF-8."""
    content = json.dumps([who, what, why, facts], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(bytes.fromhex(previous) + content.encode()).hexdigest()


class _Content(Struct, frozen=True):
    who: str
    what: str
    why: str | None
    facts: dict[str, Any]


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as they will be read back: the digest must not depend on what JSON cannot tell apart."""
    try:
        text = json.dumps(msgspec.to_builtins(dict(facts), str_keys=True), allow_nan=False, ensure_ascii=False)
        plain: dict[str, Any] = msgspec.json.decode(text.encode())
    except (TypeError, ValueError, RecursionError, NotImplementedError) as error:
        raise InvalidEvent(f"the facts of an audit entry cannot be written as JSON: {error}", field="facts") from error
    return plain


async def _look(
    store: "EventStore", wanted: UUID | None, *, above: int
) -> tuple[RecordedEvent | None, RecordedEvent | None]:
    """The entry with an id, if it is above a version, and the last entry. Without an id only the last is read."""
    last: RecordedEvent | None = None
    async for recorded in store.read(STREAM, backwards=True, limit=1 if wanted is None else None):
        last = last or recorded
        if recorded.version <= above:
            break
        if recorded.id == wanted:
            return recorded, last
    return None, last


async def _append(
    store: "EventStore", content: _Content, previous: str, version: int, event_id: UUID | None
) -> Receipt:
    who, what, why, facts = content.who, content.what, content.why, content.facts
    try:
        digest = digest_of(previous, who, what, why, facts)
    except UnicodeEncodeError as error:
        raise InvalidEvent(f"an audit entry is not valid UTF-8: {error}", field="what") from error
    new = NewEvent(data=AuditRecorded(who, what, why, facts, previous, digest), id=event_id)
    return await store.append_to(STREAM, [new], expected=version, metadata=Metadata(actor=who))


async def _again(store: "EventStore", recorded: RecordedEvent) -> Receipt:
    """Appends what is there already: the receipt, if it has reached the log's durability."""
    same = NewEvent(data=_entry(recorded), id=recorded.id)
    return await store.append_to(STREAM, [same], expected=recorded.version - 1)


def _entry(recorded: RecordedEvent) -> AuditRecorded:
    try:
        return _as_entry(recorded.type, recorded.data)
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"version {recorded.version} of {STREAM} is no audit entry: {error}") from error


def _as_entry(event_type: str, data: object) -> AuditRecorded:
    """A process that has not written one yet knows the type by this file only, and reads a dict."""
    if event_type != "eventstore.AuditRecorded":
        raise msgspec.ValidationError(f"its type is {event_type}")
    entry = data if isinstance(data, AuditRecorded) else msgspec.convert(data, AuditRecorded)
    if not (_SHA256.fullmatch(entry.previous) and _SHA256.fullmatch(entry.digest)):
        raise msgspec.ValidationError("a digest is not 64 hex digits")
    return entry
