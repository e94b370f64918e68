"""Where a replay goes back to, as people write it, and the position that this means in each partition.

    earliest, latest       the first event that there is; behind the last
    TIME, -15m             events recorded from then on are handled again; a time beyond the head means the head
    P:POS, several by ,    the group stands at POS in partition P, as its OFFSET shows: the next event is POS + 1
    STREAM@VERSION         one stream goes back: VERSION is handled again, and what follows
    -N, +N                 N events back or ahead, in each partition or of each stream, at most to where they end

A position is that of the last event that stays finished. One beyond the head is refused: the group would stand where
nothing is, and what comes there later would be lost to it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from msgspec import Struct

from consumers.errors import InvalidConsumer, InvalidRequest
from consumers.replay.look import Part
from consumers.start import parse_start
from eventstore import read
from eventstore.epochs import epoch_at
from eventstore.log import Log
from eventstore.wire import rfc3339
from infrastructure.durations import format_duration
from infrastructure.patience import replies

EXPECTED = "earliest, latest, a time (2026-11-23T08:00:00Z), -15m, P:POS, STREAM@VERSION, +N or -N"
BOUNDS = "latest, a time (2026-11-23T08:00:00Z), -15m or P:POS"
_SHIFT = re.compile(r"[+-][0-9]{1,15}", re.ASCII)
_POSITION = re.compile(r"([0-9]{1,6}):(?:([0-9]{1,16})-)?([0-9]{1,16})", re.ASCII)
_VERSION = re.compile(r"(.+)@([0-9]{1,15})", re.ASCII | re.DOTALL)


class Earliest(Struct, frozen=True):
    def __str__(self) -> str:
        return "earliest"


class Latest(Struct, frozen=True):
    def __str__(self) -> str:
        return "latest"


class Time(Struct, frozen=True):
    """Microseconds since 1970."""

    us: int

    def __str__(self) -> str:
        return rfc3339(self.us).replace(".000000Z", "Z")


class Ago(Struct, frozen=True):
    """Before the server's present time."""

    seconds: float

    def __str__(self) -> str:
        return f"-{format_duration(self.seconds)}"


class Position(Struct, frozen=True):
    """`epoch` if it is known: then the event must be of that one."""

    partition: int
    position: int
    epoch: int | None = None

    def __str__(self) -> str:
        epoch = "" if self.epoch is None else f"{self.epoch}-"
        return f"{self.partition}:{epoch}{self.position}"


class Positions(Struct, frozen=True):
    """Of some partitions; the others stay as they are."""

    positions: tuple[Position, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.positions))


class Version(Struct, frozen=True):
    """Of a stream, the first that is handled again."""

    stream: str
    version: int

    def __str__(self) -> str:
        return f"{self.stream}@{self.version}"


class Shift(Struct, frozen=True):
    """Events, back if it is negative."""

    events: int

    def __str__(self) -> str:
        return f"{self.events:+}"


Target = Earliest | Latest | Time | Ago | Positions | Version | Shift


def parse_target(text: str, *, field: str = "to", moment: Callable[[str], int] | None = None) -> Target:
    """`moment` reads what begins with a digit and is none of the other forms, as microseconds since 1970; without one
    it is RFC 3339. Raises InvalidRequest, which names `field`."""
    match text:
        case "earliest":
            return Earliest()
        case "latest":
            return Latest()
    if _SHIFT.fullmatch(text):
        return Shift(int(text))
    if found := _VERSION.fullmatch(text):
        return Version(found[1], int(found[2]))
    if all(_POSITION.fullmatch(each) for each in text.split(",")):
        return _positions(text, field)
    if moment is not None and text[:1].isdigit():
        return Time(moment(text))
    return _time(text, field)


def _positions(text: str, field: str) -> Positions:
    found = [_POSITION.fullmatch(each) for each in text.split(",")]
    positions = tuple(
        Position(int(each[1]), int(each[3]), None if each[2] is None else int(each[2])) for each in found if each
    )
    if len({each.partition for each in positions}) < len(positions):
        raise InvalidRequest(f"{text} names a partition twice", field=field, remedy="name each once")
    return Positions(positions)


def _time(text: str, field: str) -> Target:
    try:
        start = parse_start(text)
    except InvalidConsumer as error:
        near = get_close_matches(text, ("earliest", "latest"), n=1)
        guess = f", did you mean {near[0]}?" if near else ""
        expected = BOUNDS if field == "until" else EXPECTED
        what = "is no bound" if field == "until" else "is no place to go to"
        raise InvalidRequest(f"{text!r} {what}{guess}", field=field, remedy=expected) from error
    return Ago(start.ago_seconds) if start.time_us is None else Time(start.time_us)


async def fixed(log: Log, target: Target) -> Target:
    """The same for good: a time that was told from now."""
    if not isinstance(target, Ago):
        return target
    ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
    return Time(max(int(seconds) * 1_000_000 + int(microseconds) - round(target.seconds * 1e6), 0))


async def targets(log: Log, parts: Sequence[Part], target: Target, *, field: str = "to") -> dict[int, int]:
    """The position in each partition that it is about. Raises InvalidRequest, EventsMissing, Unavailable."""
    heads = {part.partition: part.head for part in parts}
    match target:
        case Earliest():
            return {part.partition: part.border for part in parts}
        case Latest():
            return heads
        case Time(us):
            return await _at(log, us - 1, heads)
        case Positions(positions):
            return {each.partition: _checked(each, parts, field) for each in positions}
        case Shift(events):
            return {p.partition: min(max(p.offset + events, p.border), p.head) for p in parts}
    raise InvalidRequest(f"{target} is a place of one stream", field=field, remedy="a place in each partition")


async def last_places(log: Log, parts: Sequence[Part], until: Target) -> dict[int, int]:
    """Of a bound: the last position in each partition that lies within. A time is inclusive. Raises as `targets`."""
    match until:
        case Time(us):
            return await _at(log, us, {part.partition: part.head for part in parts})
        case Positions() | Latest():
            return await targets(log, parts, until, field="until")
    raise InvalidRequest(f"{until} is no bound", field="until", remedy=BOUNDS)


async def _at(log: Log, time_us: int, heads: Mapping[int, int]) -> dict[int, int]:
    """The last positions recorded at or before a time."""
    if time_us < 0:
        return dict.fromkeys(heads, 0)
    places = (await read.position_at(log, time_us)).places
    return {partition: min(places[partition][1], head) for partition, head in heads.items()}


def _checked(wanted: Position, parts: Sequence[Part], field: str) -> int:
    part = next((each for each in parts if each.partition == wanted.partition), None)
    if part is None:
        raise InvalidRequest(f"there is no partition {wanted.partition}", field=field, remedy=f"0 to {len(parts) - 1}")
    facts = {"partition": part.partition, "position": wanted.position, "head": part.head}
    if wanted.position > part.head:
        raise InvalidRequest(
            f"position {wanted.position} of partition {part.partition} is beyond its head, which is at {part.head}",
            field=field,
            remedy=f"{part.partition}:{part.head} or latest",
            facts=facts,
        )
    if wanted.position < part.border:
        raise InvalidRequest(
            f"position {wanted.position} of partition {part.partition} lies before {part.border}, where the log begins",
            field=field,
            remedy="earliest",
            facts=facts,
        )
    if wanted.epoch is not None and wanted.epoch != epoch_at(part.chain, wanted.position):
        raise InvalidRequest(
            f"partition {part.partition} has no entry {wanted.epoch}-{wanted.position}: it is of another history",
            field=field,
            remedy=f"{part.partition}:{wanted.position} is what there is at that position",
            facts=facts,
        )
    return wanted.position
