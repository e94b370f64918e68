"""A projection is refused when it is defined, by the field that is wrong and with what to do."""

from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import Struct

from consumers.errors import InvalidConsumer
from projections import Projection, Rows, given, projection, redis, sql

totals = sa.Table(
    "totals", sa.MetaData(), sa.Column("day", sa.Text, primary_key=True), sa.Column("orders", sa.Integer, default=0)
)
days = sa.Table("days", sa.MetaData(), sa.Column("day", sa.Text, primary_key=True))


class Placed(Struct, frozen=True):
    day: str


class Cancelled(Struct, frozen=True):
    day: str


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "Order totals"}, "name"),
        ({"name": ""}, "name"),
        ({"sink": totals}, "sink"),
        ({"sink": "sqlite:///rows"}, "sink"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"poison": "ignore"}, "poison"),
        ({"timeout": "0s"}, "timeout"),
        ({"categories": "order"}, "categories"),
        ({"retry": 3}, "retry"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidConsumer) as raised:
        projection(**{"name": "totals", "sink": sql(totals), **options})
    assert raised.value.field == field
    assert raised.value.remedy


def test_two_functions_for_one_event_are_refused() -> None:
    @projection("totals", sink=sql(totals))
    def placed(event: Placed, rows: Rows) -> None: ...

    with pytest.raises(InvalidConsumer, match="Placed"):
        _again(placed)


def _again(made: Projection) -> None:
    @made.also
    def twice(event: Placed, rows: Rows) -> None: ...


def test_a_class_is_its_methods() -> None:
    @projection("totals", sink=sql(totals))
    class Totals:
        def placed(self, event: Placed, rows: Rows) -> None:
            rows.add(totals, {"day": event.day}, orders=self._weight())

        def cancelled(self, event: Cancelled, rows: Rows) -> None:
            rows.add(totals, {"day": event.day}, orders=-1)

        def _weight(self) -> int:
            return 1

    made: Any = Totals
    assert set(made.types) == {Placed, Cancelled}
    given(Placed("mon"), Placed("mon"), Cancelled("mon")).project(made).then([{"day": "mon", "orders": 1}])
    with pytest.raises(InvalidConsumer, match="no methods"):
        projection("empty", sink=sql(totals))(type("Empty", (), {}))


def test_the_kit_shows_what_was_expected_and_what_came() -> None:
    @projection("totals", sink=sql(totals, days))
    async def count(event: Placed, rows: Rows) -> None:
        if not event.day:
            raise ValueError("no day")
        rows.add(totals, {"day": event.day}, orders=1)
        rows.put(days, day=event.day)

    done = given(Placed("mon"), Placed("tue"), Placed("mon")).project(count)
    counted: list[dict[str, Any]] = [{"day": "tue", "orders": 1}, {"day": "mon", "orders": 2}]
    done.then({totals: counted, days: [{"day": "mon"}, {"day": "tue"}]})
    done.then({totals: [{"orders": 2}, {"orders": 1}]})
    with pytest.raises(AssertionError, match="other rows of totals"):
        done.then({totals: [{"day": "mon", "orders": 2}]})
    with pytest.raises(AssertionError, match="other rows of totals"):
        done.then({totals: []})
    given(Placed("")).project(count).then_raises(ValueError, "no day")
    with pytest.raises(AssertionError, match="no day"):
        given(Placed("")).project(count).then({totals: []})
    with pytest.raises(AssertionError, match="ValueError was expected"):
        done.then_raises(ValueError)


def test_the_kit_refuses_what_has_no_tables() -> None:
    @projection("sums", sink=redis())
    def count(event: Placed, rows: Rows) -> None: ...

    for wrong in (count, count.consumer("test"), None):
        with pytest.raises(InvalidConsumer, match="no projection with tables"):
            given(Placed("mon")).project(wrong)  # type: ignore[arg-type]
