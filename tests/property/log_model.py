"""A small model of one partition: what append.lua must answer and leave behind, in plain Python (PROTOCOLS 0 and 6).

Nothing here knows Redis. Time and the identity of the server process are arguments.
"""

from typing import Any
from uuid import UUID

from msgspec import Struct

HOUR_US = 3_600_000_000
TAG_DIGITS = 5  # of the replid, which make an epoch unlike the one that another history makes in the same moment

Verdict = tuple[Any, ...]


class SentEvent(Struct, frozen=True):
    id: UUID
    data: bytes
    letter: str = "N"
    type: str = "T"
    schema_version: int = 1

    @property
    def content(self) -> tuple[UUID, str, int, bytes]:
        """What is compared when an id comes again."""
        return self.id, self.type, self.schema_version, self.data


class SentAppend(Struct, frozen=True):
    stream: str
    expected: int | str
    own_ids: bool
    cause_at: int
    events: tuple[SentEvent, ...]

    @property
    def looked_up(self) -> tuple[UUID, ...]:
        """The ids that the duplicate window guards: all of the caller's, or the library's first."""
        ids = tuple(event.id for event in self.events)
        if self.own_ids:
            return ids
        return () if isinstance(self.expected, int) else ids[:1]


class StoredEvent(Struct, frozen=True):
    event: SentEvent
    stream: str
    version: int
    epoch: int
    position: int
    recorded_at: int


class LogModel:
    """One partition of a log."""

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self.log: list[StoredEvent] = []
        self.streams: dict[str, list[int]] = {}  # positions
        self.broken: set[str] = set()  # streams whose index key is not a list
        self.buckets: tuple[dict[UUID, int], dict[UUID, int]] = ({}, {})
        self.bucket = self.age = self.at = 0
        self.epochs: list[tuple[int, int]] = []  # number, first position
        self.replid, self.number, self.last = "", 0, 0

    def copy(self) -> "LogModel":
        twin = LogModel(self.window_us)
        vars(twin).update(vars(self))
        twin.log, twin.epochs = list(self.log), list(self.epochs)
        twin.streams = {name: list(positions) for name, positions in self.streams.items()}
        twin.buckets = (dict(self.buckets[0]), dict(self.buckets[1]))
        return twin

    def version(self, stream: str) -> int:
        return len(self.streams.get(stream, ()))

    def call(self, appends: list[SentAppend], now: int, replid: str) -> list[Verdict]:
        """One script call: each append is checked in full, then written, then the next."""
        number = self.number if replid == self.replid else max(self.number, now) + 1 + int(replid[:TAG_DIGITS], 16)
        known = {**self.buckets[0], **self.buckets[1]}
        noted: dict[UUID, int] = {}
        head = len(self.log)
        verdicts = [self._append(append, now, number, known, noted) for append in appends]
        if len(self.log) > head:
            self.replid, self.number = replid, number
        if noted:
            self._note(noted, now)
        return verdicts

    def _append(
        self, append: SentAppend, now: int, number: int, known: dict[UUID, int], noted: dict[UUID, int]
    ) -> Verdict:
        if append.stream in self.broken:
            return ("type",)
        verdict = self._repeated(append, known) or self._refused(append, now)
        if verdict is None:
            verdict = self._write(append, now, number)
            first = verdict[2] - len(append.events) + 1
            written = {event_id: first + place for place, event_id in enumerate(append.looked_up)}
            known.update(written)
            noted.update(written)
        return verdict

    def _repeated(self, append: SentAppend, known: dict[UUID, int]) -> Verdict | None:
        first = append.events[0].id
        exact = append.expected if isinstance(append.expected, int) else self.version(append.stream)
        if self.version(append.stream) > exact and self._at(append.stream, exact + 1).event.id == first:
            return self._compare(append, exact + 1)
        for place, event_id in enumerate(append.looked_up):
            if event_id not in known:
                continue
            stored = self.log[known[event_id] - 1]
            if place > 0 or stored.stream != append.stream:
                return self._conflict(place, "elsewhere", stored)
            return self._compare(append, stored.version)
        return None

    def _compare(self, append: SentAppend, version: int) -> Verdict:
        """The call's events against those in the log from `version` on."""
        begin = self._at(append.stream, version)
        for place, event in enumerate(append.events):
            if version + place > self.version(append.stream):
                return self._conflict(0, "follows", begin)
            stored = self._at(append.stream, version + place)
            if stored.event.content != event.content:
                same_id = stored.event.id == event.id
                return self._conflict(place, "content", stored) if same_id else self._conflict(0, "follows", begin)
        end = self._at(append.stream, version + len(append.events) - 1)
        return ("ok", end.version, end.position, end.recorded_at, end.epoch)

    def _conflict(self, place: int, why: str, stored: StoredEvent) -> Verdict:
        return ("id", place, why, stored.stream, stored.version, stored.position)

    def _refused(self, append: SentAppend, now: int) -> Verdict | None:
        actual = self.version(append.stream)
        wanted = append.expected
        if (isinstance(wanted, int) and wanted != actual) or (wanted == "exists" and actual == 0):
            return ("version", actual)
        if append.cause_at > now + HOUR_US and append.cause_at > self.last:
            return ("drift", now)
        return None

    def _write(self, append: SentAppend, now: int, number: int) -> Verdict:
        self.last = max(now, self.last + 1, append.cause_at + 1)
        positions = self.streams.setdefault(append.stream, [])
        for event in append.events:
            position = len(self.log) + 1
            if not self.epochs or self.epochs[-1][0] != number:
                self.epochs.append((number, position))
            positions.append(position)
            self.log.append(StoredEvent(event, append.stream, len(positions), number, position, self.last))
        return ("ok", len(positions), len(self.log), self.last, number)

    def _note(self, noted: dict[UUID, int], now: int) -> None:
        self.age += min(max(now - self.at, 0), self.window_us // 8)
        self.at = now
        if self.age >= self.window_us * 5 // 4:
            self.bucket, self.age = 1 - self.bucket, 0
            self.buckets[self.bucket].clear()
        self.buckets[self.bucket].update(noted)

    def _at(self, stream: str, version: int) -> StoredEvent:
        return self.log[self.streams[stream][version - 1] - 1]
