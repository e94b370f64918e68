"""The contract of sinks, for those of SQL and for one of one's own."""

import pytest

from projections.sinks.contract import CONTRACT, Check
from tests.support.sinks import ToyUnderTest, sql_under_test

checks = pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)


@checks
def test_a_database(database: str, check: Check) -> None:
    with sql_under_test(database) as tested:
        check(tested)


@checks
def test_a_sink_of_ones_own(check: Check) -> None:
    check(ToyUnderTest())
