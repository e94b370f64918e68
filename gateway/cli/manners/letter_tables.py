"""Dead letters as tables and texts for people."""

from typing import TYPE_CHECKING

from gateway.cli.manners.session import Column, Session, count, counted
from gateway.cli.manners.text import safe
from gateway.moments import spell_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumers.dead_letters import LetterDetail, LetterPlan, LetterShape, LetterStats, Selected

_LIST = (
    Column("GROUP"),
    Column("STREAM", gives_way=True),
    Column("VERSION", "right", short="VERS"),
    Column("TYPE"),
    Column("ATTEMPTS", "right", short="TRIES"),
    Column("PARKED"),
    Column("WAITING", "right", short="WAIT"),
    Column("WHY", below=True),
)
VERBS = {"retry": "retried", "discard": "discarded"}


async def print_letters(session: Session, letters: "AsyncIterator[LetterShape]", most: int | None) -> tuple[int, bool]:
    """Prints at most so many as they come: how many, and whether there are more."""
    shown = 0
    with session.table(*_LIST, cut=True) as table:
        async for each in letters:
            if shown == most:
                return shown, True
            shown += 1
            if session.json:
                session.show_json(each)
                continue
            since = session.time(each.parked_at) if each.parked_at else f"no, next {session.time(each.due_at)}"
            numbers = (count(each.attempts), since, count(each.waiting))
            table.add(each.group, each.stream, count(each.version), each.type, *numbers, _why(each))
    return shown, False


def _why(letter: "LetterShape") -> str:
    where = f" ({letter.where})" if letter.where else ""
    first = letter.message.partition("\n")[0]
    return f"{letter.error}: {first}{where}"


def print_letter(session: Session, letter: "LetterDetail") -> None:
    if session.json:
        session.show_json(letter)
        return
    from eventstore import wire

    parked = f"parked {session.time(letter.parked_at)}"
    state = parked if letter.parked_at else f"retrying, next attempt {session.time(letter.due_at)}"
    rows = {
        "group": letter.group,
        "stream": letter.stream,
        "version": f"{count(letter.version)}, {counted(letter.waiting, 'event waits', 'events wait')} behind it",
        "state": state,
        "attempts": f"{count(letter.attempts)}, the last {session.time(letter.failed_at)}",
        "type": letter.type,
        "event": letter.event_id,
        "correlation": letter.correlation_id,
        "member": letter.member,
        "why": _why(letter),
    }
    with session.table(Column(""), Column(""), header=False, paged=False) as table:
        for name, value in rows.items():
            if value:
                table.add(name, value)
    for line in letter.traceback.rstrip().splitlines():
        print(f"    {safe(line)}")
    columns = (Column("VERSION", "right"), Column("RECORDED"), Column("TYPE"), Column("DATA"))
    with session.table(*columns, paged=False, cut=True) as table:
        for event in letter.events:
            data = wire.encode(event.data).decode()
            table.add(count(event.version), session.time(event.recorded_at), event.type, data)
    session.note(f"next: eventstore dlq retry {letter.group} {letter.stream}   (or discard)")


def print_stats(session: Session, stats: "LetterStats") -> None:
    if session.json:
        session.show_json(stats)
        return
    oldest = "" if stats.oldest_seconds is None else f", the oldest for {spell_duration(stats.oldest_seconds)}"
    print(f"{count(stats.parked)} parked{oldest}, {count(stats.waiting)} waiting, {count(stats.retrying)} retrying")
    numbers = [Column(title, "right") for title in ("PARKED", "WAITING", "RETRYING")]
    parts = {"group": stats.by_group, "type": stats.by_type, "error": stats.by_error}
    with session.table(Column("BY"), Column("NAME"), *numbers, Column("OLDEST"), paged=False) as table:
        for by, shares in parts.items():
            for name, share in shares.items():
                sizes = map(count, (share.parked, share.waiting, share.retrying))
                table.add(
                    by, name, *sizes, "-" if share.oldest_seconds is None else spell_duration(share.oldest_seconds)
                )


def print_plan(session: Session, plan: "LetterPlan", command: str) -> None:
    """`command` is what runs it."""
    if session.json:
        session.show_json(plan)
        return
    print(f"PLAN (nothing changed): {plan.action} {counted(plan.letters, 'letter')}")
    numbers = (Column("LETTERS", "right"), Column("EVENTS", "right"))
    with session.table(Column("GROUP"), Column("ERROR"), *numbers, paged=False) as table:
        for row in plan.rows:
            table.add(row.group, row.error, count(row.letters), count(row.events))
    about = "" if plan.seconds is None else f", about {spell_duration(plan.seconds)}"
    print(f"total     {counted(plan.letters, 'letter')}, {counted(plan.events, 'event')} with those that wait{about}")
    for group, members in plan.members.items():
        print(f"members   {count(members)} of {group}" + ("" if members else ", it waits until one runs"))
    if plan.letters:
        print(f"run it:   {command} --execute")


def print_selected(session: Session, done: "Selected") -> None:
    late = f", {counted(done.late, 'was', 'were')} dealt with before" if done.late else ""
    went_on = f"  {counted(done.events, 'event')} with those that wait, job {done.job}"
    session.show(done, f"{counted(done.done, 'letter')} {VERBS[done.action]}{late}", went_on)
    if done.done and not done.by_holder:
        session.note("not all groups have a member that runs: the rest is handled when one does")
