"""eventstore tail"""

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session
from gateway.cli.names import categories
from gateway.moments import parse_moment, seconds_of

if TYPE_CHECKING:
    from eventstore.envelope import RecordedEvent
    from eventstore.subscribe import Subscription

NOTES = """\
Without --since it begins now. It ends with Ctrl-C, after --limit events, or
when nothing has come for --until-idle.

--order partition prints events as they arrive, each stream in its order;
total prints them in one order that is the same for everybody, a moment later.

Example:

    eventstore tail --since -15m --until-idle 1s"""

app = App(name="tail", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def tail(
    *,
    type: Annotated[list[str] | None, Parameter(name="--type", negative="")] = None,  # noqa: A002
    category: Annotated[list[str] | None, Parameter(negative="", completer=categories)] = None,
    correlation: str | None = None,
    since: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    order: Literal["partition", "total"] = "partition",
    until_idle: str | None = None,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """Follow the events of all streams as they come.

    Parameters
    ----------
    type
        Only events of this type; may be repeated.
    category
        Only streams whose name begins so, up to the first hyphen; may be repeated.
    correlation
        Only events of this transaction.
    since
        Begin there: RFC 3339, epoch microseconds, or -15m for 15 minutes ago.
    order
        partition: as they arrive; total: one order for all readers.
    until_idle
        End when nothing has come for so long, such as 5s.
    limit
        End after so many events.
    """
    from eventstore import Filter
    from gateway import actions

    session = Session(flags)
    where = Filter(types=tuple(type or ()), categories=tuple(category or ()), correlation_id=correlation)
    start = None if since is None else parse_moment(since, field="--since")
    idle = None if until_idle is None else seconds_of(until_idle, field="--until-idle")
    most = positive(limit, field="--limit")
    async with session.store(read_only=True) as store:
        events = await actions.follow(store, where=where, order=order, since=start)
        async with aclosing(events):
            await _print(session, events, idle, most)


async def _print(session: Session, events: "Subscription", idle: float | None, most: int | None) -> None:
    import anyio

    columns = (Column("RECORDED"), Column("EVENT"), Column("TYPE"), Column("DATA"))
    left = most
    with session.table(*columns, header=False, paged=False, cut=True) as table:
        while left is None or left > 0:
            with anyio.move_on_after(idle) as waiting:
                event = await anext(events)
            if waiting.cancelled_caught:
                return
            if session.json:
                from eventstore import wire

                session.show_json(wire.envelope(event))
            else:
                table.add(*_cells(session, event))
                table.flush()
            sys.stdout.flush()
            left = None if left is None else left - 1


def _cells(session: Session, event: "RecordedEvent") -> tuple[str, str, str, str]:
    from eventstore import wire

    at = session.time(event.recorded_at)
    return at, f"{event.stream}@{event.version}", event.type, wire.encode(event.data).decode()
