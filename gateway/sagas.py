"""Sagas as the ways in offer them: the operations of consumers/sagas, in the same JSON for all."""

from collections.abc import AsyncIterator
from typing import get_args

from msgspec import Struct

from consumers.sagas import operate
from consumers.sagas.listing import cursor_of
from consumers.sagas.listing import list_sagas as listed
from consumers.sagas.shape import Action, Answer, Moment, SagaRow, SagaShape, SagaStats
from consumers.sagas.show import get_saga as show_saga
from consumers.sagas.state import STATUSES, Status
from consumers.sagas.stats import saga_stats
from eventstore.store import EventStore
from gateway.errors import BadRequest
from gateway.moments import seconds_of

__all__ = [
    "Action",
    "Answer",
    "Moment",
    "SagaPage",
    "SagaRow",
    "SagaShape",
    "SagaStats",
    "WhichSagas",
    "abort_saga",
    "examine_saga",
    "list_sagas",
    "retry_saga",
    "saga_page",
    "saga_stats",
    "show_saga",
    "skip_saga_step",
    "which_sagas",
]
MOST_ON_A_PAGE = 1_000


class WhichSagas(Struct, frozen=True):
    """All that is given must hold; `prefix` is the beginning of a saga's name, such as `saga-ingestion-4`."""

    saga: str | None = None
    status: Status | None = None
    older_than_seconds: float | None = None
    prefix: str | None = None


class SagaPage(Struct, frozen=True):
    """`next` is the cursor of the next page; None at the end."""

    items: list[SagaRow]
    next: str | None


EVERY = WhichSagas()


def which_sagas(
    *,
    type: str | None = None,  # noqa: A002 - the word that every filter uses
    status: str | None = None,
    older_than: str | None = None,
    prefix: str | None = None,
) -> WhichSagas:
    """A filter of sagas; `older_than` is a duration. Raises BadRequest."""
    if status is not None and status not in get_args(Status):
        raise BadRequest(f"no saga is {status!r:.40}", field="status", remedy=f"one of {', '.join(STATUSES)}")
    seconds = None if older_than is None else seconds_of(older_than, field="older_than")
    return WhichSagas(type, status, seconds, prefix)  # type: ignore[arg-type] # looked at above


def list_sagas(
    store: EventStore, which: WhichSagas = EVERY, *, limit: int | None = None, cursor: str | None = None
) -> AsyncIterator[SagaRow]:
    """The newest first. Raises as `consumers.sagas.listing.list_sagas` does."""
    return listed(
        store,
        saga=which.saga,
        status=which.status,
        older_than_seconds=which.older_than_seconds,
        prefix=which.prefix,
        limit=limit,
        cursor=cursor,
    )


async def saga_page(
    store: EventStore, which: WhichSagas = EVERY, *, limit: int = 100, cursor: str | None = None
) -> SagaPage:
    """At most `limit` (up to 1,000) sagas, behind a cursor."""
    most = min(limit, MOST_ON_A_PAGE)
    found: list[SagaRow] = []
    async for row in list_sagas(store, which, limit=most + 1, cursor=cursor):
        if len(found) == most:
            return SagaPage(found, cursor_of(found[-1]))
        found.append(row)
    return SagaPage(found, None)


async def examine_saga(store: EventStore, saga_id: str, action: Action, step: str = "") -> SagaShape:
    """The saga, if this can be asked of it. Raises SagaNotFound, SagaState."""
    await operate.examine(store, saga_id, action, step)
    return await show_saga(store, saga_id)


async def retry_saga(store: EventStore, saga_id: str, *, who: str, why: str | None = None) -> Answer:
    """Has what it is stuck at, or waits to be tried again, tried now. Raises SagaNotFound, SagaState."""
    return await operate.retry(store, saga_id, who=who, why=why)


async def skip_saga_step(store: EventStore, saga_id: str, step: str, *, who: str, why: str) -> Answer:
    """Has a step, or a compensation, passed over. Raises SagaNotFound, SagaState; InvalidRequest without a reason."""
    return await operate.skip_step(store, saga_id, step, who=who, why=why)


async def abort_saga(store: EventStore, saga_id: str, *, who: str, why: str) -> Answer:
    """Has it go back. Raises SagaNotFound, SagaState; InvalidRequest without a reason."""
    return await operate.abort(store, saga_id, who=who, why=why)
