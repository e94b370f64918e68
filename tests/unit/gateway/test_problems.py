"""Every error has a code, and every code a status and an exit code."""

import importlib
import pkgutil
from uuid import uuid4

import pytest

import consumers
import eventstore
import gateway
import infrastructure
from eventstore import wire
from eventstore.envelope import Receipt
from eventstore.errors import ClockDrift, DurabilityNotReached, WrongExpectedVersion
from gateway.problems import PROBLEMS, problem_for, problem_object
from infrastructure.errors import EventStoreError, Unavailable


def all_errors() -> list[type[EventStoreError]]:
    for package in (infrastructure, eventstore, consumers, gateway):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, queue = [], [EventStoreError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue += kind.__subclasses__()
    return [
        kind
        for kind in found
        if kind.__module__.split(".")[0] in {"infrastructure", "eventstore", "consumers", "gateway"}
    ]


def test_every_error_of_ours_has_a_row() -> None:
    assert {kind.code for kind in all_errors()} <= set(PROBLEMS)


@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("bad-request", 400, 2),
        ("forbidden", 403, 1),
        ("stream-not-found", 404, 4),
        ("job-not-found", 404, 4),
        ("id-conflict", 409, 1),
        ("trimmed", 410, 4),
        ("wrong-expected-version", 412, 3),
        ("too-large", 413, 1),
        ("invalid-event", 422, 1),
        ("quota-exceeded", 429, 1),
        ("internal", 500, 1),
        ("events-missing", 500, 1),
        ("redis-unavailable", 503, 5),
        ("outcome-unknown", 503, 1),
    ],
)
def test_the_table_of_the_interface(code: str, status: int, exit_code: int) -> None:
    assert (PROBLEMS[code].status, PROBLEMS[code].exit_code) == (status, exit_code)


def test_a_problem_has_the_members_of_the_interface_and_the_facts() -> None:
    assert problem_object(WrongExpectedVersion("order-42", 2, 3), field="If-Match") == {
        "type": "/problems/wrong-expected-version",
        "code": "wrong-expected-version",
        "title": "Wrong expected version",
        "status": 412,
        "detail": "order-42 is at version 3, expected 2",
        "field": "If-Match",
        "stream": "order-42",
        "expected": 2,
        "actual": 3,
        "remedy": "eventstore read order-42 --from 3, then decide again",
    }


def test_times_and_receipts_among_the_facts_have_their_shapes() -> None:
    receipt = Receipt("order-42", 1, 3, 17, 1, 1_000_000, (uuid4(),))
    assert problem_object(DurabilityNotReached((receipt,), "fsync"))["receipt"] == wire.receipt(receipt)
    assert problem_object(ClockDrift("order-42", 2_000_000, 0))["cause_at"] == "1970-01-01T00:00:02.000000Z"


def test_what_is_none_of_ours_is_internal() -> None:
    problem = problem_object(ZeroDivisionError("division by zero"))
    assert (problem["code"], problem["detail"]) == ("internal", "ZeroDivisionError: division by zero")
    assert problem_for(KeyError()).exit_code == 1


def test_facts_never_replace_the_members_of_a_problem() -> None:
    problem = problem_object(Unavailable("gone", reason="unreachable"))
    assert (problem["code"], problem["reason"]) == ("redis-unavailable", "unreachable")
    assert problem_object(EventStoreError("x", facts={"status": "odd"}))["status"] == 500
