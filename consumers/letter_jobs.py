"""Retries or discards a selection of letters: first a plan, then a job.

The job goes through the groups, partition by partition, and deals with each letter of the selection that it finds
there once, in batches whose orders are carried out together. Where it is interrupted, in whatever way, each letter is
either dealt with or listed as before: the same command goes on with what is left.
"""

from collections.abc import AsyncIterator, Callable

import anyio
from msgspec import Struct

from consumers.errors import InvalidRequest, OrderUnanswered
from consumers.letter_orders import act
from consumers.letter_scan import groups_of, scan
from consumers.letter_shape import Letter, Where
from consumers.membership import Members
from consumers.order_delivery import WAIT_SECONDS
from consumers.state import OrderKind
from eventstore.jobs import JobCancelled, RunningJob, running
from eventstore.store import EventStore

BATCH = 100
BATCHES_PER_SECOND = 4  # of a job with a rate, at most
OnProgress = Callable[[int, int | None], None]
"""Told (done, total): letters."""


class PlanRow(Struct, frozen=True):
    """Letters of a group that fail by one error, and the events that are not handled because of them, they included."""

    group: str
    error: str
    letters: int
    events: int


class LetterPlan(Struct, frozen=True):
    """What would be done now. `members` is how many run of each group; without any, what is retried waits for one."""

    action: OrderKind
    letters: int
    events: int
    seconds: float | None
    rows: tuple[PlanRow, ...]
    members: dict[str, int]


class Selected(Struct, frozen=True):
    """What a job did: `late` letters were dealt with by somebody else, or handled, just before."""

    job: str
    action: OrderKind
    done: int
    late: int
    events: int
    by_holder: bool


async def plan(
    store: EventStore,
    action: OrderKind,
    group: str | None = None,
    where: Where | None = None,
    *,
    limit: int | None = None,
    rate: float | None = None,
) -> LetterPlan:
    """Which letters a job would deal with, the first `limit` of them. Nothing is changed. Raises GroupNotFound,
    Unavailable, LogDamaged."""
    _check(limit, rate)
    sums: dict[tuple[str, str], list[int]] = {}
    left = limit
    groups = await groups_of(store.log, group)
    async for page in scan(store.log, groups, where or Where()):
        for letter in page[:left]:
            row = sums.setdefault((letter.group, letter.error), [0, 0])
            row[0] += 1
            row[1] += 1 + letter.waiting
        left = None if left is None else left - len(page[:left])
        if left == 0:
            break
    rows = [PlanRow(name, error, *counted) for (name, error), counted in sums.items()]
    letters = sum(row.letters for row in rows)
    concerned = dict.fromkeys(row.group for row in rows)
    return LetterPlan(
        action,
        letters,
        sum(row.events for row in rows),
        None if rate is None else letters / rate,
        tuple(sorted(rows, key=lambda row: (row.group, -row.letters, row.error))),
        {name: len(await Members(store.log, name).live()) for name in concerned},
    )


async def retry_selected(
    store: EventStore,
    group: str | None = None,
    where: Where | None = None,
    *,
    who: str,
    why: str | None = None,
    limit: int | None = None,
    rate: float | None = None,
    wait_seconds: float = WAIT_SECONDS,
    on_progress: OnProgress | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Selected:
    """Retries the letters of a group, or of all groups, that match, the first `limit` of them, `rate` letters in a
    second. It is a job: others see and cancel it. Raises JobCancelled at a safe point, OrderUnanswered if a holder does
    not answer, and what `plan` raises; in each case the same call goes on with what is left."""
    selection = _Selection("retry", group, where or Where(), limit, rate, wait_seconds)
    return await _run(store, selection, who, why, on_progress, stop_requested)


async def discard_selected(
    store: EventStore,
    group: str | None = None,
    where: Where | None = None,
    *,
    who: str,
    why: str,
    limit: int | None = None,
    rate: float | None = None,
    wait_seconds: float = WAIT_SECONDS,
    on_progress: OnProgress | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Selected:
    """Discards them, as `retry_selected` retries. Raises InvalidRequest without a reason."""
    check_reason(why)
    selection = _Selection("discard", group, where or Where(), limit, rate, wait_seconds)
    return await _run(store, selection, who, why, on_progress, stop_requested)


def check_reason(why: str | None) -> None:
    """Raises InvalidRequest if there is none."""
    if not why or not why.strip():
        raise InvalidRequest(
            "to discard needs a reason", field="reason", remedy="say why, for those who look for the event later"
        )


class _Selection(Struct, frozen=True):
    action: OrderKind
    group: str | None
    where: Where
    limit: int | None
    rate: float | None
    wait_seconds: float

    @property
    def batch(self) -> int:
        """Small ones for a slow rate, so that it is even."""
        return BATCH if self.rate is None else max(1, min(BATCH, int(self.rate / BATCHES_PER_SECOND)))


async def _run(
    store: EventStore,
    selection: _Selection,
    who: str,
    why: str | None,
    on_progress: OnProgress | None,
    stop_requested: Callable[[], bool] | None,
) -> Selected:
    wanted = await plan(
        store, selection.action, selection.group, selection.where, limit=selection.limit, rate=selection.rate
    )
    async with running(store, f"dlq-{selection.action}", who, why, total=wanted.letters) as job:
        work = _Work(store, selection, job, who, why)
        async for letters in _batches(store, selection):
            if on_progress:
                on_progress(work.dealt, max(wanted.letters, work.dealt))
            if stop_requested and stop_requested():
                raise JobCancelled(
                    f"stopped after {work.dealt:,} of {wanted.letters:,} letters",
                    remedy="the same command goes on with what is left",
                    facts={"job": job.id, "done": work.dealt, "letters": wanted.letters},
                )
            await work.do(letters)
        return Selected(job.id, selection.action, work.done, work.late, work.events, work.by_holder)


async def _batches(store: EventStore, selection: _Selection) -> AsyncIterator[list[Letter]]:
    """The selection in batches of one group and partition, up to its limit."""
    left = selection.limit
    groups = await groups_of(store.log, selection.group)
    async for page in scan(store.log, groups, selection.where):
        chosen = page[:left]
        for i in range(0, len(chosen), selection.batch):
            yield chosen[i : i + selection.batch]
        left = None if left is None else left - len(chosen)
        if left == 0:
            return


class _Work:
    """A job under way."""

    def __init__(self, store: EventStore, selection: _Selection, job: RunningJob, who: str, why: str | None) -> None:
        self.done = self.late = self.events = 0
        self.by_holder = True
        self._store, self._selection, self._job = store, selection, job
        self._who, self._why = who, why
        self._began_at = anyio.current_time()

    @property
    def dealt(self) -> int:
        return self.done + self.late

    async def do(self, letters: list[Letter]) -> None:
        selection = self._selection
        if selection.rate is not None:
            await anyio.sleep_until(self._began_at + self.dealt / selection.rate)
        await self._job.progress(self.dealt)
        dealt = await act(
            self._store,
            selection.action,
            letters,
            who=self._who,
            why=self._why,
            job=self._job.id,
            wait_seconds=selection.wait_seconds,
        )
        self.done += len(dealt.done)
        self.late += len(dealt.late)
        self.events += sum(1 + each.waiting for each in dealt.done)
        self.by_holder = self.by_holder and dealt.by_holder
        self._job.done = self.dealt
        if dealt.unanswered:
            raise OrderUnanswered(letters[0].group, [each.stream for each in dealt.unanswered], selection.wait_seconds)


def _check(limit: int | None, rate: float | None) -> None:
    if limit is not None and limit < 1:
        raise InvalidRequest(f"limit is {limit}", field="limit", remedy="a whole number from 1")
    if rate is not None and not rate > 0:
        raise InvalidRequest(f"rate is {rate}", field="rate", remedy="letters per second, such as 20")
