"""Sagas of declared steps, on real servers: what somebody who writes one may rely on."""

from threading import Event, current_thread, main_thread

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers import Fixed, Immediate, Resource, Saga, SagaConflict, StepContext, start, step
from consumers.sagas import attempts
from consumers.verify import check_groups, check_sagas
from eventstore import EventStore
from eventstore.verify import CHECKS, verify
from tests.support.kinds_of_server import place_fixture, placed_store_fixture
from tests.support.running import running
from tests.support.sagas import listed, names, state_of, told, until_listed
from tests.support.servers import tries, until

pytestmark = pytest.mark.anyio
place = place_fixture()
store = placed_store_fixture(types=[])


class Ingestion(Struct, frozen=True):
    source: str
    pages: int = 0
    stored: bool = False


async def fetch(data: Ingestion) -> Ingestion:
    return replace(data, pages=3)


async def keep(data: Ingestion) -> Ingestion:
    return replace(data, stored=data.pages == 3)


class Ledger:
    """What actions did, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def note(self, data: Ingestion, ctx: StepContext) -> None:
        self.done.append(f"{'undo ' if ctx.undo else ''}{ctx.step} {ctx.attempt}")


async def test_declared_steps_complete_one_after_the_other_with_the_data_of_those_before(store: EventStore) -> None:
    saga = Saga("ingestion", data=Ingestion).step("fetch", fetch).step("keep", keep)
    begun = await start(store, saga, "42", Ingestion("docs"))
    assert (begun.stream, begun.status, begun.is_new) == ("saga-ingestion-42", "running", True)
    async with running(store, saga):
        await until_listed(store, saga, {"completed": ["42"]})
    state = await state_of(store, saga, "42")
    assert (state.status, state.data) == ("completed", {"source": "docs", "pages": 3, "stored": True})
    assert await names(store, saga, "42") == [
        "started",
        "step_started fetch",
        "step_succeeded fetch",
        "step_started keep",
        "step_succeeded keep",
        "completed",
    ]
    again = await start(store, saga, "42", Ingestion("docs"))
    assert (again.status, again.is_new) == ("completed", False)
    with pytest.raises(SagaConflict):
        await start(store, saga, "42", Ingestion("others"))
    assert await verify(store.log, checks=[*CHECKS, check_groups, check_sagas]) == []


async def test_of_many_who_start_one_saga_at_once_one_does_and_each_action_runs_once(store: EventStore) -> None:
    """C21."""
    ledger, news, refused = Ledger(), [], []
    saga = Saga("ingestion", data=Ingestion).step("fetch", ledger.note).step("keep", ledger.note)

    async def one(source: str) -> None:
        try:
            news.append((await start(store, saga, "7", Ingestion(source))).is_new)
        except SagaConflict:
            refused.append(source)

    async with running(store, saga):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one, "docs")
        await one("others")
        await until_listed(store, saga, {"completed": ["7"]})
    assert sorted(news) == [False] * 19 + [True]
    assert refused == ["others"]
    assert ledger.done == ["fetch 1", "keep 1"]
    assert (await names(store, saga, "7")).count("started") == 1


async def test_what_has_succeeded_is_compensated_in_reverse_order_each_retried_by_its_own_policy(
    store: EventStore,
) -> None:
    """C23."""
    ledger = Ledger()

    async def fails(data: Ingestion, ctx: StepContext) -> None:
        await ledger.note(data, ctx)
        raise ValueError("no room")

    async def fails_twice(data: Ingestion, ctx: StepContext) -> None:
        await ledger.note(data, ctx)
        if ctx.attempt < 3:
            raise ValueError("not yet")

    saga = (
        Saga("ingestion", data=Ingestion)
        .step("fetch", ledger.note, compensate=ledger.note)
        .step("keep", ledger.note, compensate=fails_twice, retry_compensation=Fixed("20ms", attempts=5, immediate=1))
        .step("report", fails, retry=Immediate(2))
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"compensated": ["1"]})
    assert ledger.done == [
        *["fetch 1", "keep 1", "report 1", "report 2"],
        *["undo keep 1", "undo keep 2", "undo keep 3", "undo fetch 1"],
    ]
    assert (await state_of(store, saga, "1")).why == "report failed: ValueError: no room"


async def test_a_compensation_that_gives_up_leaves_the_saga_stuck_where_it_is_seen(store: EventStore) -> None:
    ledger = Ledger()

    async def fails(data: Ingestion) -> None:
        raise ValueError("no room")

    saga = (
        Saga("ingestion", data=Ingestion)
        .step("fetch", ledger.note, compensate=ledger.note)
        .step("keep", ledger.note, compensate=fails, retry_compensation=Immediate(2))
        .step("report", fails, retry=Immediate(1))
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"stuck": ["1"], "live": ["1"]})
    assert ledger.done == ["fetch 1", "keep 1"]  # what comes before it is not compensated
    assert (await state_of(store, saga, "1")).stuck_at == "keep"


async def test_a_retry_is_a_timer_in_the_log_which_the_next_worker_fires(store: EventStore) -> None:
    at: list[float] = []

    async def fails_once(data: Ingestion) -> Ingestion:
        at.append(anyio.current_time())
        if len(at) == 1:
            raise ValueError("not yet")
        return replace(data, pages=1)

    saga = Saga("ingestion", data=Ingestion).step("fetch", fails_once, retry=Fixed("400ms", immediate=1, jitter=0.0))
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        async for _ in tries():
            if "timer_set" in await names(store, saga, "1"):
                break
    async with running(store, saga):
        await until_listed(store, saga, {"completed": ["1"]})
    assert 0.35 < at[1] - at[0] < 10  # the timer's time is taken when the attempt has ended
    found = [event.type for event in await told(store, "saga-ingestion-1")]
    assert found == [
        f"saga.{name}"
        for name in ("started", "step_started", "step_failed", "timer_set", "timer_fired", "step_started")
    ] + ["saga.step_succeeded", "saga.completed"]


async def test_steps_of_one_stage_run_at_the_same_time_and_all_end_before_the_next(store: EventStore) -> None:
    now: list[str] = []
    both, after = anyio.Event(), []

    async def meets(data: Ingestion, ctx: StepContext) -> Ingestion:
        now.append(ctx.step)
        if len(now) == 2:
            both.set()
        await both.wait()
        return replace(data, pages=5) if ctx.step == "left" else replace(data, stored=True)

    async def last(data: Ingestion) -> None:
        after.append(data)

    saga = Saga("ingestion", data=Ingestion).parallel(step("left", meets), step("right", meets)).step("last", last)
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"completed": ["1"]})
    assert sorted(now) == ["left", "right"]
    assert after == [Ingestion("docs", 5, True)]


async def test_one_step_of_a_stage_gives_up_and_the_other_is_waited_for_and_compensated(store: EventStore) -> None:
    ledger, failed = Ledger(), anyio.Event()

    async def fails(data: Ingestion) -> None:
        raise ValueError("no room")

    async def goes_on(data: Ingestion, ctx: StepContext) -> None:
        await failed.wait()
        await ledger.note(data, ctx)

    saga = Saga("ingestion", data=Ingestion).parallel(
        step("left", fails, retry=Immediate(1)), step("right", goes_on, compensate=ledger.note)
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        async for _ in tries():
            if "compensating" in await names(store, saga, "1"):
                break
        failed.set()
        await until_listed(store, saga, {"compensated": ["1"]})
    assert ledger.done == ["right 1", "undo right 1"]


async def test_plain_functions_run_in_threads_and_get_resources_by_type(store: EventStore) -> None:
    class Pool(Struct):
        name: str

    found: list[tuple[str, bool]] = []

    def fetch_in_thread(data: Ingestion, pool: Pool) -> Ingestion:
        found.append((pool.name, current_thread() is main_thread()))
        return replace(data, pages=3)

    async def forget(data: Ingestion, pool: Pool) -> None:
        found.append((f"{pool.name} again", current_thread() is main_thread()))

    async def fails(data: Ingestion) -> None:
        raise ValueError("no room")

    saga = (
        Saga("ingestion", data=Ingestion)
        .step("fetch", fetch_in_thread, compensate=forget)
        .step("keep", fails, retry=Immediate(1))
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga, resources=[Resource(Pool, Pool("pages"))]):
        await until_listed(store, saga, {"compensated": ["1"]})
    assert found == [("pages", False), ("pages again", True)]


async def test_a_thread_that_outlasts_its_attempt_and_succeeds_late_is_compensated(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "THREAD_SECONDS", 0.05)
    ledger, goes_on = Ledger(), Event()

    def fetch_slowly(data: Ingestion) -> Ingestion:
        goes_on.wait(20)
        return replace(data, pages=3)

    saga = Saga("ingestion", data=Ingestion).step(
        "fetch", fetch_slowly, compensate=ledger.note, timeout="50ms", retry=Immediate(1)
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"compensated": ["1"]})
        goes_on.set()
        await until(lambda: ledger.done == ["undo fetch 1"])
        await until_listed(store, saga, {"compensated": ["1"]})
    assert await names(store, saga, "1") == [
        *["started", "step_started fetch", "step_failed fetch", "compensating", "compensated"],
        *["step_succeeded fetch", "compensating", "compensation_started fetch", "compensation_done fetch"],
        "compensated",
    ]


async def test_a_saga_that_takes_longer_than_its_deadline_goes_back(store: EventStore) -> None:
    ledger = Ledger()

    async def fails(data: Ingestion) -> None:
        raise ValueError("not yet")

    saga = (
        Saga("ingestion", data=Ingestion, deadline="300ms")
        .step("fetch", ledger.note, compensate=ledger.note)
        .step("keep", fails, retry=Fixed("1h", immediate=1))
    )
    await start(store, saga, "1", Ingestion("docs"))
    async with running(store, saga):
        await until_listed(store, saga, {"compensated": ["1"]})
    assert ledger.done == ["fetch 1", "undo fetch 1"]
    state = await state_of(store, saga, "1")
    assert (state.why, state.timers) == ("it took longer than 300ms", {})


async def test_sagas_are_listed_where_they_stand(store: EventStore) -> None:
    async def fails_for_some(data: Ingestion) -> None:
        if data.source == "bad":
            raise ValueError("no room")

    saga = Saga("ingestion", data=Ingestion).step("fetch", fetch).step("keep", fails_for_some, retry=Immediate(1))
    bad = [f"bad-{n}" for n in range(10)]
    good = [f"good-{n}" for n in range(10)]
    for each in bad + good:
        await start(store, saga, each, Ingestion(each.partition("-")[0]))
    assert await listed(store, saga) == {}
    async with running(store, saga):
        await until_listed(store, saga, {"compensated": bad, "completed": good})
