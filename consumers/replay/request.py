"""What somebody wants replayed, and how it is kept with the job that does it."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from consumers.errors import InvalidRequest
from consumers.group_name import refuse_of_projection
from consumers.replay.targets import BOUNDS, Ago, Latest, Positions, Target, Time, Version
from consumers.scope import Scope
from eventstore.arguments import not_empty
from eventstore.names import plain_name, stream_name

Mode = Literal["in-place", "by-stream"]
MOST_STREAMS = 1_000


class Request(Struct, frozen=True):
    """`group` goes back, or ahead, to `to`. With `streams` these alone do, and so does the stream of a `Version`; the
    rest of the group flows. What is handled again is bounded by `until`, and by `types` and `correlation_id`: events
    that do not match are passed over without a call. `rate` is how many are handled again in a second, at most. What
    the group had not finished before is handled whatever these say."""

    group: str
    to: Target
    streams: tuple[str, ...] = ()
    until: Target | None = None
    types: tuple[str, ...] = ()
    correlation_id: str | None = None
    rate: float | None = None

    @property
    def mode(self) -> Mode:
        return "by-stream" if self.named else "in-place"

    @property
    def named(self) -> tuple[str, ...]:
        """The streams, if it is about some."""
        return (self.to.stream,) if isinstance(self.to, Version) else self.streams

    def check(self) -> None:
        """Raises InvalidRequest for what makes no sense, whatever the log has."""
        refuse_of_projection(plain_name(self.group, "group"))
        for stream in self.named:
            stream_name(stream)
        if len(set(self.named)) > MOST_STREAMS:
            raise InvalidRequest(
                f"{len(self.named)} streams are too many for one replay", field="stream", remedy=f"{MOST_STREAMS:,}"
            )
        if isinstance(self.to, Version) and set(self.streams) - {self.to.stream}:
            raise InvalidRequest(
                f"{self.to} is a version of one stream alone", field="stream", remedy="a time, or one replay for each"
            )
        not_empty(types=self.types, correlation_id=self.correlation_id)
        if self.until is not None and not isinstance(self.until, Time | Ago | Positions | Latest):
            raise InvalidRequest(f"{self.until} is no bound", field="until", remedy=BOUNDS)
        if self.rate is not None and not self.rate > 0:
            raise InvalidRequest(f"rate is {self.rate}", field="rate", remedy="events per second, such as 20")

    def check_bounds(self) -> None:
        """Raises InvalidRequest if nothing lies between the places, whose times are fixed by now."""
        match self.to, self.until:
            case Time(first), Time(last) if last < first:
                raise self._no_bound("")
            case Positions(firsts), Positions(lasts):
                before = {each.partition: each.position for each in firsts}
                for each in lasts:
                    if each.position <= before.get(each.partition, -1):
                        raise self._no_bound(f" in partition {each.partition}")

    def _no_bound(self, where: str) -> InvalidRequest:
        return InvalidRequest(
            f"it ends at {self.until}, before it begins at {self.to}{where}",
            field="until",
            remedy="give a later one, or leave it out: then all is handled again",
        )


class PartMove(Struct, frozen=True):
    """Of a replay in place: one partition, from its offset to another one. `events` are handled again, up to the
    position `until` if there is a bound; `skipped` are never handled."""

    partition: int
    from_: int = msgspec.field(name="from")
    to: int = 0
    events: int = 0
    skipped: int = 0
    until: int | None = None

    @property
    def is_one(self) -> bool:
        return self.from_ != self.to


class StreamMove(Struct, frozen=True):
    """Of a replay by stream: one stream, from the version that it would handle next to an earlier one."""

    stream: str
    partition: int
    from_: int = msgspec.field(name="from")
    to: int = 0
    events: int = 0
    until: int | None = None


class About(Struct, frozen=True):
    """What the job of a replay keeps of it: enough to make the moves that a crash has left unmade."""

    group: str
    mode: Mode
    to: str
    until: str | None
    types: tuple[str, ...]
    correlation_id: str | None
    rate: float | None
    partitions: tuple[PartMove, ...] = ()
    streams: tuple[StreamMove, ...] = ()

    @property
    def concerned(self) -> tuple[int, ...]:
        """The partitions that are moved."""
        moved = {each.partition for each in self.partitions} | {each.partition for each in self.streams}
        return tuple(sorted(moved))

    @property
    def events(self) -> int:
        """That are handled again."""
        return sum(map(self.events_in, self.concerned))

    def events_in(self, partition: int) -> int:
        moves: tuple[PartMove | StreamMove, ...] = (*self.partitions, *self.streams)
        return sum(each.events for each in moves if each.partition == partition)

    def scope(self, job: str, partition: int) -> Scope:
        moves: tuple[PartMove | StreamMove, ...] = (*self.partitions, *self.streams)
        until = next(each.until for each in moves if each.partition == partition)
        first = partition == self.concerned[0]
        return Scope(job, until, self.types, self.correlation_id, self.rate, first)

    def pack(self) -> dict[str, Any]:
        packed: dict[str, Any] = msgspec.to_builtins(self)
        return packed

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> "About":
        return msgspec.convert(stored, cls)
