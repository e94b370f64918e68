"""What a replay would do now. A plan changes nothing.

Its id tells what it depends on: what was asked for, and where the group was last moved to by force. That the group
goes on meanwhile is no change; another replay, or events that the log has given up since, are.
"""

import hashlib
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from consumers.errors import EventStoreError, InvalidRequest, StreamNotFound
from consumers.group_shape import GroupShape, look_at
from consumers.keys import group_keys
from consumers.membership import Member, Members
from consumers.replay.look import Part, parts_of
from consumers.replay.matching import unmet
from consumers.replay.places import Question, standings
from consumers.replay.progress import look
from consumers.replay.request import About, Mode, PartMove, Request, StreamMove
from consumers.replay.rows import moved_by_stream, moved_in_place
from consumers.replay.targets import Shift, Version, fixed, last_places, targets
from consumers.state import Row, RowState
from eventstore import job_records
from eventstore.jobs import Job, list_jobs
from eventstore.log import Log
from eventstore.pages import StreamPage, stream_page
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from infrastructure.tasks import together

KIND = "replay"
TELLING = 1_000  # events of a replay from which its rate says something of the next one


class ReplayPlan(Struct, frozen=True):
    """What would be done. `partitions` are all that the target speaks of, those that stay where they are too, and
    `streams` those of a replay by stream. `events` are handled again, which takes `seconds` if the group's rate is
    known; `skipped` are never handled. Handlers `runs` are called, and `emits` of them write what they return; `muted`
    are not. Streams that fail stay as they are, but for `tried_again`, which go back with the others."""

    plan: str
    group: str
    mode: Mode
    to: str
    until: str | None
    types: tuple[str, ...]
    correlation_id: str | None
    rate: float | None
    partitions: tuple[PartMove, ...]
    streams: tuple[StreamMove, ...]
    events: int
    skipped: int
    seconds: float | None
    runs: tuple[str, ...]
    emits: tuple[str, ...]
    muted: tuple[str, ...]
    retrying: int
    parked: int
    tried_again: int
    members: int
    warnings: tuple[str, ...]

    @property
    def about(self) -> About:
        """What is left of it with the job: the moves that are any."""
        return About(
            self.group,
            self.mode,
            self.to,
            self.until,
            self.types,
            self.correlation_id,
            self.rate,
            tuple(each for each in self.partitions if each.is_one),
            tuple(each for each in self.streams if each.events),
        )


class _Moves(Struct, frozen=True):
    partitions: tuple[PartMove, ...] = ()
    streams: tuple[StreamMove, ...] = ()
    tried_again: int = 0


async def plan(store: EventStore, request: Request) -> ReplayPlan:
    """Raises GroupNotFound, InvalidRequest for a place that there is not, Unavailable, LogDamaged."""
    request.check()
    log, asked = store.log, request
    request = replace(
        request,
        to=await fixed(log, request.to),
        until=None if request.until is None else await fixed(log, request.until),
    )
    request.check_bounds()
    parts = await parts_of(log, request.group)
    bounds = {} if request.until is None else await last_places(log, parts, request.until)
    moves = await (_by_stream if request.named else _in_place)(log, parts, request, bounds)
    shape = await look_at(log, request.group)
    members = await Members(log, request.group).live()
    handlers = {name: rule for member in members for name, rule in member.handlers.items()}
    events = sum(each.events for each in moves.partitions) + sum(each.events for each in moves.streams)
    replays = await _replays(store, request.group)
    rate = await _rate(store, request, members, replays) if events else None
    warnings = [
        *await _under_way(store, replays),
        *await unmet(log, request, moves.partitions, moves.streams),
        *_warnings(shape, moves),
    ]
    return ReplayPlan(
        plan=_id(asked, parts),
        group=request.group,
        mode=request.mode,
        to=str(request.to),
        until=None if request.until is None else str(request.until),
        types=request.types,
        correlation_id=request.correlation_id,
        rate=request.rate,
        partitions=moves.partitions,
        streams=moves.streams,
        events=events,
        skipped=sum(each.skipped for each in moves.partitions),
        seconds=None if rate is None else events / rate,
        runs=_named(handlers, "drop", "emit"),
        emits=_named(handlers, "emit"),
        muted=_named(handlers, "skip"),
        retrying=shape.retrying,
        parked=shape.parked,
        tried_again=moves.tried_again,
        members=len(members),
        warnings=tuple(warnings),
    )


# ---- in place ----


async def _in_place(log: Log, parts: Sequence[Part], request: Request, bounds: dict[int, int]) -> _Moves:
    to = await targets(log, parts, request.to)
    concerned = [part for part in parts if part.partition in to]
    moved = await together(
        [partial(_part_move, log, request.group, p, to[p.partition], bounds.get(p.partition)) for p in concerned]
    )
    return _Moves(tuple(move for move, _ in moved), (), sum(again for _, again in moved))


async def _part_move(log: Log, group: str, part: Part, target: int, until: int | None) -> tuple[PartMove, int]:
    keys = group_keys(log.keys, group, part.partition)
    asked = [Question(stream, row.next, target) for stream, row in part.rows.items() if target != part.offset]
    rows = {
        each.stream: moved_in_place(part.rows[each.stream], standing, offset=part.offset, target=target)
        for each, standing in (await standings(log, keys, asked)).items()
    }
    changed = {stream: row for stream, row in rows.items() if row is not None}
    after = replace(part, offset=target, fin=max(part.fin, part.offset, target), rows={**part.rows, **changed})
    left = await after.left(log, group, until)
    is_back = target < part.offset
    move = PartMove(
        part.partition,
        part.offset,
        target,
        left.open + left.waiting if is_back else 0,
        max(target - part.offset, 0),
        until,
    )
    return move, _failing(part.rows, changed)


def _failing(rows: dict[str, Row], changed: dict[str, Row]) -> int:
    return sum(rows[stream].state is not RowState.CLEAN for stream in changed)


# ---- by stream ----


async def _by_stream(log: Log, parts: Sequence[Part], request: Request, bounds: dict[int, int]) -> _Moves:
    positions: dict[int, int] = {}
    if not isinstance(request.to, Version | Shift):
        positions = await targets(log, parts, request.to)
    streams = list(dict.fromkeys(request.named))
    moved = await together([partial(_stream_move, log, parts, request, each, positions, bounds) for each in streams])
    found = [each for each in moved if each is not None]
    return _Moves((), tuple(move for move, _ in found), sum(again for _, again in found))


async def _stream_move(
    log: Log, parts: Sequence[Part], request: Request, stream: str, positions: dict[int, int], bounds: dict[int, int]
) -> tuple[StreamMove, int] | None:
    """None for a stream of a partition that the target does not speak of."""
    part = parts[partition_of(stream, log.partitions)]
    keys = group_keys(log.keys, request.group, part.partition)
    row = part.rows.get(stream)
    page = await stream_page(log, stream, part.partition, 0, 0, backwards=False, events=0, size=0)
    about = Question(stream, row.next if row else 1, part.offset)
    standing = (await standings(log, keys, [about]))[about]
    following = row.next if row else standing.first_above
    match request.to:
        case Version(_, version):
            first = version
        case Shift(events):
            first = max(following + events, page.archived + 1)
        case _:
            if part.partition not in positions:
                return None
            wanted = Question(stream, 1, positions[part.partition])
            first = (await standings(log, keys, [wanted]))[wanted].first_above
    _check(request, stream, first, page)
    new = moved_by_stream(row, standing, first, offset=part.offset, fin=part.fin)
    until = bounds.get(part.partition)
    if new is None:
        return StreamMove(stream, part.partition, following, following, 0, until), 0
    before = await part.left(log, request.group, until)
    after = await replace(part, rows={**part.rows, stream: new}).left(log, request.group, until)
    events = after.open + after.waiting - before.open - before.waiting
    return StreamMove(stream, part.partition, following, first, events, until), _failing(
        part.rows, {stream: new} if row else {}
    )


def _check(request: Request, stream: str, first: int, page: StreamPage) -> None:
    facts = {"stream": stream, "version": first, "actual": page.version}
    if page.version == 0:
        missing = StreamNotFound(stream)
        missing.field = "to" if isinstance(request.to, Version) else "stream"
        raise missing
    if first > page.version + 1 or first < 1:
        raise InvalidRequest(
            f"{stream} is at version {page.version}, there is no version {first} to go back to",
            field="to",
            remedy=f"eventstore read {stream}",
            facts=facts,
        )
    if first <= page.archived:
        raise InvalidRequest(
            f"version {first} of {stream} is archived, the log begins at {page.archived + 1}", field="to", facts=facts
        )


# ---- what else a person wants to know ----


async def _replays(store: EventStore, group: str) -> list[Job]:
    """Of the group, the newest first; none where somebody may not read of jobs."""
    try:
        known = await list_jobs(store)
    except EventStoreError:
        return []
    return [job for job in known if job.kind == KIND and About.of(job.about).group == group]


async def _rate(store: EventStore, request: Request, members: Sequence[Member], replays: Sequence[Job]) -> float | None:
    """Events in a second, as far as anybody knows: what is allowed now, or what the last replay of the group made."""
    telling = next((job for job in replays if job.state == "done" and job.done >= TELLING), None)
    made = None if telling is None else await job_records.rate_of(store, telling) or telling.rate
    known = [rate for rate in (request.rate, made, *(each.rate for each in members)) if rate is not None]
    return min(known, default=None)


async def _under_way(store: EventStore, replays: Sequence[Job]) -> list[str]:
    looks = [await look(store, job) for job in replays if job.ended_at is None]
    return [
        f"replay {each.job.id[:8]} of it is under way, {each.done:,} of {each.total:,} events done: another one can"
        f" begin when it has ended, or with eventstore replays cancel {each.job.id[:8]}"
        for each in looks
        if not each.is_over
    ]


def _named(handlers: dict[str, str], *rules: str) -> tuple[str, ...]:
    return tuple(sorted(name for name, rule in handlers.items() if rule in rules))


def _warnings(shape: GroupShape, moves: _Moves) -> list[str]:
    found = []
    skipping = [each for each in moves.partitions if each.skipped]
    if skipping:
        skipped = sum(each.skipped for each in skipping)
        told = ", ".join(str(each.partition) for each in skipping)
        found.append(
            f"{skipped:,} events that were not handled yet are skipped, in partition {told}: that cannot be taken back"
        )
    if not shape.members:
        found.append("no worker of the group runs: nothing is handled until one does")
    if shape.paused is not None:
        found.append(f"the group is paused: nothing is handled until eventstore groups resume {shape.group}")
    if any(each.breaker == "open" for each in shape.members):
        found.append("its breaker is open: too much of what it handles fails")
    return found


def _id(request: Request, parts: Sequence[Part]) -> str:
    asked = [str(getattr(request, name)) for name in request.__struct_fields__]
    depends_on = [asked, [[part.moved, part.border] for part in parts]]
    return "p-" + hashlib.sha256(msgspec.json.encode(depends_on)).hexdigest()[:8]
