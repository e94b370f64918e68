"""eventstore groups"""

from operator import attrgetter
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.flags import TIMED, TimeFlags
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.session import Column, Session, count, counted
from gateway.cli.manners.text import safe, spell_numbers
from gateway.cli.names import group_names
from gateway.moments import now_us, parse_moment, spell_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.groups import GroupShape, GroupSummary

NOTES = """\
Without a GROUP it lists groups. LAG counts the events behind the offset, the
streams that wait for a retry or an operator apart; BEHIND BY is how long ago
the first of them was recorded.

Example:

    eventstore groups"""

CREATE_NOTES = """\
What lies before counts as finished. Workers make the group themselves if
there is none; this is for one that is to begin elsewhere.

Example:

    eventstore groups create mailer --from -15m"""

DELETE_NOTES = """\
Its offset, retries and dead letters are forgotten. The events stay in the log,
and so does what handlers keep in Redis or elsewhere.

Example:

    eventstore groups delete mailer"""

PAUSE_NOTES = """\
What is being handled ends, nothing new begins. Members and leases stay.

Example:

    eventstore groups pause mailer --reason "the mail server is down\""""

app = App(name="groups", help_epilogue=NOTES, help_format="plaintext")
Name = Annotated[str, Parameter(completer=group_names)]


@app.default
async def groups(
    group: Annotated[str | None, Parameter(completer=group_names)] = None,
    /,
    *,
    limit: int | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """List consumer groups, or show one.

    Parameters
    ----------
    group
        The group to show.
    limit
        At most so many groups.
    """
    from gateway import groups
    from gateway.errors import BadRequest

    session = Session(flags)
    if group is not None:
        if limit is not None:
            raise BadRequest("--limit has no effect on one group", field="--limit", remedy="leave it out")
        await show(group, flags=flags)
        return
    most = session.limit(positive(limit, field="--limit"))
    async with session.store(read_only=True) as store:
        found = await groups.list_groups(store, limit=most)
    if session.json:
        for each in found:
            session.show_json(each)
        return
    _print_list(session, found)
    if not found:
        session.note("no groups yet: a worker makes its own, or eventstore groups create NAME")
    _note_idle(session, [each for each in found if each.state == "idle" and each.lag])


@app.command(help_epilogue="Example:\n\n    eventstore groups show mailer", help_format="plaintext")
async def show(group: Name, /, *, flags: TimeFlags = TIMED) -> None:
    """Show a group: members, leases, lag and failures of each partition.

    Parameters
    ----------
    group
        The group.
    """
    from gateway import groups

    session = Session(flags)
    async with session.store(read_only=True) as store:
        found = await groups.show_group(store, group)
    _print_one(session, found)
    if not session.json:
        _note_idle(session, [found] if found.state == "idle" and found.lag else [])


@app.command(help_epilogue=CREATE_NOTES, help_format="plaintext")
async def create(
    group: str,
    /,
    *,
    start: Annotated[str, Parameter(name="--from", allow_leading_hyphen=True)] = "earliest",
    reason: str | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """Make a group that begins at a place in the log.

    Parameters
    ----------
    group
        Its name.
    start
        earliest, latest, or a time: RFC 3339, epoch microseconds, or -15m for 15 minutes ago.
    reason
        Why, for the audit stream.
    """
    from gateway import groups
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        made = await groups.create_group(store, group, start=start, who=who_am_i(), why=reason)
    session.show(made, f"{group} is made, {counted(made.lag, 'event')} ahead of it")


@app.command(help_epilogue=DELETE_NOTES, help_format="plaintext")
async def delete(
    group: Name,
    /,
    *,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    reason: str | None = None,
    flags: TimeFlags = TIMED,
) -> None:
    """Delete a group that has no members.

    Parameters
    ----------
    group
        The group.
    force
        Also if it has members: they end with an error.
    reason
        Why, for the audit stream.
    """
    from gateway import groups
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        was = await groups.delete_group(store, group, force=force, who=who_am_i(), why=reason)
    failing = f", {count(was.retrying)} retrying, {count(was.parked)} parked" if was.retrying or was.parked else ""
    session.show(was, f"{group} is deleted: it had {counted(was.lag, 'event')} ahead of it{failing}")


@app.command(help_epilogue=PAUSE_NOTES, help_format="plaintext")
async def pause(group: Name, /, *, reason: str | None = None, flags: TimeFlags = TIMED) -> None:
    """Let a group stand still until it is resumed.

    Parameters
    ----------
    group
        The group.
    reason
        Why: shown while it is paused, and in the audit stream.
    """
    from gateway import groups
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        paused = await groups.pause_group(store, group, who=who_am_i(), why=reason)
    session.show(paused, f"{group} is paused; it goes on with: eventstore groups resume {group}")


@app.command(help_epilogue="Example:\n\n    eventstore groups resume mailer", help_format="plaintext")
async def resume(group: Name, /, *, reason: str | None = None, flags: TimeFlags = TIMED) -> None:
    """Let a paused group go on.

    Parameters
    ----------
    group
        The group.
    reason
        Why, for the audit stream.
    """
    from gateway import groups
    from gateway.who import who_am_i

    session = Session(flags)
    async with session.store() as store:
        resumed = await groups.resume_group(store, group, who=who_am_i(), why=reason)
    session.show(resumed, f"{group} is {resumed.state}, {counted(resumed.lag, 'event')} behind")


# ---- printing ----

_MEMBERS, _PARTITIONS = Column("MEMBERS", "right"), Column("PARTITIONS", "right", short="HELD")
_BEHIND = (Column("LAG", "right"), Column("BEHIND BY", "right", short="BEHIND"))
_FAILING = (Column("RETRYING", "right", short="RETRY"), Column("PARKED", "right"))


def _print_list(session: Session, found: "list[GroupSummary]") -> None:
    numbers = (_MEMBERS, _PARTITIONS, *_BEHIND, *_FAILING)
    last = (Column("OLDEST PARKED", short="OLDEST"), Column("", below=True))
    columns = (Column("GROUP", gives_way=True), Column("STATE"), *numbers, *last)
    now = now_us()
    with session.table(*columns) as table:
        for each in found:
            table.add(
                each.group,
                each.state,
                count(each.member_count),
                f"{each.held}/{each.partition_count}",
                count(each.lag),
                spell_duration(each.behind_seconds),
                count(each.retrying),
                count(each.parked),
                _age(each.oldest_parked_at, now),
                _remark(each),
            )


def _note_idle(session: Session, idle: "Sequence[GroupSummary]") -> None:
    """What to do about groups that lag, and that nobody works for."""
    if idle:
        named = ", ".join(each.group for each in idle)
        session.note(f"nobody works for {named}: eventstore work --app MODULE, the one that defines it")


def _age(moment: str | None, now: int) -> str:
    return "-" if moment is None else spell_duration(max(now - parse_moment(moment, field="time"), 0) / 1e6)


def _remark(group: "GroupSummary") -> str:
    """What a person should know at first sight."""
    if group.missing:
        return f"lost in partition {', '.join(map(str, group.missing))}"
    if group.paused is not None:
        return f"by {group.paused.who}: {group.paused.why}" if group.paused.why else f"by {group.paused.who}"
    return "breaker open" if group.breaker == "open" else ""


def _print_one(session: Session, group: "GroupShape") -> None:
    if session.json:
        session.show_json(group)
        return
    behind = counted(group.lag, "event") + (f", {spell_duration(group.behind_seconds)} behind" if group.lag else "")
    oldest = f", the oldest {session.time(group.oldest_parked_at)}" if group.oldest_parked_at else ""
    print(f"group     {group.group}")
    print(f"state     {group.state}{f' {_remark(group)}' if _remark(group) else ''}")
    print(f"lag       {behind}")
    print(f"failures  {count(group.retrying)} retrying, {count(group.parked)} parked{oldest}")
    if group.members:
        handling, again = (sum(map(attrgetter(name), group.members)) for name in ("handling", "retrying"))
        failed = f", {count(again)} of which failed just now" if again else ""
        print(f"in hand   events: {count(handling)}{failed}; streams beside the main pass: {count(group.detached)}")
    if error := next((each.breaker_error for each in group.members if each.breaker_error), ""):
        print(f"breaker   open: {safe(error)}")
    titles = (Column("MEMBER", gives_way=True), Column("PARTITIONS"), Column("BREAKER"), Column("STARTED"))
    with session.table(*titles, Column("VERSION"), paged=False) as table:
        for each in group.members:
            held = spell_numbers(each.partitions) or "-"
            table.add(each.id, held, each.breaker, session.time(each.started_at), each.version or "-")
    numbers = (Column("OFFSET", "right"), Column("HEAD", "right"), *_BEHIND, *_FAILING)
    with session.table(Column("PARTITION", "right", short="PART"), *numbers, Column("OWNER")) as table:
        for part in group.partitions:
            sizes = (part.offset, part.head, part.lag)
            failing = (count(part.retrying), count(part.parked))
            since = spell_duration(part.behind_seconds)
            table.add(part.partition, *map(count, sizes), since, *failing, part.owner or "-")
