"""One window of an import: its streams concurrently, the lines of each in order, and no effect before its cause.

A line whose cause is a line above it in another stream comes a *level* later. All of a level is acknowledged before the
next one begins, and what the next one writes is recorded above it, whatever the clocks of its servers say: by the
promise of which the merged order is made. So it is from one window to the next.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import groupby
from uuid import UUID

import anyio
from msgspec import Struct

from eventstore.cursor import Cursor
from eventstore.errors import EventStoreError, WrongExpectedVersion
from eventstore.expected import Expected, ExpectedVersion
from eventstore.log import Log
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from eventstore.subscribe import promise
from eventstore.transfer.checkpoints import Checkpoints
from eventstore.transfer.lines import Line, LineFile, Window, at_line
from infrastructure.tasks import together

CALL_EVENTS = 250


class _Call(Struct, frozen=True):
    """Lines of one stream for one append."""

    lines: tuple[Line, ...]

    @property
    def expected(self) -> ExpectedVersion:
        version = self.lines[0].version
        return Expected.ANY if version is None else version - 1


async def known_ids(store: EventStore, file: LineFile, checkpoints: Checkpoints) -> frozenset[UUID]:
    """The ids of lines without version that an earlier run has appended after its last checkpoint."""
    if not checkpoints.resumed:
        return frozenset()
    suspects: set[UUID | None] = set()
    for window in file.windows(after=checkpoints.start.lines):
        if window.first > checkpoints.suspected:
            break
        suspects.update(line.event.id for line in window.lines if line.version is None)
    if not suspects:
        return frozenset()
    later = store.read_all(cursor=checkpoints.cursor)
    return frozenset([event.id async for event in later if event.id in suspects])


class Done(Struct):
    """What has become of a window: how many of its lines are in the log, how many were before, the time of the newest
    event, and the error of the first line at fault, if one is."""

    newest: int
    lines: int = 0
    already: int = 0
    error: EventStoreError | None = None

    def add(self, lines: int, already: int, recorded_at: int) -> None:
        self.lines, self.already = self.lines + lines, self.already + already
        self.newest = max(self.newest, recorded_at)


async def newest_of(log: Log) -> int:
    """A time at or above those of all events."""
    return max([time for _, time in await together([partial(promise, log, p, 0) for p in range(log.partitions)])])


async def append_window(store: EventStore, window: Window, known: frozenset[UUID], before: Cursor, above: int) -> Done:
    """Appends what is not known; what was in the log already had the heads `before`. All of it is recorded above a
    time. Where a line is at fault, all other streams of the window are dealt with nevertheless."""
    fresh = [line for line in window.lines if line.version is not None or line.event.id not in known]
    failures: dict[str, EventStoreError] = {}
    done = Done(above)
    done.add(len(window.lines) - len(fresh), len(window.lines) - len(fresh), above)

    async def run(stream: str, lines: list[Line]) -> None:
        try:
            for call in _calls(lines):
                await _append(store, call, before, done)
        except EventStoreError as error:
            failures[stream] = error

    for level in _levels(fresh):
        by_stream: dict[str, list[Line]] = {}
        for line in level:
            if line.stream not in failures:
                by_stream.setdefault(line.stream, []).append(line)
        await _record_above(store.log, done.newest, by_stream)
        async with anyio.create_task_group() as tasks:  # the window bounds their number, so that calls can be joined
            for stream, lines in by_stream.items():
                tasks.start_soon(run, stream, lines)
    done.error = min(failures.values(), key=_line_of, default=None)
    return done


def _levels(lines: Sequence[Line]) -> list[list[Line]]:
    levels: list[list[Line]] = []
    of_stream: dict[str, int] = {}
    of_line: dict[str, tuple[int, str]] = {}
    for line in lines:
        level = of_stream.get(line.stream, 0)
        cause = line.event.metadata.causation_id if line.event.metadata else None
        if cause in of_line:
            cause_level, stream = of_line[cause]
            level = max(level, cause_level + (stream != line.stream))
        of_stream[line.stream], of_line[str(line.event.id)] = level, (level, line.stream)
        levels += [[] for _ in range(len(levels), level + 1)]
        levels[level].append(line)
    return levels


async def _record_above(log: Log, time: int, streams: Collection[str]) -> None:
    partitions = {partition_of(stream, log.partitions) for stream in streams}
    await together([partial(promise, log, partition, time) for partition in partitions])


def _line_of(error: EventStoreError) -> int:
    line = error.facts.get("line", 0)
    return line if isinstance(line, int) else 0


def _calls(lines: Sequence[Line]) -> Iterator[_Call]:
    """Neighbours in one call: versions that follow each other, or none at all."""

    def run_of(numbered: tuple[int, Line]) -> int | None:
        place, line = numbered
        return None if line.version is None else line.version - place

    for _, group in groupby(enumerate(lines), key=run_of):
        part = [line for _, line in group]
        for start in range(0, len(part), CALL_EVENTS):
            yield _Call(tuple(part[start : start + CALL_EVENTS]))


async def _append(store: EventStore, call: _Call, before: Cursor, done: Done) -> None:
    """In one call; where the log knows some of the lines already, line by line, so that each has its own verdict."""
    try:
        receipt = await store.append(call.lines[0].stream, [line.event for line in call.lines], expected=call.expected)
    except EventStoreError as error:
        if len(call.lines) == 1 or error.code not in _OF_ONE_LINE:
            _explain(error, call.lines[0])
            raise
    else:
        known = receipt.position <= before.places[receipt.partition][1]
        done.add(len(call.lines), len(call.lines) if known else 0, receipt.recorded_at)
        return
    for line in call.lines:
        await _append(store, _Call((line,)), before, done)


_OF_ONE_LINE = {"id-conflict", "wrong-expected-version", "invalid-event", "too-large", "bad-request"}


def _explain(error: EventStoreError, line: Line) -> None:
    if isinstance(error, WrongExpectedVersion):
        error.field = "version"
        error.remedy = (
            f"{line.stream} must hold what precedes version {line.version} in the file, and no other events: "
            "import into a log without this stream, or leave the versions out"
        )
    at_line(error, line.number)
