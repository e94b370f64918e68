"""Sagas as tables and texts for people."""

import shutil
from typing import TYPE_CHECKING

from gateway.cli.manners.session import Column, Session, count
from gateway.cli.manners.text import cut, paint, safe, style_of, width
from gateway.moments import now_us, parse_moment, spell_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.sagas import Moment, SagaRow, SagaShape, SagaStats

STUCK_HERE = "<- stuck here"
WIDEST_WHAT, LEAST_ROOM = 32, 24
_OPEN = ("running", "waiting", "retrying")
_ORDER = ("unstarted", "running", "compensating", "stuck", "completed", "compensated")


async def print_sagas(session: Session, sagas: "AsyncIterator[SagaRow]", most: int | None) -> tuple[int, bool]:
    """Prints at most so many as they come: how many, and whether there are more."""
    shown = 0
    columns = (Column("SAGA"), Column("STATUS"), Column("SINCE"), Column("WHY"))
    with session.table(*columns, cut=True) as table:
        async for row in sagas:
            if shown == most:
                return shown, True
            shown += 1
            if session.json:
                session.show_json(row)
                continue
            table.add(row.id, row.status, _since(session, row), (row.why or "").partition("\n")[0])
    return shown, False


def _since(session: Session, row: "SagaRow") -> str:
    if row.ended_at:
        return f"ended {session.time(row.ended_at)}"
    return f"started {session.time(row.started_at)}" if row.started_at else f"event {session.time(row.received_at)}"


# ---- one saga ----


def print_saga(session: Session, saga: "SagaShape") -> None:
    if session.json:
        session.show_json(saga)
        return
    print(_title(session, saga))
    _print_timeline(session, saga)
    if saga.letter is not None:
        when = "until it is dealt with" if saga.letter.parked_at else f"next {session.time(saga.letter.due_at)}"
        why = saga.letter.message.partition("\n")[0]
        print(f"{saga.letter.state} at version {saga.letter.version}, {when}: {safe(f'{saga.letter.error}: {why}')}")
    elif saga.why and saga.status not in ("completed", "compensated"):
        print(f"why: {safe(saga.why)}")
    if saga.asked:
        print(f"asked for: {', '.join(saga.asked)}")
    _note_next(session, saga)


def _title(session: Session, saga: "SagaShape") -> str:
    version = f" v{saga.version}" if saga.version else ""
    status = paint(saga.status.upper(), style_of(saga.status), color=session.color)
    begun = f"started {session.time(saga.started_at)}" if saga.started_at else "not started"
    ended = [f"took {spell_duration(saga.seconds)}"] if saga.seconds is not None else []
    correlation = [f"correlation {safe(saga.correlation_id[:8])}"] if saga.correlation_id else []
    return "  ".join([safe(saga.id), f"{saga.type}{version}", status, begun, *ended, *correlation])


def _print_timeline(session: Session, saga: "SagaShape") -> None:
    """Each line ends at the edge of the terminal, but never without saying where the saga is stuck."""
    moments = [each for each in saga.timeline if (each.what, each.status) != ("saga", "started")]
    with_day = len({each.at[:10] for each in moments}) > 1
    lines = [(each.at, *_headed(each), each) for each in moments]
    own = [(each.due_at, each.what, "due", None) for each in saga.timers if each.name.startswith("$")]
    cells: list[tuple[str, str, str, Moment | None]] = [
        (f"  {session.clock(at, with_day=with_day)}", cut(safe(what), WIDEST_WHAT), status, moment)
        for at, what, status, moment in [*lines, *own]
    ]
    widths = [max(map(width, column), default=0) for column in zip(*(cell[:3] for cell in cells), strict=True)]
    left = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths)
    room = max(left, LEAST_ROOM) if session.on_terminal else None
    with session.table(*[Column("")] * 4, header=False) as table:
        for at, what, status, moment in cells:
            table.add(at, what, status, "" if moment is None else _rest(moment, room))


def _headed(moment: "Moment") -> tuple[str, str]:
    """What, and its status: of the saga both are one."""
    return (f"saga {moment.status}", "") if moment.what == "saga" else (moment.what, moment.status)


def _rest(moment: "Moment", room: int | None) -> str:
    end = f"  {STUCK_HERE}" if moment.is_stuck else ""
    told = "  ".join(_told(moment))
    return (told if room is None else cut(told, max(room - width(end), 10))) + end


def _told(moment: "Moment") -> list[str]:
    found = []
    if moment.attempts and moment.attempts > 1:
        found.append(f"{count(moment.attempts)} attempts")
    if moment.seconds is not None and moment.status != "failed":
        found.append(_spelled(moment.seconds))
    elif moment.status in _OPEN:
        found.append(f"for {_spelled(max(now_us() - parse_moment(moment.at, field='at'), 0) / 1e6)}")
    if moment.error is not None:
        where = f" ({moment.error.where})" if moment.error.where else ""
        first = moment.error.message.partition("\n")[0]
        found.append(f"{safe(moment.error.type)}: {safe(first)}{safe(where)}")
    return [*found, safe(moment.why)] if moment.why else found


def _spelled(seconds: float) -> str:
    return f"{seconds * 1_000:.0f}ms" if seconds < 0.1 else spell_duration(seconds)


def _note_next(session: Session, saga: "SagaShape") -> None:
    if saga.letter is not None and saga.letter.parked_at:
        place = f"{saga.letter.group} {saga.id}"
        session.note(f"next: eventstore dlq show {place}, then eventstore dlq retry {place}")
    elif saga.status == "stuck" and saga.actions:
        first, *others = saga.actions
        more = f"   (or {', '.join(others)})" if others else ""
        session.note(f"next: eventstore sagas {first} {saga.id}{more}")
    if not saga.workers and saga.status not in ("completed", "compensated"):
        session.note(f"no worker runs sagas of type {saga.type}: eventstore work --app MODULE")


# ---- figures ----


def print_stats(session: Session, stats: "SagaStats") -> None:
    if session.json:
        session.show_json(stats)
        return
    print(", ".join(f"{count(getattr(stats, status))} {status}" for status in _ORDER))
    numbers = [Column(status.upper(), "right") for status in _ORDER[1:]]
    with session.table(Column("TYPE", gives_way=True), *numbers, Column("RATE", "right"), Column("OLDEST")) as table:
        for name, each in stats.by_type.items():
            sizes = [count(getattr(each, status)) for status in _ORDER[1:]]
            rate = "-" if each.completion_rate is None else f"{each.completion_rate:.0%}"
            oldest = max(each.oldest_running_seconds or 0.0, each.oldest_stuck_seconds or 0.0)
            table.add(name, *sizes, rate, spell_duration(oldest) if oldest else "-")
    for name, each in stats.by_type.items():
        if each.unrouted:
            told = ", ".join(f"{safe(kind)} {count(number)}" for kind, number in each.unrouted.items())
            print(f"for no saga of {name}: {told}")
        if not each.workers:
            session.note(f"no worker runs sagas of type {name}: eventstore work --app MODULE")
        if each.behind:
            behind = f"{count(each.behind)} events, {spell_duration(each.behind_seconds)}"
            session.note(f"{name} is {behind} behind: what is newer is not counted yet")
    if not stats.by_type:
        session.note("no worker has run sagas yet: eventstore work --app MODULE")
