"""Sagas as operators see them and deal with them, on real servers, without their definition."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers import (
    Complete,
    Fixed,
    GroupNotFound,
    Immediate,
    Saga,
    SagaNotFound,
    SagaState,
    StepContext,
    Timer,
    dead_letters,
    on,
    start,
)
from consumers.consumer import group
from consumers.sagas import groups
from consumers.sagas.listing import cursor_of, list_sagas
from consumers.sagas.operate import abort, retry, skip_step
from consumers.sagas.shape import SagaRow, SagaShape
from consumers.sagas.show import get_saga
from consumers.sagas.stats import saga_stats
from eventstore import EventStore, InvalidRequest, LogDamaged
from tests.support.kinds_of_server import place_fixture, placed_store_fixture
from tests.support.letters import audited
from tests.support.running import running
from tests.support.sagas import until_listed
from tests.support.servers import tries

pytestmark = pytest.mark.anyio
place = place_fixture("redis 7.0", "cluster")
store = placed_store_fixture(types=[])


class Ingestion(Struct, frozen=True):
    source: str
    pages: int = 0


class Approved(Struct, frozen=True):
    source: str


class Failing(Exception):
    """No room."""


class Works:
    """Actions that fail until they are mended."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.calls: list[str] = []

    async def do(self, data: Ingestion, ctx: StepContext) -> None:
        name = f"{'undo ' if ctx.undo else ''}{ctx.step}"
        self.calls.append(name)
        if name in self.fails:
            raise Failing(f"no room for {name}")


def three_steps(works: Works) -> Saga:
    """fetch and store can go back; report only goes forward."""
    return (
        Saga("ingestion", data=Ingestion)
        .step("fetch", works.do, compensate=works.do, retry_compensation=Immediate(2))
        .step("store", works.do, compensate=works.do, retry=Immediate(2))
        .step("report", works.do, kind="retriable", retry=Immediate(1))
    )


async def rows(store: EventStore, **options: Any) -> list[SagaRow]:
    return [row async for row in list_sagas(store, **options)]


async def shown(store: EventStore, stream: str, condition: Callable[[SagaShape], bool]) -> SagaShape:
    """The saga, when it is so."""
    async for _ in tries():
        with suppress(SagaNotFound):
            found = await get_saga(store, stream)
            if condition(found):
                return found
    raise AssertionError


async def test_sagas_are_listed_the_newest_first_by_status_age_and_name_and_page_by_page(store: EventStore) -> None:
    works = Works()
    saga = three_steps(works)
    async with running(store, saga):
        for number in range(7):
            await start(store, saga, f"a{number}", Ingestion("docs"))
        await until_listed(store, saga, {"completed": [f"a{number}" for number in range(7)]})
        works.fails = {"store", "undo fetch"}
        await start(store, saga, "b1", Ingestion("docs"))
        await start(store, saga, "b2", Ingestion("docs"))
        await until_listed(
            store, saga, {"completed": [f"a{n}" for n in range(7)], "stuck": ["b1", "b2"], "live": ["b1", "b2"]}
        )
    every = await rows(store)
    assert len({row.id for row in every}) == len(every) == 9
    times = [row.ended_at or row.started_at or "" for row in every]
    assert times == sorted(times, reverse=True)
    stuck = await rows(store, status="stuck")
    assert {row.id for row in stuck} == {"saga-ingestion-b1", "saga-ingestion-b2"}
    told = "compensation of fetch failed: Failing: no room for undo fetch"
    assert {(row.step, row.why, row.ended_at) for row in stuck} == {("fetch", told, None)}
    assert len(await rows(store, saga="ingestion", prefix="saga-ingestion-a")) == 7
    assert await rows(store, prefix="saga-other") == []
    assert await rows(store, older_than_seconds=3600) == []
    assert len(await rows(store, older_than_seconds=0)) == 9
    paged: list[SagaRow] = []
    while page := await rows(store, limit=2, cursor=cursor_of(paged[-1]) if paged else None):
        paged += page
    assert paged == every
    with pytest.raises(GroupNotFound, match="no worker has run sagas of type ingestoin yet, did you mean ingestion"):
        await rows(store, saga="ingestoin")
    with pytest.raises(InvalidRequest, match="cannot be used"):
        await rows(store, cursor="nonsense")


async def test_a_saga_is_shown_with_its_steps_its_timeline_and_where_it_is_stuck(store: EventStore) -> None:
    works = Works()
    works.fails = {"store", "undo fetch"}
    saga = three_steps(works)
    await start(store, saga, "42", Ingestion("docs"), correlation_id="c-1")
    async with running(store, saga):
        await until_listed(store, saga, {"stuck": ["42"], "live": ["42"]})
        found = await get_saga(store, "saga-ingestion-42")
    assert (found.id, found.type, found.version, found.status) == ("saga-ingestion-42", "ingestion", 1, "stuck")
    assert (found.step, found.correlation_id, found.workers) == ("fetch", "c-1", 1)
    assert (found.input, found.data) == ({"source": "docs", "pages": 0}, {"source": "docs", "pages": 0})
    assert (found.actions, found.asked, found.letter) == (("retry", "skip-step"), (), None)
    fetch, store_step = found.steps
    assert (fetch.name, fetch.status, fetch.attempts) == ("fetch", "succeeded", 1)
    assert fetch.compensation is not None
    assert (fetch.compensation.status, fetch.compensation.attempts) == ("failed", 2)
    assert store_step.error is not None
    assert (store_step.status, store_step.error.message) == ("failed", "no room for store")
    lines = [(each.what, each.status, each.attempts, each.is_stuck) for each in found.timeline]
    assert lines == [
        ("saga", "started", None, False),
        ("fetch", "succeeded", 1, False),
        ("store", "failed", 2, False),
        ("saga", "compensating", None, False),
        ("compensate fetch", "failed", 2, True),
    ]
    assert all(each.seconds is not None for each in found.timeline if each.attempts)
    for name in ("saga-ingestion-43", "order-1"):
        with pytest.raises(SagaNotFound):
            await get_saga(store, name)


async def test_events_and_timers_stand_in_the_timeline_with_what_became_of_them(store: EventStore) -> None:
    @on(Approved, correlate=lambda event: event.source)
    def approved(data: Ingestion, event: Approved) -> Any:
        if data.pages:
            return [Complete()]
        return [replace(data, pages=1), Timer("overdue", after="1h"), Timer("soon", after=0.05)]

    @on(Timer("soon"))
    def soon(data: Ingestion) -> None:
        return None

    @on(Timer("overdue"))
    def overdue(data: Ingestion) -> Complete:
        return Complete()

    saga = Saga("approval", data=Ingestion, reactions=[approved, soon, overdue])
    await store.append("source-1", [Approved("docs")])
    async with running(store, saga):
        early = await shown(store, "saga-approval-docs", lambda found: True)
        assert (early.status, early.version, early.actions) == ("unstarted", None, ())
        assert [each.what for each in early.inputs] == ["event Approved"]
        await until_listed(store, saga, {"unstarted": ["docs"]})
        (row,) = await rows(store)
        assert (row.status, row.received_at is not None, row.started_at) == ("unstarted", True, None)
        with pytest.raises(SagaState, match="nothing has started saga-approval-docs yet"):
            await abort(store, "saga-approval-docs", who="ada", why="a test")
        await start(store, saga, "docs", Ingestion("docs"))
        waiting = await shown(
            store, "saga-approval-docs", lambda found: any(each.status == "fired" for each in found.timeline)
        )
        assert [(each.name, each.what) for each in waiting.timers] == [("overdue", "timer overdue")]
        await store.append("source-1", [Approved("docs"), Approved("docs")])
        done = await shown(store, "saga-approval-docs", lambda found: len(found.timeline) == 7)
    assert [(each.what, each.status) for each in done.timeline] == [
        ("event Approved", "taken"),
        ("saga", "started"),
        ("timer overdue", "cancelled"),
        ("timer soon", "fired"),
        ("event Approved", "taken"),
        ("saga", "completed"),
        ("event Approved", "ignored"),
    ]
    assert done.timeline[-1].why == "the saga is completed"
    assert (done.timers, done.actions) == ((), ())


async def test_figures_tell_of_all_types_and_of_each(store: EventStore) -> None:
    works = Works()
    saga = three_steps(works)

    @on(Approved, correlate=lambda event: None)
    def approved(data: Ingestion, event: Approved) -> None:
        return None

    other = Saga("other", data=Ingestion, reactions=[approved]).step("only", works.do, retry=Fixed("1h", immediate=1))
    await store.append("source-1", [Approved("a"), Approved("b")])
    async with running(store, saga, other):
        for number in range(3):
            await start(store, saga, f"a{number}", Ingestion("docs"))
        await until_listed(store, saga, {"completed": ["a0", "a1", "a2"]})
        works.fails = {"store", "only"}
        await start(store, saga, "b", Ingestion("docs"))
        await until_listed(store, saga, {"completed": ["a0", "a1", "a2"], "compensated": ["b"]})
        await start(store, other, "c", Ingestion("docs"))
        await until_listed(store, other, {"running": ["c"], "live": ["c"]})
        async for _ in tries():
            found = await saga_stats(store)
            if found.by_type["other"].unrouted and not found.by_type["ingestion"].behind:
                break
    assert (found.running, found.completed, found.compensated, found.stuck) == (1, 3, 1, 0)
    assert (found.completion_rate, list(found.by_type)) == (0.75, ["ingestion", "other"])
    assert found.oldest_running_seconds is not None
    assert found.oldest_stuck_seconds is None
    assert (found.by_type["ingestion"].completion_rate, found.by_type["other"].completion_rate) == (0.75, None)
    assert (found.by_type["other"].unrouted, found.by_type["other"].workers) == ({"Approved": 2}, 1)
    assert (await saga_stats(store, "other")).completed == 0


async def test_what_is_stuck_goes_on_when_it_is_retried_by_the_worker_that_runs(store: EventStore) -> None:
    works = Works()
    works.fails = {"report"}
    saga = three_steps(works)
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"stuck": ["1"], "live": ["1"]})
        works.fails.clear()
        answer = await retry(store, "saga-ingestion-1", who="ada", why="there is room now")
        assert (answer.outcome, answer.workers, answer.action) == ("done", 1, "retry")
        await until_listed(store, saga, {"completed": ["1"]})
    assert works.calls == ["fetch", "store", "report", "report"]
    entries = await audited(store, "saga-retry", "saga-retry-outcome")
    (who, what, why, facts), (_, _, _, outcome) = entries
    assert (who, what, why, facts) == ("ada", "saga-retry", "there is room now", {"saga": "saga-ingestion-1"})
    assert (outcome["of"], outcome["outcome"]) == (1, "done")
    found = await get_saga(store, "saga-ingestion-1")
    request = next(each for each in found.timeline if each.what == "retry")
    assert (request.status, request.why) == ("done", "by ada: there is room now")
    with pytest.raises(SagaState, match="saga-ingestion-1 is completed"):
        await retry(store, "saga-ingestion-1", who="ada")


async def test_without_a_worker_a_request_is_recorded_once_and_the_next_worker_carries_it_out(
    store: EventStore,
) -> None:
    works = Works()
    works.fails = {"report"}
    saga = three_steps(works)
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"stuck": ["1"], "live": ["1"]})
    works.fails.clear()
    for _ in range(2):
        answer = await retry(store, "saga-ingestion-1", who="ada")
        assert (answer.outcome, answer.status, answer.workers) == ("recorded", "stuck", 0)
        assert answer.why == "no worker runs this saga: the next one carries it out"
    found = await get_saga(store, "saga-ingestion-1")
    assert found.asked == ("retry",)
    assert [each.status for each in found.timeline if each.what == "retry"] == ["asked"]
    async with running(store, saga):
        await until_listed(store, saga, {"completed": ["1"]})


async def test_a_step_is_skipped_and_what_cannot_be_skipped_is_refused_with_what_can(store: EventStore) -> None:
    works = Works()
    works.fails = {"store", "undo fetch"}
    saga = three_steps(works)
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"stuck": ["1"], "live": ["1"]})
        with pytest.raises(SagaState, match="is stuck at fetch, not at store") as refused:
            await skip_step(store, "saga-ingestion-1", "store", who="ada", why="a test")
        assert refused.value.remedy == "eventstore sagas skip-step saga-ingestion-1 fetch"
        with pytest.raises(SagaState, match="goes back already, and is stuck at fetch"):
            await abort(store, "saga-ingestion-1", who="ada", why="a test")
        with pytest.raises(InvalidRequest, match="to skip a step needs a reason"):
            await skip_step(store, "saga-ingestion-1", "fetch", who="ada", why=" ")
        answer = await skip_step(store, "saga-ingestion-1", "fetch", who="ada", why="it is gone anyway")
        assert (answer.outcome, answer.step) == ("done", "fetch")
        await until_listed(store, saga, {"compensated": ["1"]})
    assert [what for _, what, _, _ in await audited(store)] == ["saga-skip-step", "saga-skip-step-outcome"]
    last = (await get_saga(store, "saga-ingestion-1")).timeline[-3:]
    assert [(each.what, each.status) for each in last] == [
        ("skip-step fetch", "done"),
        ("compensate fetch", "skipped"),
        ("saga", "compensated"),
    ]


async def test_a_saga_that_waits_for_its_next_attempt_is_aborted_or_tried_at_once(store: EventStore) -> None:
    works = Works()
    works.fails = {"store"}
    saga = Saga("ingestion", data=Ingestion).step("fetch", works.do, compensate=works.do)
    saga = saga.step("store", works.do, retry=Fixed("1h", immediate=1))
    async with running(store, saga):
        for name in ("1", "2"):
            await start(store, saga, name, Ingestion("docs"))
            waiting = await shown(store, f"saga-ingestion-{name}", lambda found: bool(found.timers))
            assert [each.what for each in waiting.timers] == ["the next attempt at store"]
            assert waiting.actions == ("retry", "skip-step", "abort")
        with pytest.raises(SagaState, match="there is no step nowhere"):
            await skip_step(store, "saga-ingestion-1", "nowhere", who="ada", why="a test")
        aborted = await abort(store, "saga-ingestion-1", who="ada", why="not wanted any more")
        assert aborted.outcome == "done"
        works.fails.clear()
        assert (await retry(store, "saga-ingestion-2", who="ada")).outcome == "done"
        await until_listed(store, saga, {"compensated": ["1"], "completed": ["2"]})
    found = await get_saga(store, "saga-ingestion-1")
    assert found.why == "aborted by ada"
    ignored = next(each for each in found.timeline if each.what == "skip-step nowhere")
    assert (ignored.status, ignored.why) == ("ignored", "there is no step nowhere")


async def test_what_the_worker_ignores_is_told_as_a_refusal_with_its_reason(store: EventStore) -> None:
    """Without the definition nobody knows which step is the pivot."""
    works = Works()
    works.fails = {"report"}
    saga = Saga("ingestion", data=Ingestion).step("pay", works.do, kind="pivot")
    saga = saga.step("report", works.do, kind="retriable", retry=Fixed("1h", immediate=1))
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await shown(store, "saga-ingestion-1", lambda found: bool(found.timers))
        with pytest.raises(SagaState, match="saga-ingestion-1 ignored the abort: it is past its pivot"):
            await abort(store, "saga-ingestion-1", who="ada", why="a test")
    error = (await audited(store, "saga-abort-outcome"))[0][3]["error"]
    assert "it is past its pivot" in error


async def test_of_many_who_ask_at_once_each_gets_an_answer_and_the_saga_goes_back_once(store: EventStore) -> None:
    works = Works()
    works.fails = {"store"}
    saga = Saga("ingestion", data=Ingestion).step("fetch", works.do, compensate=works.do)
    saga = saga.step("store", works.do, retry=Fixed("1h", immediate=1))
    answers: list[str] = []

    async def one(ask: Callable[..., Awaitable[Any]], **options: str) -> None:
        try:
            answers.append((await ask(store, "saga-ingestion-1", who="ada", **options)).outcome)
        except SagaState:
            answers.append("refused")

    async with running(store, saga):
        await start(store, saga, "1", Ingestion("docs"))
        await shown(store, "saga-ingestion-1", lambda found: bool(found.timers))
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: one(abort, why="a test"))
        await until_listed(store, saga, {"compensated": ["1"]})
    assert answers.count("done") >= 1
    assert set(answers) <= {"done", "refused"}
    assert works.calls.count("undo fetch") == 1


async def test_a_saga_whose_stream_is_parked_counts_as_stuck_until_its_dead_letter_is_dealt_with(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "group", partial(group, retry=Immediate(1)))
    broken = True

    @on(Timer("soon"))
    def soon(data: Ingestion) -> Complete:
        if broken:
            raise Failing("a bug")
        return Complete()

    @on(Approved, correlate=lambda event: event.source, starts=True)
    def approved(data: None, event: Approved) -> Any:
        return [Ingestion(event.source), Timer("soon", after=0.01)]

    saga = Saga("approval", data=Ingestion, reactions=[approved, soon])
    await store.append("source-1", [Approved("docs")])
    async with running(store, saga):
        found = await shown(
            store, "saga-approval-docs", lambda found: found.letter is not None and found.letter.state == "parked"
        )
        assert (found.status, found.letter and found.letter.group) == ("stuck", "saga.approval.react")
        why = found.why or ""
        assert why.startswith("version 5 cannot be handled: Failing: a bug (")
        (row,) = await rows(store, status="stuck")
        assert (row.id, row.status, row.why) == ("saga-approval-docs", "stuck", why)
        assert [each.id for each in await rows(store)] == ["saga-approval-docs"]
        assert await rows(store, status="running") == []
        figures = await saga_stats(store)
        assert (figures.stuck, figures.running, figures.oldest_running_seconds) == (1, 0, None)
        assert figures.oldest_stuck_seconds is not None
        with pytest.raises(SagaState, match="saga-approval-docs is parked at version 5: Failing") as refused:
            await retry(store, "saga-approval-docs", who="ada")
        assert refused.value.remedy == "eventstore dlq retry saga.approval.react saga-approval-docs"
        answer = await abort(store, "saga-approval-docs", who="ada", why="a test")
        assert (answer.outcome, answer.why) == (
            "recorded",
            "its stream is parked: eventstore dlq retry saga.approval.react saga-approval-docs",
        )
        broken = False
        await dead_letters.retry(store, "saga.approval.react", ["saga-approval-docs"], who="ada")
        await until_listed(store, saga, {"compensated": ["docs"]})  # the abort stood there, before anything was decided
    assert (await saga_stats(store)).stuck == 0


async def test_a_stream_that_somebody_else_appends_to_is_shown_as_far_as_it_is_a_sagas(store: EventStore) -> None:
    works = Works()
    saga = Saga("ingestion", data=Ingestion).step("wait", works.do, retry=Fixed("1h", immediate=1))
    works.fails = {"wait"}
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await shown(store, "saga-ingestion-1", lambda found: bool(found.timers))
    await store.append("saga-ingestion-1", [Approved("docs")])
    found = await get_saga(store, "saga-ingestion-1")
    assert (found.status, found.why) == ("running", "version 5 of saga-ingestion-1 is no fact of a saga, but Approved")
    with pytest.raises(LogDamaged, match="is no fact of a saga"):
        await abort(store, "saga-ingestion-1", who="ada", why="a test")
    assert [row.status for row in await rows(store)] == ["running"]
    await store.append("saga-ingestion-2", [Approved("docs")])
    with pytest.raises(SagaNotFound):
        await get_saga(store, "saga-ingestion-2")
