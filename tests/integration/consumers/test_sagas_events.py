"""Sagas and events, on real servers: what they wait for, what begins them, what they send, and their timers."""

from collections import Counter

import anyio
import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers import (
    CancelTimer,
    Compensate,
    Complete,
    Immediate,
    Saga,
    StepContext,
    Timer,
    To,
    Undo,
    on,
    schedule,
    start,
)
from consumers.verify import check_groups, check_sagas
from eventstore import EventStore, Metadata
from eventstore.verify import CHECKS, verify
from tests.support.kinds_of_server import place_fixture, placed_store_fixture
from tests.support.running import running
from tests.support.sagas import index, listed, names, state_of, told, unrouted, until_listed
from tests.support.servers import tries

pytestmark = pytest.mark.anyio
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Order(Struct, frozen=True):
    sum: int = 0
    answer: str = ""


class Placed(Struct, frozen=True):
    order: str
    sum: int


class Answered(Struct, frozen=True):
    order: str
    text: str


class Charge(Struct, frozen=True):
    order: str


class Refund(Struct, frozen=True):
    order: str


class Paid(Struct, frozen=True):
    orders: list[str]


place = place_fixture()
store = placed_store_fixture(types=[Placed, Answered, Charge, Refund, Paid])


async def ask(data: Order, ctx: StepContext) -> None:
    ctx.send(f"asked-{ctx.saga_id}", Charge(ctx.saga_id))


def take(data: Order, event: Answered) -> Order:
    return replace(data, answer=event.text)


def of_order(event: Answered) -> str:
    return event.order


def asking() -> Saga:
    return Saga("asking", data=Order).step("ask", ask).wait("answer", Answered, correlate=of_order, then=take)


async def sent_to(store: EventStore, stream: str) -> list[object]:
    return [event.data for event in await told(store, stream)]


async def test_a_step_waits_for_its_event_and_takes_what_it_says(store: EventStore) -> None:
    saga = asking()
    await start(store, saga, "1", Order(5))
    async with running(store, saga):
        async for _ in tries():
            if await sent_to(store, "asked-saga-asking-1"):
                break
        assert (await state_of(store, saga, "1")).step("answer").action.phase == "waiting"
        await store.append("answers-1", [Answered("1", "yes")])
        await until_listed(store, saga, {"completed": ["1"]})
    assert (await state_of(store, saga, "1")).data == {"sum": 5, "answer": "yes"}
    assert await sent_to(store, "asked-saga-asking-1") == [Charge("saga-asking-1")]


async def test_answers_that_overtake_the_saga_are_kept_for_it(store: EventStore, place: object) -> None:
    """C20: each answer is there before its saga waits, half of them before it has been started."""
    saga = asking()
    ids = [f"{n}" for n in range(1_000)]

    async def some(first: int) -> None:
        for saga_id in ids[first::20]:
            if int(saga_id) % 2:
                await start(store, saga, saga_id, Order(1))
            await store.append(f"answers-{saga_id}", [Answered(saga_id, f"yes {saga_id}")])

    async def begin(first: int) -> None:
        for saga_id in ids[first::20]:
            await start(store, saga, saga_id, Order(1))

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(some, n)
    async with running(store, saga):
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(begin, n)
        await until_listed(store, saga, {"completed": ids}, 60)
    for saga_id in ids[::97]:
        assert (await state_of(store, saga, saga_id)).data == {"sum": 1, "answer": f"yes {saga_id}"}
    found = Counter([event.type async for event in store.read_all() if event.stream.startswith("saga-asking-")])
    assert found["saga.started"] == found["saga.event_received"] == found["saga.completed"] == 1_000
    assert found["saga.ignored"] == 0


async def test_what_fits_no_saga_is_counted_and_what_came_before_the_start_is_seen(store: EventStore) -> None:
    @on(Answered, correlate=lambda event: None if event.text == "spam" else event.order)
    def answered(data: Order, event: Answered) -> list[object]:
        return [take(data, event), Complete()]

    saga = Saga("answering", data=Order, reactions=[answered])
    for n in range(3):
        await store.append(f"answers-{n}", [Answered(f"{n}", "spam")])
    await store.append("answers-7", [Answered("7", "too early")])
    async with running(store, saga):
        await until_listed(store, saga, {"unstarted": ["7"]})
        async for _ in tries():
            if await unrouted(store, saga) == {"Answered": 3}:
                break
        await start(store, saga, "7", Order(1))
        await until_listed(store, saga, {"completed": ["7"]})
        await store.append("answers-7", [Answered("7", "too late")])
        async for _ in tries():
            if "ignored" in await names(store, saga, "7"):
                break
    assert (await state_of(store, saga, "7")).data["answer"] == "too early"
    assert await listed(store, saga) == {"completed": ["7"]}


def payment(overdue_after: str = "250ms") -> Saga:
    """Written as reactions: an order is charged, and either paid in time or given up."""

    @on(Placed, correlate=lambda event: event.order, starts=True)
    def placed(data: None, event: Placed) -> list[object]:
        charge = [To(f"charges-{event.order}", Charge(event.order)), Undo("refunds", Refund(event.order))]
        return [Order(event.sum), *charge, Timer("overdue", after=overdue_after)]

    @on(Paid, correlate=lambda event: event.orders)
    def paid(data: Order, event: Paid) -> list[object]:
        return [replace(data, answer="paid"), CancelTimer("overdue"), Complete()]

    @on(Timer("overdue"))
    def overdue(data: Order) -> Compensate:
        return Compensate("not paid in time")

    return Saga("payment", data=Order, reactions=[placed, paid, overdue])


async def test_an_event_begins_a_saga_once_and_what_it_sends_arrives_once(store: EventStore) -> None:
    saga = payment()
    async with running(store, saga):
        await store.append("order-1", [Placed("1", 30), Placed("1", 40)])
        await until_listed(store, saga, {"compensated": ["1"]})
        async for _ in tries():
            if await sent_to(store, "refunds"):
                break
    state = await state_of(store, saga, "1")
    assert (state.data, state.why, state.timers) == ({"sum": 30, "answer": ""}, "not paid in time", {})
    assert await sent_to(store, "charges-1") == [Charge("1")]
    assert await sent_to(store, "refunds") == [Refund("1")]
    found = await names(store, saga, "1")
    assert found.count("started") == found.count("ignored") == 1
    assert await verify(store.log, checks=[*CHECKS, check_groups, check_sagas]) == []


async def test_one_event_reaches_all_sagas_that_it_names_and_ends_their_timers(store: EventStore) -> None:
    saga = payment(overdue_after="1h")
    ids = [f"{n}" for n in range(10)]
    for saga_id in ids:
        await store.append(f"order-{saga_id}", [Placed(saga_id, 30)])
    await store.append("payments", [Paid(ids)])
    async with running(store, saga):
        await until_listed(store, saga, {"completed": ids})
    for saga_id in ids:
        state = await state_of(store, saga, saga_id)
        assert (state.data["answer"], state.timers) == ("paid", {})
    assert await sent_to(store, "refunds") == []


async def test_of_an_answer_and_its_timeout_the_first_in_the_stream_decides(store: EventStore) -> None:
    """C22, as it comes; both orders on a turned clock are in the property tests."""
    saga = payment()
    ids = [f"{n}" for n in range(60)]

    async with running(store, saga):
        for n, saga_id in enumerate(ids):
            await store.append(f"order-{saga_id}", [Placed(saga_id, 30)])
            await schedule(store, "payments", Paid([saga_id]), after=0.23 + 0.001 * (n % 40))
        async for _ in tries():
            found = await listed(store, saga)
            if len(found.get("completed", [])) + len(found.get("compensated", [])) == len(ids):
                break
        refunded = {Refund(saga_id) for saga_id in found.get("compensated", [])}
        async for _ in tries():
            if len(await sent_to(store, "refunds")) == len(refunded):
                break
    assert set(await sent_to(store, "refunds")) == refunded
    for saga_id in ids:
        first, *_ = [name for name in await names(store, saga, saga_id) if name in ("completed", "compensating")]
        events = [event.data async for event in store.read(f"saga-payment-{saga_id}")]
        kinds = [getattr(each, "type", None) or getattr(each, "name", "") for each in events]
        inputs = [kind for kind in kinds if kind in ("Paid", "overdue")]
        assert first == ("completed" if inputs[1] == "Paid" else "compensating"), kinds  # the first sets the timer


async def test_a_wait_that_is_over_its_time_has_failed(store: EventStore) -> None:
    done: list[str] = []

    async def undo(data: Order) -> None:
        done.append("undone")

    saga = (
        Saga("asking", data=Order)
        .step("ask", ask, compensate=undo)
        .wait("answer", Answered, correlate=of_order, timeout="100ms")
    )
    await start(store, saga, "1", Order(5))
    async with running(store, saga):
        await until_listed(store, saga, {"compensated": ["1"]})
        await store.append("answers-1", [Answered("1", "yes")])
        async for _ in tries():
            if "ignored" in await names(store, saga, "1"):
                break
    assert done == ["undone"]
    assert (await state_of(store, saga, "1")).why == "answer failed: TimeoutError: no event came within 100ms"


async def test_what_is_sent_by_an_attempt_that_fails_is_not_sent(store: EventStore) -> None:
    async def ask_twice(data: Order, ctx: StepContext) -> None:
        ctx.send("asked", Charge(f"attempt {ctx.attempt}"))
        if ctx.attempt == 1:
            raise ValueError("not yet")

    async def refund(data: Order, ctx: StepContext) -> None:
        ctx.send("asked", Refund("1"))

    async def fails(data: Order) -> None:
        raise ValueError("no room")

    saga = (
        Saga("asking", data=Order)
        .step("ask", ask_twice, compensate=refund, retry=Immediate(2))
        .step("keep", fails, retry=Immediate(1))
    )
    await start(store, saga, "1", Order(5))
    async with running(store, saga):
        async for _ in tries():
            if len(await sent_to(store, "asked")) == 2:
                break
        await until_listed(store, saga, {"compensated": ["1"]})
    assert await sent_to(store, "asked") == [Charge("attempt 2"), Refund("1")]


async def test_correlation_and_trace_go_through_all_facts_and_all_that_is_sent(store: EventStore) -> None:
    asked: list[tuple[str | None, str | None]] = []

    async def note(data: Order, ctx: StepContext) -> None:
        asked.append((ctx.correlation_id, ctx.traceparent))
        ctx.send("asked", Charge(ctx.saga_id))
        if ctx.attempt == 1:
            raise ValueError("not yet")

    about = Metadata(correlation_id="c-1", traceparent=TRACE)
    by_event = payment()
    by_call = Saga("asking", data=Order).step("ask", note)
    await start(store, by_call, "1", Order(5), correlation_id="c-1", traceparent=TRACE)
    await store.append("order-1", [Placed("1", 30)], metadata=about)
    async with running(store, by_call, by_event):
        await until_listed(store, by_call, {"completed": ["1"]})
        await until_listed(store, by_event, {"compensated": ["1"]})
        for stream in ("asked", "refunds", "charges-1"):
            async for _ in tries():
                if await told(store, stream):
                    break
    assert set(asked) == {("c-1", TRACE)}
    for stream in ("saga-asking-1", "saga-payment-1", "asked", "refunds", "charges-1"):
        found = await told(store, stream)
        assert {(event.metadata.correlation_id, event.metadata.traceparent) for event in found} == {("c-1", TRACE)}
    assert "saga.timer_fired" in {event.type for event in await told(store, "saga-payment-1")}
    (begun, *_) = await told(store, "order-1")
    received = (await told(store, "saga-payment-1"))[0]
    assert received.metadata.causation_id == str(begun.id)
    assert received.recorded_at > begun.recorded_at
    facts = await told(store, "saga-asking-1")
    by_id = {str(event.id): event for event in facts}
    outcomes = [event for event in facts if event.type in ("saga.step_succeeded", "saga.step_failed")]
    assert [by_id[event.metadata.causation_id or ""].type for event in outcomes] == ["saga.step_started"] * 2


async def test_the_index_tells_when_sagas_began_and_when_they_ended(store: EventStore) -> None:
    saga = asking()
    await start(store, saga, "1", Order())
    await start(store, saga, "2", Order())
    async with running(store, saga):
        await until_listed(store, saga, {"running": ["1", "2"], "live": ["1", "2"]})
        await store.append("answers-1", [Answered("1", "yes")])
        await until_listed(store, saga, {"running": ["2"], "live": ["2"], "completed": ["1"]})
    found = await index(store, saga)
    began, ended = (await told(store, "saga-asking-2"))[0], (await told(store, "saga-asking-1"))[-1]
    assert found == {
        "running": {"2": began.recorded_at // 1_000},
        "live": {"2": 1},
        "completed": {"1": ended.recorded_at // 1_000},
    }
