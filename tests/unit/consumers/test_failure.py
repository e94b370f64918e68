"""Why an event failed, in a form that can be stored."""

from uuid import UUID

import pytest

from consumers.failure import Failure, cause_of, place_of, told
from eventstore.errors import LogDamaged

FAILURE = Failure(
    type="Declined",
    message="do not honor",
    traceback="Traceback",
    where="charge.py:31",
    event_type="OrderPlaced",
    event_id=UUID(int=7),
    correlation_id=None,
    version=3,
    position=12,
    first_failed_us=1,
    failed_us=2,
    parked=True,
    member="host-1",
)


def caught(raise_it: object) -> BaseException:
    try:
        exec(compile(str(raise_it), "shop.py", "exec"), {})
    except ValueError as error:
        return error
    raise AssertionError


def test_a_failure_is_json_and_comes_back() -> None:
    assert Failure.parse(FAILURE.pack()) == FAILURE
    assert b'"where":"charge.py:31"' in FAILURE.pack()


@pytest.mark.parametrize("packed", [b"", b"{}", b"\xff", b'{"type":7}'])
def test_what_is_no_failure_of_ours_is_damage(packed: bytes) -> None:
    with pytest.raises(LogDamaged):
        Failure.parse(packed)


def test_long_texts_are_cut_the_end_of_a_traceback_is_kept() -> None:
    name, message, trace = told(caught("raise ValueError('x' * 10_000 + 'end')"))
    assert (name, len(message), len(trace)) == ("ValueError", 2_000, 8_000)
    assert message.endswith("x[...]")
    assert trace.startswith("[...]x")
    assert trace.endswith("xend\n")


def test_the_place_is_the_handlers_own_innermost_line() -> None:
    error = caught("def charge():\n    import json\n    json.loads('{')\n\ncharge()")
    assert place_of(error, "shop.py") == "shop.py:3"
    assert place_of(error, "elsewhere.py").startswith("decoder.py:")
    assert place_of(ValueError(), "shop.py") == ""


def test_the_place_of_an_error_that_was_raised_elsewhere_is_where_its_cause_was() -> None:
    late = TimeoutError("too late")
    late.__cause__ = caught("\n\nraise ValueError")
    assert place_of(late, "shop.py") == "shop.py:3"


def test_a_group_of_one_is_that_one() -> None:
    inner = ValueError()
    assert cause_of(ExceptionGroup("", [ExceptionGroup("", [inner])])) is inner
    two = ExceptionGroup("", [inner, inner])
    assert cause_of(two) is two
