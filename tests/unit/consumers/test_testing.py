"""given, handle, then: a consumer tested without a server, and what is said when something else comes than expected."""

import threading
from collections.abc import Callable

import anyio
import pytest

from consumers.consumer import consumer
from consumers.context import Context, To
from consumers.errors import InvalidConsumer
from consumers.resources import Resource
from consumers.testing import given
from eventstore.envelope import Metadata, NewEvent, RecordedEvent, Untyped
from eventstore.errors import InvalidEvent, InvalidRequest
from tests.support.orders import Declined, OrderPaid, OrderPlaced, OrderShipped


class Bank:
    def __init__(self, limit: int = 100) -> None:
        self.limit = limit


@consumer("charge")
async def charge(event: OrderPlaced, bank: Bank, ctx: Context) -> OrderPaid | None:
    if event.total > bank.limit:
        raise Declined(f"{bank.limit} is the limit")
    ctx.effects.hincrby("orders", ctx.event.stream)
    return OrderPaid(event.total) if event.total else None


@charge.also()
def ship(event: OrderPaid, ctx: Context) -> list[object]:
    return [To("shipping-1", OrderShipped()), NewEvent(data=OrderShipped("there"), metadata=Metadata(actor="ada"))]


BANK = (Resource(Bank, Bank()),)


def test_what_a_consumer_returns_follows_from_the_events() -> None:
    given(OrderPlaced(4)).handle(charge, resources=BANK).then(OrderPaid(4))
    given(OrderPlaced(4), OrderPlaced(5)).handle(charge, resources=BANK).then(OrderPaid(4), OrderPaid(5))
    given(OrderPlaced(0), OrderShipped()).handle(charge, resources=BANK).then_nothing()
    given(OrderPlaced(400)).handle(charge, resources=BANK).then_raises(Declined, match="^100 is")
    given(OrderPlaced(4)).handle(charge, resources=BANK).then_effects(("HINCRBY", "orders", "given", 1))


def test_streams_count_where_they_are_not_the_causes() -> None:
    paid = given(OrderPaid(), stream="order-1").handle(charge, resources=BANK)
    paid.then(To("shipping-1", OrderShipped()), OrderShipped("there"))
    paid.then(To("shipping-1", OrderShipped()), To("order-1", OrderShipped("there")))
    paid.then(To("shipping-1", OrderShipped()), NewEvent(data=OrderShipped("there"), metadata=Metadata(actor="ada")))
    with pytest.raises(AssertionError, match="other events"):
        paid.then(OrderShipped(), OrderShipped("there"))


def test_the_exception_comes_back_and_ends_the_handling() -> None:
    handled = given(OrderPlaced(1), OrderPlaced(101), OrderPlaced(2)).handle(charge, resources=BANK)
    assert handled.then_raises(Declined).args == ("100 is the limit",)
    assert len(handled.done) == 1


@pytest.mark.anyio
async def test_it_may_be_used_where_a_loop_runs() -> None:
    given(OrderPlaced(4)).handle(charge, resources=BANK).then(OrderPaid(4))


def test_attempt_and_replay_are_what_the_test_says() -> None:
    @consumer("group", on_replay="emit")
    async def about(event: OrderPlaced, ctx: Context) -> OrderPaid:
        return OrderPaid(ctx.attempt * 10 + ctx.replaying)

    given(OrderPlaced()).handle(about, attempt=3, replaying=True).then(OrderPaid(31))


def test_an_attempt_over_its_time_fails() -> None:
    @consumer("hang", timeout="10ms")
    async def hang(event: OrderPlaced) -> None:
        await anyio.sleep_forever()

    given(OrderPlaced()).handle(hang).then_raises(TimeoutError, match="hang took longer than 10ms")


def test_envelopes_have_versions_metadata_and_streams() -> None:
    seen: list[RecordedEvent] = []

    @consumer("audit", categories=["order"])
    def audit(event: RecordedEvent) -> None:
        seen.append(event)
        assert threading.current_thread() is not threading.main_thread()

    about = NewEvent(data=OrderPlaced(2), metadata=Metadata(correlation_id="seven"))
    events = [
        OrderPlaced(1),
        To("order-2", OrderPaid()),
        about,
        To("stock-1", OrderPlaced()),
        To("$audit", OrderPaid()),
    ]
    given(*events, stream="order-1").handle(audit).then_nothing()
    assert [(each.stream, each.version) for each in seen] == [("order-1", 1), ("order-2", 1), ("order-1", 2)]
    assert seen[0].metadata.correlation_id == str(seen[0].id)
    assert seen[2].metadata.correlation_id == "seven"
    assert seen[0].recorded_at < seen[1].recorded_at


@pytest.mark.parametrize("system", [True, False])
def test_events_of_system_streams_are_for_those_who_ask(system: bool) -> None:
    @consumer("audit", system=system)
    async def audit(event: RecordedEvent) -> To:
        return To("seen", event.data)

    handled = given(To("$audit", OrderPaid())).handle(audit)
    handled.then(*[To("seen", OrderPaid())] * system)


def test_what_an_older_release_stored_is_upcast() -> None:
    seen: list[object] = []

    @consumer("ship")
    async def shipped(event: OrderShipped) -> None:
        seen.append(event)

    given(Untyped("Sent", {"to": "there"}, schema_version=1)).handle(shipped).then_nothing()
    assert seen == [OrderShipped("there")]


def lines(check: Callable[[], object]) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        check()
    return str(caught.value).splitlines()


def test_other_events_are_told_one_by_one_with_the_fields_that_differ() -> None:
    handled = given(OrderPlaced(4)).handle(charge, resources=BANK)
    assert lines(lambda: handled.then(OrderPaid(5), OrderPaid(6))) == [
        "other events were expected",
        "  given     OrderPlaced(total=4)",
        "  handled   by consumer charge (charge, ship)",
        "  1. expected     OrderPaid(total=5)",
        "     actual       OrderPaid(total=4)",
        "                  total: 5 expected, 4 came",
        "  2. expected     OrderPaid(total=6)",
        "     actual       nothing more",
    ]
    assert lines(handled.then_nothing)[-1] == "     actual       OrderPaid(total=4)"


def test_other_effects_are_told() -> None:
    handled = given(OrderPlaced(4)).handle(charge, resources=BANK)
    assert lines(lambda: handled.then_effects(("SET", "orders", 1)))[-2:] == [
        "  1. expected     ('SET', 'orders', 1)",
        "     actual       ('HINCRBY', 'orders', 'given', 1)",
    ]
    assert lines(handled.then_effects)[0] == "other effects were expected"


def test_an_exception_is_told_where_none_was_expected_and_its_lack_where_one_was() -> None:
    declined = given(OrderPlaced(400)).handle(charge, resources=BANK)
    assert lines(declined.then_nothing)[0] == "expected was no event"
    assert lines(declined.then_effects)[-1] == "  raised    Declined('100 is the limit')"
    assert lines(lambda: declined.then_raises(ValueError))[0] == "ValueError was expected"
    assert lines(lambda: declined.then_raises(Declined, "^7"))[0] == "Declined matching '^7' was expected"
    paid = given(OrderPlaced(4)).handle(charge, resources=BANK)
    assert lines(lambda: paid.then_raises(Declined))[-1] == "  actual    To(stream='given', event=OrderPaid(total=4))"


def test_what_cannot_be_given_or_expected_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"an event of given\(\.\.\.\) is of type list"):
        given([OrderPlaced()])
    with pytest.raises(InvalidEvent, match="OrderPlaced"):
        given(OrderPlaced("ten")).handle(charge, resources=BANK)  # type: ignore[arg-type]
    with pytest.raises(InvalidConsumer, match="wants a resource of Bank"):
        given(OrderPlaced()).handle(charge)
    with pytest.raises(InvalidConsumer, match="no consumer"):
        given(OrderPlaced()).handle(ship.handlers[0].function)  # type: ignore[arg-type]


@pytest.mark.parametrize("events", [(), (OrderShipped(),), (To("shipping-1", OrderShipped()),)])
def test_events_that_the_consumer_does_not_take_test_nothing_and_are_refused(events: tuple[object, ...]) -> None:
    with pytest.raises(InvalidRequest, match=r"charge takes none of|no event is given") as refused:
        given(*events).handle(charge, resources=BANK)
    assert refused.value.remedy == "charge takes OrderPaid, OrderPlaced"


def test_how_often_and_whether_again_are_checked() -> None:
    with pytest.raises(InvalidRequest, match="attempt is 0"):
        given(OrderPlaced(1)).handle(charge, resources=BANK, attempt=0)
    with pytest.raises(InvalidRequest, match="replaying is of type str"):
        given(OrderPlaced(1)).handle(charge, resources=BANK, replaying="no")  # type: ignore[arg-type]


def test_an_effect_is_expected_as_a_tuple_in_letters_of_any_case() -> None:
    handled = given(OrderPlaced(4)).handle(charge, resources=BANK)
    handled.then_effects(("hincrby", "orders", "given", 1))
    with pytest.raises(InvalidRequest, match="an effect of then_effects") as refused:
        handled.then_effects(["HINCRBY", "orders", "given", 1])  # type: ignore[arg-type]
    assert "HINCRBY" in (refused.value.remedy or "")


def test_what_a_handler_may_return_is_told_where_it_returned_something_else() -> None:
    @consumer("lazily")
    async def lazily(event: OrderPlaced) -> object:
        return (OrderPaid(n) for n in range(2))

    with pytest.raises(AssertionError, match=r"(?s)lazily returned a generator.*remedy +return an event"):
        given(OrderPlaced(4)).handle(lazily).then(OrderPaid(0), OrderPaid(1))
