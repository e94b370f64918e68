"""Import and export: the log as NDJSON, one envelope or CloudEvent a line.

**What an import promises.** Every line of the file is in the log exactly once when it ends, in each stream in the order
of the file. Interrupted in whatever way (Ctrl-C, kill -9, power, a server that goes away), the same command goes on
where it stopped; also when lines were added at the end meanwhile. An import that was done adds nothing.

*Lines with a version* are appended with `expected` = version - 1. The log itself tells a repeat from a conflict then,
for ever, and whoever else imports the same.

*Lines without one* go to the end of their stream. They carry their own id, or one made of all lines up to theirs, so
that each run gives a line the same id; the log knows an id again within its duplicate window (10 minutes). Beyond it,
checkpoints do:

    checkpoint 0    before the first event: lines done, a digest of these lines, the heads of all partitions
    a window        4,000 lines or 4 MiB; its streams are appended concurrently, the lines of one stream in order
    checkpoint 1    when all of the window has been acknowledged
    ...

So what was written after the last checkpoint lies behind its heads, and is of the next window: a resumed import looks
for the ids of that window there before it goes on. Checkpoints are events of the stream `$import-<key>`, whose key is a
digest of the first line; which of them belongs to the file at hand, its digest tells. Where the log has lost events to
a failover since, an earlier checkpoint is used, whose heads are still common history.

*Causes.* A line whose causation id is that of a line above it is recorded later than that one, in whatever partitions
both are, as where they came from.

*Two at once.* A checkpoint is appended at an exact version: of two imports of one file, the second to write one ends
with `job-running`. Until then both may have sent the same window; the duplicate window keeps it single.

*Not promised.* A line that is changed after it was imported is another line, and so are all without id behind it. The
place in the other log (partition, position, recorded_at) is not kept: this log gives its own.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from msgspec import Struct

from eventstore import audit, wire
from eventstore.cloud_events import to_cloud_event
from eventstore.filters import Filter
from eventstore.jobs import JobCancelled, running
from eventstore.store import EventStore
from eventstore.transfer.checkpoints import Checkpoints
from eventstore.transfer.lines import LineFile
from eventstore.transfer.window import append_window, known_ids, newest_of

OnProgress = Callable[[int, int | None], None]
"""Told (done, total): lines of an import, events of an export."""


class Imported(Struct, frozen=True):
    """What an import did. `already` lines were in the log before; `appended` now is the rest."""

    job: str
    lines: int
    events: int
    appended: int
    already: int


async def import_events(
    store: EventStore,
    path: Path,
    *,
    who: str,
    why: str | None = None,
    name: str | None = None,
    stream: str | None = None,
    on_progress: OnProgress | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> Imported:
    """Appends the events of an NDJSON file; `stream` is for lines that name none, `name` for the audit stream. It is a
    job: others see and cancel it. Raises JobCancelled at a safe point, and with the number of the line at fault
    InvalidEvent, WrongExpectedVersion, IdConflict or what else an append raises; the lines before it may be in the log
    by then."""
    told, stopping = on_progress or _silent, stop_requested or (lambda: False)
    with LineFile(path, stream) as file:
        checkpoints = await Checkpoints.open(store, file)
        async with running(store, "import", who, why, total=file.total) as job:
            await audit.record(
                store, who, "import", why, {"file": name or path.name, "lines": file.total, "job": job.id}
            )
            known, heads = await known_ids(store, file, checkpoints), await store.heads()
            events = already = checkpoints.start.events
            newest = await newest_of(store.log)
            await job.progress(checkpoints.start.lines)  # done by an earlier run
            for window in file.windows(after=checkpoints.start.lines):
                told(window.first - 1, file.total)
                done = await append_window(store, window, known, heads, newest)
                if done.error is not None:
                    job.done = window.first - 1 + done.lines
                    raise done.error
                already, newest = already + done.already, done.newest
                events, heads = events + len(window.lines), await store.heads()
                await checkpoints.add(window, events, heads)
                if window.error is not None:
                    job.done = window.last
                    raise window.error
                told(window.last, file.total)
                await job.progress(window.last)
                if stopping() and window.last < file.total:
                    raise _stopped(window.last, file.total)
            return Imported(job.id, file.total, events, events - already, already)


async def export_events(
    store: EventStore,
    *,
    where: Filter | None = None,
    cloud_events: bool = False,
    base: str = "",
    on_progress: OnProgress | None = None,
) -> AsyncIterator[bytes]:
    """Each event as one line, in total order, up to the heads seen at the start. Without a filter `total` is the number
    of events, those of the system's own streams included."""
    told = on_progress or _silent
    total = None if where else sum(position for _, position in (await store.heads()).places)
    done = 0
    async for event in store.read_all(order="total", where=where):
        yield wire.encode(to_cloud_event(event, base) if cloud_events else wire.envelope(event)) + b"\n"
        done += 1
        told(done, total)


def _stopped(done: int, total: int) -> JobCancelled:
    return JobCancelled(
        f"stopped after line {done:,} of {total:,}",
        remedy="the same command goes on from there",
        facts={"line": done, "lines": total},
    )


def _silent(done: int, total: int | None) -> None:
    """Nobody wants to know."""
