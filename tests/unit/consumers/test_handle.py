"""One event handled: what its handler is called with, how often, and the one outcome of it."""

import asyncio
from uuid import UUID

import anyio
import anyio.lowlevel
import msgspec
import pytest
from structlog.testing import capture_logs

from consumers.consumer import consumer
from consumers.context import Context, To
from consumers.deliveries import Undecodable
from consumers.errors import InvalidConsumer
from consumers.handle import Made
from consumers.outcome import NOTHING, UNCALLED, Failed
from consumers.retry import DEFAULT, Fixed, Immediate, Park
from consumers.slots import Slot
from consumers.state import Effect
from eventstore.envelope import Metadata, RecordedEvent
from eventstore.errors import EventTypeError, InvalidEvent
from eventstore.event_types import EventTypes
from eventstore.keys import Keys
from infrastructure.settings import LogSettings
from tests.support.handling import Home, failed, handled, handling, succeeded
from tests.support.orders import Declined, Expired, OrderPaid, OrderPlaced, OrderShipped, recorded

pytestmark = pytest.mark.anyio
CAUSE = UUID("0199f2c4-0000-7000-8000-000000000001")


async def test_a_handler_gets_the_data_and_nothing_follows() -> None:
    seen: list[object] = []

    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        seen.append(event)

    assert await handled(charge, OrderPlaced(4)) is NOTHING
    assert seen == [OrderPlaced(4)]


async def test_a_handler_of_every_type_gets_the_envelope() -> None:
    seen: list[object] = []

    @consumer("audit")
    async def audit(event: RecordedEvent) -> None:
        seen.append(event)

    one = recorded(OrderPlaced())
    await handled(audit, one)
    assert seen == [one]
    assert handling(audit).types is None


async def test_each_type_has_its_handler_and_others_are_passed_over() -> None:
    seen: list[object] = []

    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        seen.append(("charge", event))

    @charge.also()
    def ship(event: OrderShipped, ctx: Context) -> None:
        seen.append(("ship", event))

    both = handling(charge)
    for data, outcome in ((OrderShipped(), NOTHING), (OrderPaid(), UNCALLED), (OrderPlaced(), NOTHING)):
        assert await both.handle(Slot(), recorded(data)) is outcome
    assert seen == [("ship", OrderShipped()), ("charge", OrderPlaced())]
    assert both.types == frozenset({"OrderPlaced", "Shipped"})


async def test_a_first_call_that_the_worker_has_made_counts_as_one_attempt() -> None:
    calls: list[object] = []

    @consumer("charge", retry=Immediate(3))
    async def charge(event: OrderPlaced) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise Declined

    one = recorded(OrderPlaced())
    assert await handling(charge).handle(Slot(), one, made=Made(raised=Declined())) is NOTHING
    assert len(calls) == 2
    calls.clear()
    assert await handling(charge).handle(Slot(), one, made=Made()) is NOTHING
    assert calls == []


async def test_the_context_says_what_is_handled_and_how() -> None:
    seen: list[Context] = []

    @consumer("charge", timeout="60s")
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        seen.append(ctx)

    event = recorded(OrderPlaced(), event_id=CAUSE)
    await handled(charge, event, 4, replaying=True, term=77)
    (ctx,) = seen
    assert (ctx.event, ctx.attempt, ctx.replaying, ctx.fencing_token) == (event, 5, True, 77)
    assert ctx.idempotency_key == f"charge:{CAUSE}"
    assert asyncio.get_running_loop().time() < ctx.deadline <= asyncio.get_running_loop().time() + 60


async def test_the_logger_is_bound_to_what_is_handled() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        ctx.logger.info("charged", total=event.total)

    with capture_logs() as logs:
        await handled(charge, recorded(OrderPlaced(), "order-7", 3, event_id=CAUSE))
    assert logs == [
        {
            "event": "charged",
            "log_level": "info",
            "total": 99,
            "group": "charge",
            "stream": "order-7",
            "version": 3,
            "event_id": str(CAUSE),
            "correlation_id": "transaction-7",
            "attempt": 1,
        }
    ]


class Pool:
    """A resource."""


async def test_resources_are_given_by_type_and_a_default_stays_without_one() -> None:
    seen: list[object] = []

    @consumer("charge")
    async def charge(event: OrderPlaced, pool: Pool, ctx: Context, limit: int = 7) -> None:
        seen.append((pool, limit, ctx.attempt))

    pool = Pool()
    await handling(charge, {Pool: pool}).handle(Slot(), recorded(OrderPlaced()))
    assert seen == [(pool, 7, 1)]
    with pytest.raises(InvalidConsumer, match=r"charge\(pool\) wants a resource of Pool"):
        handling(charge)


async def test_effects_are_part_of_the_outcome() -> None:
    @consumer("totals")
    async def total(event: OrderPlaced, ctx: Context) -> None:
        ctx.effects.hincrby("orders", "count")

    event = recorded(OrderPlaced())
    done = await succeeded(total, event)
    key = f"{Keys('es', 4).stem(event.partition)}x:totals:orders"
    assert done.effects == (Effect("HINCRBY", key, ("count", 1)),)


async def test_a_failing_handler_is_called_again_at_once_then_later() -> None:
    calls: list[int] = []

    @consumer("charge")
    async def charge(event: OrderPlaced, ctx: Context) -> None:
        calls.append(ctx.attempt)
        raise Declined("do not honor")

    outcome = await failed(charge, OrderPlaced())
    assert (calls, outcome.calls, outcome.delay_seconds) == ([1, 2, 3], 3, 1)
    assert not outcome.failure.parked
    outcome = await failed(charge, OrderPlaced(), 7)
    assert (calls[3:], outcome.calls, outcome.delay_seconds) == ([8], 1, None)
    assert outcome.failure.parked


async def test_a_handler_that_recovers_has_succeeded() -> None:
    calls: list[int] = []

    @consumer("charge")
    async def charge(event: OrderPlaced) -> OrderPaid:
        calls.append(1)
        if len(calls) < 3:
            raise Declined
        return OrderPaid()

    assert (await succeeded(charge, OrderPlaced())).returned == (To("order-1", OrderPaid()),)


async def test_attempts_at_once_let_other_tasks_have_their_turn() -> None:
    turns: list[str] = []

    @consumer("charge", retry=Immediate(3))
    async def charge(event: OrderPlaced) -> None:
        turns.append("attempt")
        raise Declined

    async def other() -> None:
        for _ in range(3):
            turns.append("other")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        tasks.start_soon(failed, charge, OrderPlaced())
    assert turns == ["other", "attempt"] * 3


@pytest.mark.parametrize(
    ("error", "delay"), [(Expired(), None), (Declined(), 5), (ValueError(), 1), (ExceptionGroup("", [Expired()]), None)]
)
async def test_the_rule_of_the_most_specific_exception_decides(error: Exception, delay: float | None) -> None:
    @consumer("charge", on={Declined: Fixed("5s", attempts=9), Expired: Park()})
    async def charge(event: OrderPlaced) -> None:
        raise error

    outcome = await failed(charge, OrderPlaced(), 2)
    assert (outcome.delay_seconds, outcome.calls) == (delay, 1)
    assert outcome.failure.type == type(error).__name__.replace("ExceptionGroup", "Expired")


def decline() -> None:
    raise Declined("do not honor")


async def test_a_failure_says_what_happened_where_and_of_which_event() -> None:
    @consumer("charge", retry=Park())
    async def charge(event: OrderPlaced) -> None:
        decline()

    outcome = await failed(charge, recorded(OrderPlaced(), "order-7", 3, position=12, event_id=CAUSE))
    failure = outcome.failure
    assert (failure.type, failure.message) == ("Declined", "do not honor")
    assert (failure.event_type, failure.event_id, failure.correlation_id) == ("OrderPlaced", CAUSE, "transaction-7")
    assert (failure.version, failure.position, failure.member, failure.parked) == (3, 12, "me", True)
    assert (failure.first_failed_us, failure.failed_us) == (5_000_000, 5_000_000)
    assert failure.where == f"test_handle.py:{decline.__code__.co_firstlineno + 1}"
    lines = failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "in charge" in lines[1]
    assert lines[-1].endswith("Declined: do not honor")


async def test_the_first_failure_is_remembered_if_it_is_known() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        raise Declined

    outcome = await failed(charge, OrderPlaced(), 3, first_failed_us=7)
    assert (outcome.failure.first_failed_us, outcome.failure.failed_us) == (7, 5_000_000)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error",
    [Unspeakable(), Declined("\ud800"), Declined("x" * 100_000), SystemExit(3), ImportError(), RecursionError()],
)
async def test_whatever_is_raised_there_is_an_outcome_that_can_be_stored(error: BaseException) -> None:
    @consumer("charge", retry=Park())
    async def charge(event: OrderPlaced) -> None:
        raise error

    outcome = await failed(charge, OrderPlaced())
    assert len(outcome.failure.message) <= 2_000
    assert len(outcome.failure.traceback) <= 8_000
    assert type(outcome.failure).parse(outcome.failure.pack()) == outcome.failure


async def test_a_keyboard_interrupt_is_for_the_whole_program() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        raise KeyboardInterrupt

    step = handling(charge).handle(Slot(), recorded(OrderPlaced()))
    with pytest.raises(KeyboardInterrupt):
        step.send(None)


async def test_an_undecodable_event_parks_at_once_without_a_call() -> None:
    calls: list[object] = []

    @consumer("charge")
    async def charge(event: OrderPlaced) -> None:
        calls.append(event)

    event = undecodable("OrderPlaced")
    outcome = await handling(charge).handle(Slot(), event)
    assert isinstance(outcome, Failed)
    assert (outcome.calls, outcome.delay_seconds, outcome.failure.parked, calls) == (0, None, True, [])
    assert (outcome.failure.type, outcome.failure.where, outcome.failure.version) == ("InvalidEvent", "", 3)
    assert outcome.failure.message == "total is missing"


async def test_an_undecodable_event_of_a_type_that_nobody_handles_is_passed_over() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None: ...

    assert await handling(charge).handle(Slot(), undecodable("OrderPaid")) is UNCALLED


def undecodable(kind: str) -> Undecodable:
    error = InvalidEvent("total is missing")
    return Undecodable(CAUSE, "order-1", 3, 2, 1, 9, 1_000_000, kind, 1, Metadata(), error)


async def test_a_replay_drops_what_the_handler_brings_unless_it_says_otherwise() -> None:
    calls: list[str] = []

    @consumer("charge")
    async def drop(event: OrderPlaced, ctx: Context) -> OrderPaid:
        calls.append("drop")
        ctx.effects.incrby("count")
        return OrderPaid()

    @drop.also(on_replay="emit")
    async def emit(event: OrderPaid, ctx: Context) -> OrderShipped:
        calls.append("emit")
        ctx.effects.incrby("count")
        return OrderShipped()

    @drop.also(on_replay="skip")
    async def skip(event: OrderShipped) -> None:
        calls.append("skip")

    assert await handled(drop, OrderPlaced(), replaying=True) is NOTHING
    emitted = await succeeded(emit, OrderPaid(), replaying=True, job="job-1")
    assert (len(emitted.effects), emitted.returned) == (1, (To("order-1", OrderShipped()),))
    assert await handled(skip, OrderShipped(), replaying=True) is UNCALLED
    assert calls == ["drop", "emit"]
    assert (await succeeded(drop, OrderPlaced())).effects != ()
    await handled(skip, OrderShipped())
    assert calls == ["drop", "emit", "drop", "skip"]


async def test_an_event_that_an_operator_lets_fail_after_all_counts_as_an_attempt() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None: ...

    outcome = handling(charge).refused(recorded(OrderPlaced()), InvalidEvent("count is no number"), 4)
    assert (outcome.calls, outcome.delay_seconds) == (1, DEFAULT.delay(5, 0.0))
    assert outcome.failure.message == "count is no number"


async def test_a_store_that_knows_another_type_of_that_name_is_refused() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced) -> None: ...

    other = msgspec.defstruct("OrderPlaced", [("other", int)], frozen=True)
    types = EventTypes([other])
    with pytest.raises(EventTypeError, match="OrderPlaced names both"):
        handling(charge).__class__(charge, Home(types, LogSettings(), Keys("es", 4), 4))
