"""A worker process of a projection, to be killed and replaced at any moment. The file `database` beside its notes says
where the rows are: a URL, or `redis`."""

import sys
from pathlib import Path

import anyio
import structlog

from consumers import run
from eventstore import EventStore, RecordedEvent, Unavailable
from projections import Projection, Rows, projection, redis
from tests.support.projected import counting
from tests.support.stopping import stopped_by_sigterm
from tests.support.stores import Noted

NAME = "counts"
COUNTER = "counter"


def counter_of(where: str) -> Projection:
    """Counts events and what they carry."""
    if where != "redis":
        return counting(where, name=NAME)

    @projection(NAME, sink=redis())
    def count(event: RecordedEvent, rows: Rows) -> None:
        rows.effects.hincrby(COUNTER, "all", 1)
        rows.effects.hincrby(COUNTER, event.stream, event.data.n)

    return count


async def work(notes: Path, lease_seconds: float) -> None:
    count = counter_of(notes.with_name("database").read_text())
    with stopped_by_sigterm() as stop:
        while not stop.is_set():
            try:
                async with EventStore.open(types=[Noted]) as store:
                    await run(store, [count], stop=stop, lease_seconds=lease_seconds)
            except Unavailable:  # the server is away when this begins
                await anyio.sleep(0.1)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    anyio.run(work, Path(sys.argv[1]), float(sys.argv[2]))
