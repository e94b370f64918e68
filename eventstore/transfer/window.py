"""One window of an import: its streams concurrently, the lines of each in order."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from uuid import UUID

import anyio
from msgspec import Struct

from eventstore.cursor import Cursor
from eventstore.errors import EventStoreError, WrongExpectedVersion
from eventstore.expected import Expected, ExpectedVersion
from eventstore.store import EventStore
from eventstore.transfer.checkpoints import Checkpoints
from eventstore.transfer.lines import Line, LineFile, Window, at_line

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


async def append_window(store: EventStore, window: Window, known: frozenset[UUID], before: Cursor) -> int:
    """Appends what is not known; returns how many lines were in the log already, which had the heads `before`. Raises
    the error of the first line at fault, when all other streams of the window have been dealt with."""
    fresh = [line for line in window.lines if line.version is not None or line.event.id not in known]
    by_stream: dict[str, list[Line]] = {}
    for line in fresh:
        by_stream.setdefault(line.stream, []).append(line)
    failures: list[EventStoreError] = []
    already = len(window.lines) - len(fresh)

    async def run(lines: list[Line]) -> None:
        nonlocal already
        try:
            for call in _calls(lines):
                found = await _append(store, call, before)
                already += found  # not in one statement: that reads `already` before it waits
        except EventStoreError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:  # the window bounds their number, so that calls can be joined
        for lines in by_stream.values():
            tasks.start_soon(run, lines)
    if failures:
        raise min(failures, key=_line_of)
    return already


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


async def _append(store: EventStore, call: _Call, before: Cursor) -> int:
    """In one call; where the log knows some of the lines already, line by line, so that each has its own verdict.
    Returns how many were there."""
    try:
        receipt = await store.append(call.lines[0].stream, [line.event for line in call.lines], expected=call.expected)
    except EventStoreError as error:
        if len(call.lines) == 1 or error.code not in _OF_ONE_LINE:
            _explain(error, call.lines[0])
            raise
    else:
        return len(call.lines) if receipt.position <= before.places[receipt.partition][1] else 0
    return sum([await _append(store, _Call((line,)), before) for line in call.lines])


_OF_ONE_LINE = {"id-conflict", "wrong-expected-version", "invalid-event", "too-large", "bad-request"}


def _explain(error: EventStoreError, line: Line) -> None:
    if isinstance(error, WrongExpectedVersion):
        error.field = "version"
        error.remedy = (
            f"{line.stream} must hold what precedes version {line.version} in the file, and no other events: "
            "import into a log without this stream, or leave the versions out"
        )
    at_line(error, line.number)
