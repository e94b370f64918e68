"""What a filter lets through."""

from uuid import UUID

import pytest

from eventstore import Filter, Metadata, RecordedEvent
from eventstore.errors import InvalidRequest

EVENT = RecordedEvent(
    UUID(int=1), "order-42-x", 1, 0, 5, 1, 1_000, "OrderPlaced", 1, {}, Metadata(correlation_id="journey")
)


@pytest.mark.parametrize(
    "where",
    [
        Filter(),
        Filter(types=("OrderPaid", "OrderPlaced")),
        Filter(categories=("order",)),
        Filter(correlation_id="journey"),
        Filter(since=1_000, until=1_000),
        Filter(types=("OrderPlaced",), categories=("x", "order"), correlation_id="journey", since=0, until=2_000),
    ],
)
def test_an_event_that_fits_all_that_is_given_matches(where: Filter) -> None:
    assert where.matches(EVENT)


@pytest.mark.parametrize(
    "where",
    [
        Filter(types=("Order",)),
        Filter(categories=("order-42",)),
        Filter(correlation_id="other"),
        Filter(since=1_001),
        Filter(until=999),
        Filter(types=("OrderPlaced",), categories=("x",)),
    ],
)
def test_one_thing_that_does_not_fit_is_enough(where: Filter) -> None:
    assert not where.matches(EVENT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("types", "OrderPlaced"),
        ("types", (1,)),
        ("types", ("OrderPlaced", "")),
        ("categories", "order"),
        ("categories", [""]),
        ("correlation_id", ""),
        ("since", 1.5),
    ],
)
def test_a_filter_that_would_match_nothing_by_mistake_is_refused(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Filter(**{field: value})  # type: ignore[arg-type]
    assert refused.value.field == field
