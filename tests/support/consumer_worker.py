"""A worker process that notes each handling it begins and ends, to be killed, stopped and replaced at any moment.

Each handling also brings an effect, which counts the events of its stream: whatever happens to the processes, these
counts must come out exactly.
"""

import os
import sys
from pathlib import Path
from typing import Literal

import anyio
import structlog
from msgspec import Struct, json

from consumers import Context, Fixed, To, consumer, run
from eventstore import EventStore, RecordedEvent, Unavailable
from tests.support.stopping import stopped_by_sigterm

GROUP = "chaos"
COUNTS = "handled"


class Work(Struct, frozen=True):
    """Takes `seconds`; its first `failures` attempts fail; then it is returned to the stream `returns`, if any."""

    seconds: float = 0.0
    failures: int = 0
    returns: str = ""


class Note(Struct, frozen=True):
    """`at` is in seconds of the machine's monotonic clock."""

    what: Literal["began", "ended"]
    pid: int
    stream: str
    version: int
    attempt: int
    replaying: bool
    term: int
    at: float


def read_notes(notes: Path) -> list[Note]:
    """In order of time. A last line that the end of a process cut short does not count."""
    found = [json.decode(line, type=Note) for line in notes.read_bytes().split(b"\n") if line.endswith(b"}")]
    return sorted(found, key=lambda note: note.at)


async def work(notes: Path, lease_seconds: float) -> None:
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: Literal["began", "ended"], event: RecordedEvent, ctx: Context) -> None:
        told = Note(
            what,
            os.getpid(),
            event.stream,
            event.version,
            ctx.attempt,
            ctx.replaying,
            ctx.fencing_token,
            anyio.current_time(),
        )
        os.write(file, json.encode(told) + b"\n")

    @consumer(GROUP, retry=Fixed("100ms", attempts=8, immediate=1), grace="500ms")
    async def handle(event: RecordedEvent, ctx: Context) -> To | None:
        note("began", event, ctx)
        if event.data.seconds:
            await anyio.sleep(event.data.seconds)
        if ctx.attempt <= event.data.failures:
            raise ValueError(f"attempt {ctx.attempt} fails")
        ctx.effects.hincrby(COUNTS, event.stream)
        note("ended", event, ctx)
        return To(event.data.returns, Work()) if event.data.returns else None

    with stopped_by_sigterm() as stop:
        while not stop.is_set():
            try:
                async with EventStore.open(types=[Work]) as store:
                    await run(store, [handle], stop=stop, lease_seconds=lease_seconds)
            except Unavailable:  # the server is away when this begins
                await anyio.sleep(0.1)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    anyio.run(work, Path(sys.argv[1]), float(sys.argv[2]))
