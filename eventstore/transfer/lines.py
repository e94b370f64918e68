"""The lines of an import: read in windows, each event with its line number and an id that every run gives it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from uuid import UUID, uuid5

from msgspec import Struct
from msgspec.structs import replace

from eventstore.cloud_events import from_cloud_event, is_cloud_event
from eventstore.envelope import Metadata, NewEvent
from eventstore.errors import EventStoreError, InvalidEvent
from eventstore.wire import from_envelope, strict_json

WINDOW_LINES = 4_000
WINDOW_BYTES = 4 << 20
_LINE_IDS = UUID("6f0f4f6e-36d4-5d0c-9a54-0b8b1c1d4f0e")
_BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 16 << 20


class Line(Struct, frozen=True):
    """One event of the file. `version` is None where the line has none."""

    number: int
    stream: str
    version: int | None
    event: NewEvent


class Window(Struct, frozen=True):
    """Lines `first` to `last`; blank ones are counted and hold no event. `digest` is of all lines up to `last`. With an
    `error`, `last` is the line before the one at fault."""

    first: int
    last: int
    digest: str
    lines: tuple[Line, ...]
    error: EventStoreError | None = None


class LineFile:
    """An NDJSON file, open."""

    def __init__(self, path: Path, stream: str | None) -> None:
        self._path, self._stream = path, stream
        self._file: BinaryIO | None = None
        self.total = 0
        self.key = ""

    def __enter__(self) -> "LineFile":
        self._file = self._path.open("rb")
        first = self._normal(self._file.readline(MAX_LINE_BYTES))
        self.key = hashlib.sha256(first + (self._stream or "").encode()).hexdigest()[:32]
        self.total = sum(1 for _ in self._raw())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def digests(self, counts: set[int]) -> dict[int, str]:
        """The digest of the first n lines for each n that the file has."""
        found, running = {}, hashlib.sha256()
        if 0 in counts:
            found[0] = running.hexdigest()
        last = max(counts, default=0)
        for number, raw in enumerate(self._raw(), 1):
            if number > last:
                break
            running.update(raw)
            if number in counts:
                found[number] = running.hexdigest()
        return found

    def windows(self, *, after: int) -> Iterator[Window]:
        """All lines behind the first `after` ones."""
        running = hashlib.sha256()
        lines: list[Line] = []
        number, first, size = 0, after + 1, 0
        for number, raw in enumerate(self._raw(), 1):
            before = running.hexdigest() if number > after else ""
            running.update(raw)
            if number <= after:
                continue
            try:
                line = self._line(number, raw, running)
            except EventStoreError as error:
                error.field = error.field or "line"
                yield Window(first, number - 1, before, tuple(lines), at_line(error, number))
                return
            size += len(raw)
            if line is not None:
                lines.append(line)
            if number - first + 1 >= WINDOW_LINES or size >= WINDOW_BYTES:
                yield Window(first, number, running.hexdigest(), tuple(lines))
                lines, first, size = [], number + 1, 0
        if number >= first:
            yield Window(first, number, running.hexdigest(), tuple(lines))

    def _raw(self) -> Iterator[bytes]:
        """Every line in the form that is digested: the same with and without a line end behind the last one."""
        assert self._file is not None  # noqa: S101 - the block of the file
        self._file.seek(0)
        while raw := self._file.readline(MAX_LINE_BYTES + 1):
            yield self._normal(raw)

    @staticmethod
    def _normal(raw: bytes) -> bytes:
        return raw.removeprefix(_BOM).strip() + b"\n"

    def _line(self, number: int, raw: bytes, running: "hashlib._Hash") -> Line | None:
        if raw == b"\n":
            return None
        if len(raw) > MAX_LINE_BYTES:
            raise InvalidEvent(
                f"the line is longer than {MAX_LINE_BYTES:,} bytes",
                remedy="keep large contents elsewhere, and name their place in the event",
            )
        value = _value(raw)
        found = from_cloud_event(value) if is_cloud_event(value) else from_envelope(value)
        stream = found.stream or self._stream
        if stream is None:
            raise InvalidEvent("the event names no stream", field="stream", remedy="--stream NAME for such lines")
        event = found.event
        if event.id is None:
            event = replace(event, id=uuid5(_LINE_IDS, f"{running.hexdigest()}:{stream}"))
        return Line(number, stream, found.version, _correlated(event))


def _correlated(event: NewEvent) -> NewEvent:
    """Lines travel together, and are no transaction for that: one without a correlation id is its own."""
    metadata = event.metadata or Metadata()
    if metadata.correlation_id is not None:
        return event
    return replace(event, metadata=replace(metadata, correlation_id=str(event.id)))


def _value(raw: bytes) -> Any:
    try:
        return strict_json(raw)
    except InvalidEvent as error:
        error.field = None  # the whole line, not the data in it
        error.remedy = error.remedy or "a line is one event: a JSON object in UTF-8"
        raise


def at_line(error: EventStoreError, number: int) -> EventStoreError:
    """The error with the number of the line at fault."""
    error.detail = f"line {number:,}: {error.detail}"
    error.facts = {**error.facts, "line": number}
    return error
