"""eventstore publish"""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.inputs import as_data, parse_headers, types_of, uuid_of
from gateway.cli.manners.session import Session
from gateway.cli.names import stream_names

if TYPE_CHECKING:
    from msgspec import Struct

    from eventstore import NewEvent, Priority

NOTES = """\
DATA is JSON; - reads it from stdin; without it the event has no members. Its
type need not be known here, unless strict_types is on. With --app it is one of
the module's, and has the schema version that the module gives it, else 1.

EXPECTED is the version that the stream must be at: any, exists, or a number
(0: it must be new). Exit code 3 says that it is at another one. Published
again with the same --id, an event is not written again.

With --at or --after it waits, and any worker appends it when it is due, to
whatever version the stream has then; `timers` lists and cancels.

Example:

    eventstore publish order-42 OrderPlaced '{"total": 99}' --expected 0"""

app = App(name="publish", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def publish(
    stream: Annotated[str, Parameter(completer=stream_names)],
    type: str,  # noqa: A002 - the word of the interface
    data: Annotated[str, Parameter(allow_leading_hyphen=True)] = "{}",
    /,
    *,
    expected: str = "any",
    id: Annotated[str | None, Parameter(name="--id")] = None,  # noqa: A002
    correlation: str | None = None,
    causation: str | None = None,
    priority: str = "NORMAL",
    actor: str | None = None,
    header: Annotated[list[str] | None, Parameter(negative="")] = None,
    at: str | None = None,
    after: str | None = None,
    app: str | None = None,
    flags: ServerFlags = SERVER,
) -> None:
    """Append one event to a stream, now or later.

    Parameters
    ----------
    stream
        The stream to append to.
    type
        The type of the event.
    data
        Its data, as JSON, or - for stdin.
    expected
        any, exists, or the version that the stream must be at.
    id
        A UUID of your own, which makes a repeat safe.
    correlation
        What groups one business transaction.
    causation
        The id of the event that caused this one.
    priority
        LOW, NORMAL, HIGH or CRITICAL.
    actor
        Who did it.
    header
        A header, K=V; may be repeated.
    at
        Append it at this time: RFC 3339, or epoch microseconds.
    after
        Append it after this time, such as 15m.
    app
        A module whose event types the data are checked against.
    """
    from eventstore import Metadata, NewEvent, Untyped
    from eventstore.expected import parse
    from gateway import actions

    session = Session(flags)
    metadata = Metadata(
        correlation_id=correlation,
        causation_id=causation,
        actor=actor,
        priority=_priority(priority),
        headers=parse_headers(header),
    )
    found, event_id = as_data(data), None if id is None else uuid_of(id, field="--id")
    expected_version, types = parse(expected.lower()), types_of(app)
    version = 1 if app is None else _schema_version(type, types, app)
    event = NewEvent(data=Untyped(type, found, version), id=event_id, metadata=metadata)
    if at is not None or after is not None:
        _check_later(at, after, expected_version)
        await _publish_later(session, types, stream, event, at, after)
        return
    async with session.store(types) as store:
        receipt = await actions.append(store, stream, [event], expected=expected_version)
    place = f"partition {receipt.partition}, position {receipt.position:,}"
    session.show(receipt, f"{receipt.stream} is at version {receipt.version:,}", f"  {receipt.ids[-1]}  {place}")


def _schema_version(name: str, types: "list[type[Struct]]", module: str) -> int:
    """That of the type now; events under a former name are as old as the name. A name that the module does not have is
    a slip: nothing would be checked, and no handler would ever get the event."""
    from eventstore.event_types import EventTypes
    from gateway.errors import BadRequest

    known = EventTypes(types)
    found = known.named(name)
    if found is None:
        raise BadRequest(
            f"{module} has no event type {name}",
            field="TYPE",
            remedy=f"eventstore types --app {module} lists them{known.did_you_mean(name)}",
        )
    return found.version if found.name == name else 1


def _check_later(at: str | None, after: str | None, expected: object) -> None:
    from eventstore import Expected
    from gateway.errors import BadRequest

    if at is not None and after is not None:
        raise BadRequest("--at and --after are given", field="--after", remedy="give one of them")
    if expected is not Expected.ANY:
        raise BadRequest(
            "--expected has no effect on an event that is appended later",
            field="--expected",
            remedy="leave it out: nobody knows now which version the stream will have",
        )


async def _publish_later(
    session: Session, types: "list[type[Struct]]", stream: str, event: "NewEvent", at: str | None, after: str | None
) -> None:
    from gateway import actions

    async with session.store(types) as store:
        found = await actions.schedule_event(store, stream, event, at=at, after=after)
    if found.state == "fired":
        session.show(found, f"{found.stream} has it already", f"  {found.id}")
        return
    cancel = f"eventstore timers cancel {found.stream} {found.id}"
    session.show(found, f"{found.stream} gets it at {found.due_at}", f"  {found.id}, taken back by: {cancel}")


def _priority(text: str) -> "Priority":
    from eventstore import Priority
    from gateway.errors import BadRequest

    try:
        return Priority(text.upper())
    except ValueError as error:
        known = ", ".join(each.value for each in Priority)
        raise BadRequest(f"{text!r} is not a priority", field="--priority", remedy=f"one of {known}") from error
