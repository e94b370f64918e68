"""eventstore read"""

from typing import Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count
from gateway.cli.names import stream_names

NOTES = """\
Ends at the version that the stream has at the start; tail follows. A terminal
shows 50 events unless --limit says more. With --json each event is a whole
envelope. Exit code 4: there is no such stream.

Example:

    eventstore read order-42 --from 3"""

app = App(name="read", help_epilogue=NOTES, help_format="plaintext")


@app.default
async def read(
    stream: Annotated[str, Parameter(completer=stream_names)],
    /,
    *,
    from_: Annotated[int | None, Parameter(name="--from")] = None,
    limit: int | None = None,
    backwards: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    flags: TimeFlags = TIMED,
) -> None:
    """Print the events of a stream.

    Parameters
    ----------
    stream
        The stream to read.
    from_
        The version to begin with.
    limit
        At most so many events.
    backwards
        The newest first.
    """
    from eventstore import wire
    from gateway import actions
    from gateway.errors import BadRequest

    session = Session(flags)
    if from_ is not None and from_ < 1:
        raise BadRequest(f"{from_} is not a version", field="--from", remedy="versions count from 1")
    most = session.limit(positive(limit, field="--limit"))
    more = most is not None and limit is None
    wanted = most + 1 if most is not None and more else most
    async with session.store(read_only=True) as store:
        events = actions.read_stream(store, stream, from_version=from_, backwards=backwards, limit=wanted)
        shown = 0
        if session.json:
            async for event in events:
                session.show_json(wire.envelope(event))
                shown += 1
        else:
            with session.table(
                Column("VERSION", "right"), Column("RECORDED"), Column("TYPE"), Column("DATA"), cut=True
            ) as table:
                async for event in events:
                    if shown == most:
                        session.note(f"{count(shown)} shown, there are more: --limit N")
                        break
                    table.add(count(event.version), session.time(event.recorded_at), event.type, _data(event.data))
                    shown += 1
        if from_ is not None and not shown:  # of a stream that is there
            session.note(f"{stream} is at version {count(await store.version(stream))}")


def _data(data: object) -> str:
    from eventstore import wire

    return wire.encode(data).decode()
