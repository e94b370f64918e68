"""A consumer is defined: what its handlers take, what its options may be, and what is refused there and then."""

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
from msgspec import Struct

from consumers.consumer import Consumer, consumer
from consumers.context import Context
from consumers.errors import InvalidConsumer
from consumers.rate import Rate
from consumers.retry import DEFAULT, Fixed, Park
from eventstore.envelope import RecordedEvent
from eventstore.errors import InvalidRequest
from tests.support.orders import Declined, Expired, OrderPaid, OrderPlaced, OrderShipped, recorded


class Pool:
    """A resource."""


def test_a_decorated_function_is_a_consumer_with_its_event_context_and_resources() -> None:
    @consumer("charge-cards")
    async def charge(event: OrderPlaced, pool: Pool, about: Context, limit: int = 7) -> OrderPaid:
        return OrderPaid(event.total)

    (handler,) = charge.handlers
    assert (charge.name, handler.name, handler.is_async, handler.context) == ("charge-cards", "charge", True, "about")
    assert [each.name for each in handler.types] == ["OrderPlaced"]
    assert [(each.parameter, each.kind, each.has_default) for each in handler.resources] == [
        ("pool", Pool, False),
        ("limit", int, True),
    ]
    assert charge.types == (OrderPlaced,)


def test_what_is_not_said_is_the_default() -> None:
    @consumer("charge")
    def charge(event: OrderPlaced) -> None: ...

    assert charge.rules.policy_for(ValueError()) is DEFAULT
    assert (charge.concurrency, charge.timeout_seconds, charge.grace_seconds) == (16, 60, 5)
    assert (charge.on_replay, charge.start.end, charge.categories, charge.system, charge.rate) == (
        "drop",
        "earliest",
        (),
        False,
        None,
    )
    assert not charge.handlers[0].is_async


def test_options_are_parsed_where_they_are_given() -> None:
    @consumer(
        "charge",
        retry=Fixed("5s"),
        on={Declined: Park()},
        timeout="200ms",
        grace=1,
        rate="20/s",
        start="2026-11-23T08:00:00Z",
        categories=["order"],
    )
    async def charge(event: OrderPlaced) -> None: ...

    assert charge.rules.policy_for(Expired()) == Park()
    assert (charge.timeout_seconds, charge.grace_seconds, charge.rate) == (0.2, 1, Rate(20, 1))
    assert (charge.start.time(0), charge.categories) == (1_795_420_800_000_000, ("order",))


@pytest.mark.parametrize(("rate", "parsed"), [("100/m", Rate(100, 60)), ("1000/h", Rate(1000, 3600))])
def test_a_rate_is_per_second_minute_or_hour(rate: str, parsed: Rate) -> None:
    @consumer("charge", rate=rate, start="-15m")
    async def charge(event: OrderPlaced) -> None: ...

    assert charge.rate == parsed
    assert charge.start.time(1_000_000_000) == 100_000_000


def test_a_union_takes_each_of_its_types_and_the_envelope_all() -> None:
    @consumer("one")
    async def one(event: OrderPlaced | OrderPaid) -> None: ...

    @consumer("every")
    async def every(event: RecordedEvent) -> None: ...

    assert one.types == (OrderPlaced, OrderPaid)
    assert (every.types, every.handlers[0].takes_envelope) == ((), True)


def test_annotations_may_be_text_also_of_what_is_known_only_where_the_handler_is() -> None:
    class Local(Struct, frozen=True):
        pass

    @consumer("charge")
    async def charge(event: "Local | OrderPlaced", ctx: "Context") -> "Unknown":  # type: ignore[name-defined]  # noqa: F821
        ...

    assert charge.types == (Local, OrderPlaced)
    assert charge.handlers[0].context == "ctx"


class Shop:
    async def ship(self, event: OrderShipped, ctx: Context) -> None: ...


def test_methods_and_partial_functions_are_handlers() -> None:
    async def charge(event: OrderPlaced, factor: int) -> None: ...

    shipping = consumer("ship")(Shop().ship)
    charging = consumer("charge")(partial(charge, factor=2))
    assert (shipping.handlers[0].name, shipping.handlers[0].is_async) == ("Shop.ship", True)
    assert (charging.handlers[0].name, charging.handlers[0].is_async) == ("charge", True)


def test_further_handlers_belong_to_the_same_group() -> None:
    @consumer("charge", timeout="10s", on_replay="emit")
    async def charge(event: OrderPlaced) -> None: ...

    @charge.also(on_replay="skip", timeout="1s")
    async def receipt(event: OrderPaid) -> None: ...

    @charge.also()
    async def ship(event: OrderShipped) -> None: ...

    assert receipt is charge
    assert ship is charge
    options = [(each.name, each.timeout_seconds, each.on_replay) for each in charge.handlers]
    assert options == [("charge", 10, "emit"), ("receipt", 1, "skip"), ("ship", 10, "emit")]


def test_a_consumer_is_called_like_the_function_that_takes_the_event() -> None:
    @consumer("totals")
    def total(event: OrderPlaced, ctx: Context, factor: int = 1) -> int:
        return event.total * factor

    @total.also()
    def paid(event: OrderPaid) -> str:
        return "paid"

    assert total(OrderPlaced(4), Context(recorded(OrderPlaced(4))), factor=2) == 8
    assert paid(OrderPaid()) == "paid"
    with pytest.raises(InvalidRequest, match="no handler of totals takes OrderShipped"):
        total(OrderShipped())


async def taking_nothing() -> None: ...
async def unannotated(event) -> None: ...  # type: ignore[no-untyped-def]
async def of_text(event: str) -> None: ...
async def of_any_struct(event: Struct) -> None: ...
async def optional(event: OrderPlaced | None) -> None: ...
async def envelope_or(event: RecordedEvent | OrderPlaced) -> None: ...
async def undefined(event: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def variadic(event: OrderPlaced, *rest: int) -> None: ...
async def two_contexts(event: OrderPlaced, one: Context, two: Context) -> None: ...
async def bare(event: OrderPlaced, ctx) -> None: ...  # type: ignore[no-untyped-def]
async def by_place(event: OrderPlaced, ctx: Context, /) -> None: ...
async def generating(event: OrderPlaced) -> Any:
    yield OrderPaid()


@pytest.mark.parametrize(
    ("function", "said", "remedy"),
    [
        (taking_nothing, "taking_nothing takes no event", "first parameter"),
        (unannotated, r"unannotated\(event\) has no annotation", "event: OrderPlaced"),
        (of_text, r"of_text\(event\) is annotated with str, which is no event", "RecordedEvent for every type"),
        (of_any_struct, r"of_any_struct\(event\) is annotated with Struct", "RecordedEvent for every type"),
        (optional, r"optional\(event\) is annotated with NoneType", "union"),
        (envelope_or, r"envelope_or\(event\) takes RecordedEvent beside other types", "alone"),
        (undefined, r"undefined\(event\) has an annotation that cannot be told: name 'Nowhere'", "TYPE_CHECKING"),
        (variadic, r"variadic\(rest\) takes any number", "name and annotate"),
        (two_contexts, r"two_contexts\(two\) is a second Context", "once"),
        (bare, r"bare\(ctx\) has no annotation", "Context, or with the type of a resource"),
        (by_place, r"by_place\(ctx\) can only be given by its place", "move the /"),
        (generating, "generating is a generator", "return a list"),
        (OrderPlaced, "OrderPlaced is no function", "decorate a function"),
        (7, "7 is no function", "decorate a function"),
    ],
)
def test_a_handler_that_cannot_work_is_refused_by_name_with_a_remedy(
    function: Callable[..., Any], said: str, remedy: str
) -> None:
    with pytest.raises(InvalidConsumer, match=f"^handler {said}") as caught:
        consumer("group")(function)
    assert re.search(remedy, caught.value.remedy or "")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"retry": "5s"}, "retry"),
        ({"retry": Fixed}, "retry"),
        ({"on": {"Declined": Park()}}, "on"),
        ({"on": [Declined]}, "on"),
        ({"on": {Declined: 5}}, "on[Declined]"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": None}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"grace": "soon"}, "grace"),
        ({"on_replay": "ignore"}, "on_replay"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-11-23T08:00:00"}, "start"),
        ({"start": "-soon"}, "start"),
        ({"start": 7}, "start"),
        ({"categories": "order"}, "categories"),
        ({"categories": ["order-42"]}, "categories"),
        ({"system": "no"}, "system"),
        ({"rate": "20"}, "rate"),
        ({"rate": "0/s"}, "rate"),
        ({"middleware": "metrics"}, "middleware"),
        ({"middleware": [object()]}, "middleware"),
        ({"name": "two words"}, "name"),
        ({"name": "timers"}, "name"),
        ({"name": "saga.x"}, "name"),
        ({"name": taking_nothing}, "name"),
    ],
)
def test_an_option_that_is_none_is_refused_by_name_with_a_remedy(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidConsumer) as caught:
        consumer(**{"name": "group", **options})
    assert caught.value.field == field
    assert caught.value.remedy


async def charge(event: OrderPlaced) -> None: ...
async def charge_again(event: OrderPaid | OrderPlaced) -> None: ...
async def everything(event: RecordedEvent) -> None: ...
async def ship(event: OrderShipped) -> None: ...


class Sent(Struct, frozen=True):
    pass


async def formerly_shipped(event: Sent) -> None: ...


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (charge, charge_again, "OrderPlaced"),
        (charge, everything, "events of every type, OrderPlaced too"),
        (everything, charge, "events of every type"),
        (ship, formerly_shipped, "Sent"),
    ],
)
def test_two_handlers_of_one_event_in_a_group_are_refused_by_both_names(
    one: Callable[..., Any], other: Callable[..., Any], what: str
) -> None:
    group: Consumer = consumer("group")(one)
    with pytest.raises(InvalidConsumer, match=f"^both {one.__name__} and {other.__name__} take {what}"):
        group.also()(other)
    assert len(group.handlers) == 1


def test_resources_of_one_type_are_told_apart_by_annotated() -> None:
    @consumer("charge")
    async def charge(event: OrderPlaced, pool: Annotated[Pool, "orders"]) -> None: ...

    assert charge.handlers[0].resources[0].kind == Annotated[Pool, "orders"]
