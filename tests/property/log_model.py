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


class SentPart(Struct, frozen=True):
    """What an append does to one stream; without events it only checks the version."""

    stream: str
    expected: int | str
    events: tuple[SentEvent, ...] = ()


class SentAppend(Struct, frozen=True):
    """An append to one stream; of an `append_many` the first stream's part, and the other parts."""

    stream: str
    expected: int | str
    own_ids: bool
    cause_at: int
    events: tuple[SentEvent, ...]
    others: tuple[SentPart, ...] = ()

    @property
    def parts(self) -> tuple[SentPart, ...]:
        return SentPart(self.stream, self.expected, self.events), *self.others

    def looked_up(self, part: SentPart) -> tuple[UUID, ...]:
        """The ids that the duplicate window guards: all of the caller's, or the library's first of each stream."""
        ids = tuple(event.id for event in part.events)
        if self.own_ids:
            return ids
        return () if isinstance(part.expected, int) else ids[:1]


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
        if any(part.stream in self.broken for part in append.parts):
            return ("type",)
        verdict = self._repeated(append, known) or self._refused(append, now)
        if verdict is None:
            verdict = self._write(append, now, number)
            for part in append.parts:
                first = self.version(part.stream) - len(part.events)
                for place, event_id in enumerate(append.looked_up(part), 1):
                    known[event_id] = noted[event_id] = self.streams[part.stream][first + place - 1]
        return verdict

    def _repeated(self, append: SentAppend, known: dict[UUID, int]) -> Verdict | None:
        """An append is known in all its parts or in none."""
        found = {i: self._repeated_part(append, part, known) for i, part in enumerate(append.parts) if part.events}
        for i, answer in found.items():
            if answer is not None and answer[0] == "conflict":
                return ("id", i, *answer[1:])
        before = [i for i, answer in found.items() if answer is not None]
        if not before:
            return None
        if len(before) < len(found):
            part, answer = append.parts[before[0]], found[before[0]]
            assert answer is not None
            return (
                "id",
                before[0],
                *self._conflict(0, "apart", self._at(part.stream, answer[0] - len(part.events) + 1))[1:],
            )
        return ("ok", *found.values())

    def _repeated_part(self, append: SentAppend, part: SentPart, known: dict[UUID, int]) -> Verdict | None:
        first = part.events[0].id
        exact = part.expected if isinstance(part.expected, int) else self.version(part.stream)
        if self.version(part.stream) > exact and self._at(part.stream, exact + 1).event.id == first:
            return self._compare(part, exact + 1)
        for place, event_id in enumerate(append.looked_up(part)):
            if event_id not in known:
                continue
            stored = self.log[known[event_id] - 1]
            if place > 0 or stored.stream != part.stream:
                return self._conflict(place, "elsewhere", stored)
            return self._compare(part, stored.version)
        return None

    def _compare(self, part: SentPart, version: int) -> Verdict:
        """The part's events against those in the log from `version` on."""
        begin = self._at(part.stream, version)
        for place, event in enumerate(part.events):
            if version + place > self.version(part.stream):
                return self._conflict(0, "follows", begin)
            stored = self._at(part.stream, version + place)
            if stored.event.content != event.content:
                same_id = stored.event.id == event.id
                return self._conflict(place, "content", stored) if same_id else self._conflict(0, "follows", begin)
        end = self._at(part.stream, version + len(part.events) - 1)
        return (end.version, end.position, end.recorded_at, end.epoch)

    def _conflict(self, place: int, why: str, stored: StoredEvent) -> Verdict:
        return ("conflict", place, why, stored.stream, stored.version, stored.position)

    def _refused(self, append: SentAppend, now: int) -> Verdict | None:
        failed = []
        for i, part in enumerate(append.parts):
            actual, wanted = self.version(part.stream), part.expected
            if (isinstance(wanted, int) and wanted != actual) or (wanted == "exists" and actual == 0):
                failed.append((i, actual))
        if failed:
            return ("version", *failed)
        if append.cause_at > now + HOUR_US and append.cause_at > self.last:
            return ("drift", now)
        return None

    def _write(self, append: SentAppend, now: int, number: int) -> Verdict:
        self.last = max(now, self.last + 1, append.cause_at + 1)
        return ("ok", *(self._write_part(part, number) for part in append.parts if part.events))

    def _write_part(self, part: SentPart, number: int) -> Verdict:
        positions = self.streams.setdefault(part.stream, [])
        for event in part.events:
            position = len(self.log) + 1
            if not self.epochs or self.epochs[-1][0] != number:
                self.epochs.append((number, position))
            positions.append(position)
            self.log.append(StoredEvent(event, part.stream, len(positions), number, position, self.last))
        return (len(positions), len(self.log), self.last, number)

    def _note(self, noted: dict[UUID, int], now: int) -> None:
        self.age += min(max(now - self.at, 0), self.window_us // 8)
        self.at = now
        if self.age >= self.window_us * 5 // 4:
            self.bucket, self.age = 1 - self.bucket, 0
            self.buckets[self.bucket].clear()
        self.buckets[self.bucket].update(noted)

    def _at(self, stream: str, version: int) -> StoredEvent:
        return self.log[self.streams[stream][version - 1] - 1]
