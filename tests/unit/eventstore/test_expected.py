"""What the caller expects of a stream, and what is said when it is not so."""

import pytest

from eventstore.errors import InvalidRequest, WrongExpectedVersion
from eventstore.expected import MAX_VERSION, Expected, checked, parse


@pytest.mark.parametrize(
    ("expected", "actual", "first"), [(1, 5, 2), (0, 3, 1), (7, 5, 5), (5, 0, 1), ("exists", 0, 1)]
)
def test_the_remedy_reads_what_the_caller_has_not_seen(expected: int | str, actual: int, first: int) -> None:
    assert f"--from {first}," in str(WrongExpectedVersion("order-42", expected, actual).remedy)


@pytest.mark.parametrize(("text", "means"), [("any", Expected.ANY), ("exists", Expected.EXISTS), ("0", 0), ("12", 12)])
def test_an_expectation_is_spelled(text: str, means: Expected | int) -> None:
    assert parse(text) == means


@pytest.mark.parametrize("text", ["", "-1", "1.0", "new", "²", str(MAX_VERSION + 1)])
def test_what_is_no_expectation_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(text)
    assert refused.value.field == "expected"


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None])
def test_what_is_no_version_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        checked(value)  # type: ignore[arg-type]
