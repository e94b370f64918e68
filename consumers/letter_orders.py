"""Retries and discards letters of one group, so that the audit stream tells of everything.

    look      which versions fail now
    intend    an entry of the audit stream: who, what, why, and which letters
    rivals    whoever's entry came first and has no outcome yet is at it: then it is too late for this one
    order     the holder of the lease, or a short lease of one's own, carries it out (order_delivery.py)
    outcome   a second entry: what was done, what came too late, what had no answer

Of two orders that are sent at once, one wins: the audit stream has them in one order for all. The intention is written
first, so nothing is done that has no entry; whoever dies in between leaves an entry without an outcome, and is no rival
any more after RIVAL_SECONDS.
"""

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct

from consumers.errors import EventStoreError
from consumers.keys import group_keys
from consumers.letter_scan import letters_of
from consumers.letter_shape import Letter
from consumers.order_delivery import WAIT_SECONDS, Delivered, deliver
from consumers.state import Order, OrderKind
from eventstore import audit
from eventstore.store import EventStore
from infrastructure.tasks import together

RIVAL_SECONDS = WAIT_SECONDS + 15.0
OUTCOME = "-outcome"
INTENTS = ("dlq-retry", "dlq-discard")


class Dealt(Struct, frozen=True):
    """What became of some letters: `late` tells of a stream why it was too late. `by_holder`: a member that lives has
    all of their partitions, so what is to be retried is."""

    done: tuple[Letter, ...]
    late: dict[str, str]
    unanswered: tuple[Letter, ...]
    by_holder: bool


class _Intent(Struct, frozen=True):
    """An entry of the audit stream about a letter, below one's own."""

    who: str
    what: str
    version: int
    is_answered: bool

    def __str__(self) -> str:
        verb = {"dlq-retry": "retry", "dlq-discard": "discard"}[self.what]
        return f"{self.who} was first, to {verb} it (entry {self.version} of the audit stream)"


async def act(
    store: EventStore,
    kind: OrderKind,
    letters: Sequence[Letter],
    *,
    who: str,
    why: str | None,
    job: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> Dealt:
    """Of letters of one group. A job asks for no rivals, for one that has died would be its own: there the holder alone
    decides. Raises Unavailable, Overloaded, LogDamaged, and what an append to the audit stream raises."""
    facts: dict[str, Any] = {"group": letters[0].group, "letters": _named(letters)}
    facts |= {"job": job} if job else {}
    mine = await audit.record(store, who, f"dlq-{kind}", why, facts)
    outcome = {"group": letters[0].group, "of": mine.version, **({"job": job} if job else {})}
    try:
        late = {} if job else await _too_late(store, letters, mine.version, mine.recorded_at)
        dealt = await _ordered(store, kind, [each for each in letters if each.stream not in late], late, wait_seconds)
    except EventStoreError as error:
        with suppress(EventStoreError):  # most likely the server that could not be reached before
            await audit.record(store, who, f"dlq-{kind}{OUTCOME}", None, outcome | {"error": str(error)})
        raise
    told = {
        "done": _named(dealt.done),
        "late": [{"stream": stream, "why": text} for stream, text in dealt.late.items()],
        "unanswered": _named(dealt.unanswered),
    }
    outcome |= {name: value for name, value in told.items() if value}
    await audit.record(store, who, f"dlq-{kind}{OUTCOME}", None, outcome)
    return dealt


def _named(letters: Iterable[Letter]) -> list[dict[str, Any]]:
    return [{"stream": each.stream, "version": each.version} for each in letters]


# ---- who was first ----


async def _too_late(store: EventStore, letters: Sequence[Letter], version: int, now_us: int) -> dict[str, str]:
    """Streams that somebody else deals with, or has dealt with since they were looked at, and who."""
    intents = await _intents(store, letters, version, now_us)
    late = {stream: str(intent) for stream, intent in intents.items() if not intent.is_answered}
    for before, after in zip(letters, await look_again(store, letters), strict=True):
        if before.stream not in late and (after is None or (after.row, after.failure) != (before.row, before.failure)):
            late[before.stream] = str(intents.get(before.stream) or _moved_on(before, after))
    return late


async def _intents(store: EventStore, letters: Sequence[Letter], version: int, now_us: int) -> dict[str, _Intent]:
    """By stream, what others intended with these letters in the time in which they may be at it still."""
    wanted = {(each.stream, each.version) for each in letters}
    group = letters[0].group
    answered: set[int] = set()
    found: dict[str, _Intent] = {}
    if version == 1:
        return found
    async for event in audit.entries(store, from_version=version - 1, backwards=True):
        entry = event.data
        if event.recorded_at < now_us - RIVAL_SECONDS * 1e6:
            break
        if entry.what.endswith(OUTCOME):
            answered.add(entry.facts.get("of", 0))
        elif entry.what in INTENTS and entry.facts.get("group") == group:
            for each in entry.facts.get("letters", []):
                if (each["stream"], each["version"]) in wanted:
                    is_answered = event.version in answered
                    found[each["stream"]] = _Intent(entry.who, entry.what, event.version, is_answered)
    return found


async def look_again(store: EventStore, letters: Sequence[Letter]) -> list[Letter | None]:
    """The letters of the same streams as they are now; None where there is none any more."""
    group = letters[0].group
    by_partition: dict[int, list[str]] = {}
    for each in letters:
        by_partition.setdefault(each.partition, []).append(each.stream)
    pages = await together(
        [
            partial(letters_of, store.log, group_keys(store.log.keys, group, partition), streams)
            for partition, streams in by_partition.items()
        ]
    )
    now = {letter.stream: letter for page in pages for letter in page}
    return [now.get(each.stream) for each in letters]


def _moved_on(before: Letter, now: Letter | None) -> str:
    if now is None:
        return "it has been handled meanwhile"
    if now.row == before.row:
        return "another order about it was first"
    return f"it has been tried meanwhile, and is {'parked' if now.is_parked else 'retrying'} at version {now.version}"


# ---- the orders ----


async def _ordered(
    store: EventStore, kind: OrderKind, letters: Sequence[Letter], late: dict[str, str], wait_seconds: float
) -> Dealt:
    orders = {secrets.token_hex(8): each for each in letters}
    by_partition: dict[int, list[Order]] = {}
    for order_id, each in orders.items():
        by_partition.setdefault(each.partition, []).append(Order(order_id, kind, each.stream, each.version))
    delivered: list[Delivered] = await together(
        [
            partial(
                deliver, store.log, group_keys(store.log.keys, letters[0].group, p), each, wait_seconds=wait_seconds
            )
            for p, each in by_partition.items()
        ]
    )
    outcomes = {order_id: done for each in delivered for order_id, done in each.outcomes.items()}
    too_late = [letter for order_id, letter in orders.items() if outcomes.get(order_id) is False]
    if too_late:
        nows = await look_again(store, too_late)
        late = late | {each.stream: _moved_on(each, now) for each, now in zip(too_late, nows, strict=True)}
    return Dealt(
        done=tuple(letter for order_id, letter in orders.items() if outcomes.get(order_id)),
        late=late,
        unanswered=tuple(letter for order_id, letter in orders.items() if order_id not in outcomes),
        by_holder=all(each.by_holder for each in delivered),
    )
