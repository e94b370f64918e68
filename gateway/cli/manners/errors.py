"""Errors on stderr, always in one form."""

import sys
import traceback

from gateway.cli.manners.text import paint, safe
from gateway.problems import detail_of, problem_for, problem_object
from infrastructure.errors import EventStoreError

# What the Python API calls an input, and how the command line spells it.
_FLAGS = {
    "expected": "--expected",
    "id": "--id",
    "from_version": "--from",
    "limit": "--limit",
    "since": "--since",
    "types": "--type",
    "categories": "--category",
    "order": "--order",
    "stream": "STREAM",
    "event type": "TYPE",
    "type": "TYPE",
    "data": "DATA",
    "job": "ID",
    "replay": "ID",
    "saga": "ID",
    "projection": "NAME",
    "generation": "GENERATION",
    "database": "--database",
    "as_of": "--as-of",
    "out": "--out",
    "to": "--to",
    "until": "--until",
    "skip": "--yes",
    "group": "GROUP",
    "reason": "--reason",
    "rate": "--rate",
    "at": "--at",
    "after": "--after",
    "older_than": "--older-than",
    "from": "--from",
    "metadata.correlation_id": "--correlation",
    "metadata.causation_id": "--causation",
    "metadata.actor": "--actor",
    "metadata.headers": "--header",
}


def single(error: BaseException) -> BaseException:
    """The error itself, also if task groups have wrapped it; the first of several."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def print_error(error: BaseException, names: frozenset[str], *, json: bool, verbose: bool, color: bool) -> int:
    """Prints the error and returns the exit code. `names` are the flags and positionals of the command: a field that
    is one of them is spelled like it."""
    field = _spelled(error, names)
    if verbose:
        traceback.print_exception(error, file=sys.stderr)
    if json:
        from eventstore import wire

        print(wire.encode(problem_object(error, field=field)).decode(), file=sys.stderr)
    else:
        print(_text(error, field, color=color), file=sys.stderr)
    return problem_for(error).exit_code


def _spelled(error: BaseException, names: frozenset[str]) -> str | None:
    field = error.field if isinstance(error, EventStoreError) else None
    spellings = (_FLAGS.get(field or ""), f"--{field}")
    return next((each for each in spellings if each in names), field)


def _text(error: BaseException, field: str | None, *, color: bool) -> str:
    first, *more = detail_of(error).splitlines() or [""]
    lines = [f"{paint('error:', 'bad', color=color)} {problem_for(error).code}: {safe(first)}"]
    lines += [f"    {safe(line)}" for line in more]
    remedy = error.remedy if isinstance(error, EventStoreError) else "run it again with -v, and report what it shows"
    if field:
        lines.append(f"  field: {safe(field)}")
    if remedy:
        lines.append(f"  hint:  {safe(remedy)}")
    return "\n".join(lines)
