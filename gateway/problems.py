"""Every error code: its HTTP status, its title, and the exit code of the command line."""

from typing import Any

from msgspec import Struct

from eventstore import wire
from eventstore.envelope import Receipt
from infrastructure.errors import EventStoreError

FAILED, USAGE, CONFLICT, NOT_FOUND, UNREACHABLE = 1, 2, 3, 4, 5


class Problem(Struct, frozen=True):
    """One kind of error. `code` is the same word everywhere."""

    code: str
    status: int
    title: str
    exit_code: int


def _rows() -> list[Problem]:
    things = ("stream", "event", "group", "dead-letter", "saga", "projection", "job", "replay", "trace", "timer")
    return [
        _row("bad-request", 400, USAGE),
        _row("unauthenticated", 401, FAILED),
        _row("forbidden", 403, FAILED),
        *(_row(f"{thing}-not-found", 404, NOT_FOUND) for thing in things),
        _row("idempotency-key-in-use", 409, FAILED),
        _row("id-conflict", 409, FAILED),
        _row("plan-changed", 409, FAILED),
        _row("job-running", 409, FAILED),
        _row("job-cancelled", 409, FAILED),
        _row("wrong-state", 409, FAILED),
        _row("trimmed", 410, NOT_FOUND),
        _row("wrong-expected-version", 412, CONFLICT),
        _row("too-large", 413, FAILED),
        _row("unsupported-media-type", 415, FAILED),
        _row("invalid-event", 422, FAILED),
        _row("clock-drift", 422, FAILED),
        _row("idempotency-key-reused", 422, FAILED),
        _row("different-partitions", 422, FAILED),
        _row("quota-exceeded", 429, FAILED),
        Problem("internal", 500, "Internal error", FAILED),
        _row("events-missing", 500, FAILED),
        _row("redis-unavailable", 503, UNREACHABLE),
        _row("read-model-unavailable", 503, UNREACHABLE),
        _row("overloaded", 503, FAILED),
        _row("not-caught-up", 503, FAILED),
        _row("outcome-unknown", 503, FAILED),
        _row("durability-not-reached", 503, FAILED),
    ]


def _row(code: str, status: int, exit_code: int) -> Problem:
    return Problem(code, status, code.replace("-", " ").capitalize(), exit_code)


PROBLEMS: dict[str, Problem] = {row.code: row for row in _rows()}


def problem_for(error: BaseException) -> Problem:
    """The row of an error; an exception that is none of ours, or has an unknown code, is `internal`."""
    code = error.code if isinstance(error, EventStoreError) else "internal"
    return PROBLEMS.get(code, PROBLEMS["internal"])


def problem_object(error: BaseException, *, field: str | None = None) -> dict[str, Any]:
    """The `application/problem+json` object of an error. `field` overrides the error's own, where the way in calls the
    input by another name (a flag, a header)."""
    row = problem_for(error)
    found: dict[str, Any] = {
        "type": f"/problems/{row.code}",
        "code": row.code,
        "title": row.title,
        "status": row.status,
        "detail": detail_of(error),
    }
    if not isinstance(error, EventStoreError):
        return found
    facts = {name: _shape(name, value) for name, value in error.facts.items() if name not in found}
    named = {"field": field or error.field, "remedy": error.remedy}
    return found | {name: value for name, value in named.items() if value} | facts


def detail_of(error: BaseException) -> str:
    if isinstance(error, EventStoreError):
        return error.detail
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _shape(name: str, value: object) -> object:
    if isinstance(value, Receipt):
        return wire.receipt(value)
    if name.endswith("_at") and isinstance(value, int):
        return wire.rfc3339(value)
    return value
