"""What a handler returns: where it goes, as what it is stored, and what makes the attempt fail."""

import re
from uuid import uuid5

import pytest
from msgspec import Struct

from consumers.consumer import Consumer, consumer
from consumers.context import Context, To
from consumers.handle import Handling
from consumers.outcome import Failed
from consumers.retry import Park
from consumers.slots import Slot
from consumers.state import Outgoing
from eventstore.codec import Entry, unpack
from eventstore.envelope import Metadata, NewEvent, Priority, RecordedEvent, Untyped
from eventstore.partitions import partition_of
from tests.support.handling import failed, home, succeeded
from tests.support.orders import PARTITIONS, OrderPaid, OrderPlaced, recorded

pytestmark = pytest.mark.anyio
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def entry(out: Outgoing) -> Entry:
    """As append.lua would store it."""
    return unpack(out.partition, b"1-1", b"\x01" + (2_000_000).to_bytes(8, "big") + (1).to_bytes(6, "big") + out.packed)


def returning(value: object) -> Consumer:
    @consumer("charge", retry=Park())
    async def charge(event: OrderPlaced) -> object:
        return value

    return charge


async def test_a_bare_event_goes_to_the_stream_of_its_cause() -> None:
    cause = recorded(OrderPlaced(), "order-7", metadata=Metadata(correlation_id="transaction-7", traceparent=TRACE))
    (out,) = (await succeeded(returning(OrderPaid(4)), cause)).out
    stored = entry(out)
    assert (out.stream, out.partition, out.cause_recorded_at, out.letter) == (
        "order-7",
        cause.partition,
        1_000_000,
        "N",
    )
    assert (stored.stream, stored.type, stored.schema_version, stored.data) == (
        "order-7",
        "OrderPaid",
        1,
        b'{"total":4}',
    )
    assert stored.metadata == Metadata(
        correlation_id="transaction-7", causation_id=str(cause.id), traceparent=TRACE, actor="charge"
    )


async def test_to_names_another_stream_and_a_list_may_have_both() -> None:
    done = await succeeded(returning([OrderPaid(1), To("payment-9", OrderPaid(2))]), OrderPlaced())
    assert done.returned == (To("order-1", OrderPaid(1)), To("payment-9", OrderPaid(2)))
    assert [each.stream for each in done.out] == ["order-1", "payment-9"]
    assert done.out[1].partition == partition_of("payment-9", PARTITIONS)


@pytest.mark.parametrize("nothing", [None, [], ()])
async def test_nothing_returned_is_nothing(nothing: object) -> None:
    assert (await succeeded(returning(nothing), OrderPlaced())).out == ()


async def test_ids_follow_from_cause_group_and_place_and_from_the_replay() -> None:
    cause = recorded(OrderPlaced())
    both = (OrderPaid(1), OrderPaid(2))
    first = [entry(out).id for out in (await succeeded(returning(both), cause)).out]
    again = [entry(out).id for out in (await succeeded(returning(both), cause, 5)).out]
    assert first == again == [uuid5(cause.id, "charge:0"), uuid5(cause.id, "charge:1")]

    @consumer("charge", on_replay="emit")
    async def emit(event: OrderPlaced) -> OrderPaid:
        return OrderPaid(1)

    replayed = (await succeeded(emit, cause, replaying=True, job="job-1")).out
    assert entry(replayed[0]).id == uuid5(cause.id, "charge:0:job-1")


async def test_metadata_of_its_own_is_kept_and_completed() -> None:
    own = Metadata(actor="ada", priority=Priority.HIGH, headers={"tenant": "7"})
    cause = recorded(OrderPlaced())
    (out,) = (await succeeded(returning(NewEvent(data=OrderPaid(), metadata=own)), cause)).out
    assert out.letter == "H"
    assert entry(out).metadata == Metadata(
        correlation_id="transaction-7",
        causation_id=str(cause.id),
        actor="ada",
        priority=Priority.HIGH,
        headers={"tenant": "7"},
    )


async def test_data_without_a_struct_is_returned_as_untyped() -> None:
    (out,) = (await succeeded(returning(Untyped("Noted", {"a": 1}, 3)), OrderPlaced())).out
    assert (entry(out).type, entry(out).schema_version, entry(out).data) == ("Noted", 3, b'{"a":1}')


class Unwritable(Struct, frozen=True):
    value: object


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("paid", r"^charge returned a str \('paid'\), which is no event"),
        ({"total": 1}, "^charge returned a dict"),
        (True, "^charge returned a bool"),
        ([OrderPaid(), "paid"], "^charge returned a str"),
        ([[OrderPaid()]], "^charge returned a list"),
        ({OrderPaid()}, "^charge returned a set"),
        (OrderPaid, "^charge returned the class OrderPaid, which is no event"),
        (recorded(OrderPaid()), "^charge returned a RecordedEvent"),
        (To("order-1", To("order-2", OrderPaid())), "^charge returned a To"),
        (To("order-1", None), "^charge returned a NoneType"),
        (Unwritable(object()), "^charge returned an event that cannot be appended: Unwritable"),
        (OrderPaid("ten"), "^charge returned an event that cannot be appended: OrderPaid"),  # type: ignore[arg-type]
        (To("$audit", OrderPaid()), "^charge returned an event that cannot be appended: stream '.audit' is a system"),
        (To("", OrderPaid()), "^charge returned an event that cannot be appended: stream name"),
        (NewEvent(data=OrderPaid(), id=recorded(OrderPaid()).id), "cannot be appended: a returned event has an id"),
        (NewEvent(data=OrderPaid(), metadata={}), "cannot be appended: metadata"),  # type: ignore[arg-type]
        (Unwritable("x" * (1 << 20)), "cannot be appended: an event's size in bytes is"),
        ([OrderPaid()] * 1_001, "cannot be appended: the number of events is 1,001"),
    ],
)
async def test_what_cannot_be_appended_fails_the_attempt_at_once(value: object, said: str) -> None:
    outcome = await failed(returning(value), OrderPlaced())
    assert (outcome.failure.type, outcome.failure.parked) == ("InvalidEvent", True)
    assert re.search(said, outcome.failure.message), outcome.failure.message


async def test_effects_of_an_attempt_whose_return_is_refused_are_dropped_with_it() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced, ctx: Context) -> object:
        ctx.effects.incrby("attempts")
        return "paid" if ctx.attempt == 1 else None

    assert len((await succeeded(charge, OrderPlaced())).effects) == 1


async def test_all_that_is_returned_is_bounded_by_what_a_call_may_hold() -> None:
    @consumer("charge", retry=Park())
    async def charge(event: RecordedEvent) -> list[Unwritable]:
        return [Unwritable("x" * 1_000)] * 3

    outcome = await Handling(charge, home(max_call_bytes=2_000)).handle(Slot(), recorded(OrderPlaced()))
    assert isinstance(outcome, Failed)
    assert "the events' size in bytes is 3," in outcome.failure.message
