"""Dead letters as the ways in offer them: the operations of consumers/dead_letters.py, in the same JSON for all."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from consumers import dead_letters
from consumers.dead_letters import (
    LetterDetail,
    LetterPlan,
    LetterShape,
    LetterStats,
    Selected,
    Where,
    discard_selected,
    export_letters,
    list_letters,
    retry_selected,
    show_letter,
)
from consumers.dead_letters import plan as plan_letters
from consumers.dead_letters import stats as letter_stats
from consumers.letter_jobs import OnProgress
from consumers.state import OrderKind
from eventstore.store import EventStore
from gateway.moments import seconds_of

__all__ = [
    "Discarded",
    "LetterDetail",
    "LetterPage",
    "LetterPlan",
    "LetterShape",
    "LetterStats",
    "Retried",
    "Selected",
    "Where",
    "deal_with_letters",
    "discard_letters",
    "export_letters",
    "letter_page",
    "letter_stats",
    "list_letters",
    "plan_letters",
    "retry_letters",
    "show_letter",
    "where",
]
MOST_ON_A_PAGE = 1_000


class Retried(Struct, frozen=True):
    """`events` are those that are not handled yet, in the streams of what was retried. Without `has_worker` they wait
    until a member of the group runs."""

    retried: int
    events: int
    has_worker: bool


class Discarded(Struct, frozen=True):
    """`events` go on behind what was discarded."""

    discarded: int
    events: int
    has_worker: bool


class LetterPage(Struct, frozen=True):
    """`next` is the cursor of the next page; None at the end."""

    items: list[LetterShape]
    next: str | None


def where(
    *,
    error: str | None = None,
    type: str | None = None,  # noqa: A002 - the word that every filter uses
    category: str | None = None,
    prefix: str | None = None,
    older_than: str | None = None,
) -> Where:
    """A filter of letters; `older_than` is a duration. Raises BadRequest."""
    seconds = None if older_than is None else seconds_of(older_than, field="older_than")
    return Where(error, type, category, prefix, seconds)


async def letter_page(
    store: EventStore,
    group: str | None,
    where: Where,
    *,
    retrying: bool = False,
    limit: int = 100,
    cursor: str | None = None,
) -> LetterPage:
    """At most `limit` (up to 1,000) letters, behind a cursor."""
    most = min(limit, MOST_ON_A_PAGE)
    found: list[LetterShape] = []
    async for letter in list_letters(store, group, where, retrying=retrying, limit=most + 1, after=cursor):
        if len(found) == most:
            return LetterPage(found, dead_letters.cursor_of(found[-1]))
        found.append(letter)
    return LetterPage(found, None)


async def retry_letters(
    store: EventStore, group: str, streams: Sequence[str], *, who: str, why: str | None = None
) -> Retried:
    """Has them handled again. Raises as `dead_letters.retry` does."""
    done = await dead_letters.retry(store, group, streams, who=who, why=why)
    return Retried(done.done, done.events, done.by_holder)


async def discard_letters(
    store: EventStore,
    group: str,
    streams: Sequence[str],
    *,
    who: str,
    why: str,
    versions: Mapping[str, int] | None = None,
) -> Discarded:
    """Has them never handled. Raises as `dead_letters.discard` does."""
    done = await dead_letters.discard(store, group, streams, who=who, why=why, versions=versions)
    return Discarded(done.done, done.events - done.done, done.by_holder)


async def deal_with_letters(
    store: EventStore,
    action: OrderKind,
    group: str | None,
    where: Where,
    *,
    who: str,
    why: str | None,
    limit: int | None,
    rate: float | None,
    on_progress: OnProgress,
    stop_requested: Callable[[], bool],
) -> Selected:
    """Retries or discards a selection, as a job. Raises as `dead_letters.retry_selected` and `discard_selected` do."""
    deal = partial(retry_selected, why=why) if action == "retry" else partial(discard_selected, why=why or "")
    return await deal(
        store,
        group,
        where,
        who=who,
        limit=limit,
        rate=rate,
        on_progress=on_progress,
        stop_requested=stop_requested,
    )
