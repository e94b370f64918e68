"""eventstore replay"""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from gateway.cli.manners.confirm import confirmed
from gateway.cli.manners.flags import SERVER, ServerFlags
from gateway.cli.manners.session import Column, Session, count, counted
from gateway.cli.names import group_names, stream_names
from gateway.moments import spell_duration

if TYPE_CHECKING:
    from consumers.replay import ReplayPlan

NOTES = """\
It shows a plan; --execute runs it. Workers need not stop. What a group had
not finished before, such as dead letters, is handled for real: only what it
had finished is a replay. Returned events and effects of a replay are dropped,
unless a handler says on_replay="emit".

--to is earliest, latest, a time (2026-11-23T08:00Z), -15m for 15 minutes ago,
P:POS for a partition (as OFFSET in eventstore groups shows it; several by
commas), STREAM@VERSION, or -N and +N events. A place that lies ahead skips
what is not handled yet: that cannot be undone, so it asks.

Example:

    eventstore replay mailer --to -15m"""

app = App(name="replay", help_epilogue=NOTES, help_format="plaintext")
Switch = Annotated[bool, Parameter(negative="", show_default=False)]


@app.default
async def replay(
    group: Annotated[str, Parameter(completer=group_names)],
    /,
    *,
    to: Annotated[str, Parameter(allow_leading_hyphen=True)],
    stream: Annotated[list[str] | None, Parameter(negative="", completer=stream_names, show_default=False)] = None,
    until: Annotated[str | None, Parameter(allow_leading_hyphen=True, show_default=False)] = None,
    type: Annotated[list[str] | None, Parameter(negative="", show_default=False)] = None,  # noqa: A002
    correlation: Annotated[str | None, Parameter(show_default=False)] = None,
    rate: Annotated[float | None, Parameter(show_default=False)] = None,
    execute: Switch = False,
    dry_run: Switch = False,
    yes: Switch = False,
    reason: str | None = None,
    flags: ServerFlags = SERVER,
) -> int:
    """Have a group handle events again that it had finished.

    Parameters
    ----------
    group
        The group.
    to
        Where it goes to.
    stream
        Only this stream, the others go on; may be repeated.
    until
        Up to a time, -15m or P:POS: what comes after is passed over.
    type
        Only events of this type, may be repeated: others are passed over.
    correlation
        Only events with this correlation id.
    rate
        At most so many events in a second.
    execute
        Run the plan.
    dry_run
        Only show the plan, as without --execute.
    yes
        Do not ask.
    reason
        Why, for the history and the audit stream.
    """
    from gateway import replays
    from gateway.errors import BadRequest
    from gateway.who import who_am_i

    session = Session(flags)
    if execute and dry_run:
        raise BadRequest("--execute and --dry-run are given", field="--execute", remedy="give one")
    wanted = replays.replay_request(
        group, to, streams=stream or (), until=until, types=type or (), correlation_id=correlation, rate=rate
    )
    async with session.store(read_only=True) as store:
        plan = await replays.plan_replay(store, wanted)
    if not execute:
        session.show(plan) if session.json else _print_plan(session, plan, reason)
        return 0
    if plan.skipped and not await confirmed(session, _question(plan), yes=yes):
        return 1
    async with session.store() as store:
        started = await replays.start_replay(
            store, wanted, who=who_am_i(), why=reason, plan=plan.plan, skip=bool(plan.skipped)
        )
    left = f"{counted(started.left, 'event')} to handle again" if started.left else "done"
    session.show(started, f"replay {started.id[:8]} of {group} to {started.to}: {left}")
    for warning in plan.warnings:
        session.note(warning)
    if started.left:
        session.note(
            f"follow it: eventstore replays {started.id[:8]}   put back: eventstore replays cancel {started.id[:8]}"
        )
    return 0


def _question(plan: "ReplayPlan") -> str:
    back = f" {counted(plan.events, 'other is', 'others are')} handled again." if plan.events else ""
    them, stay = ("it", "It stays") if plan.skipped == 1 else ("them", "They stay")
    skip = counted(plan.skipped, "event")
    return f"Skip {skip}? {plan.group} will never handle {them}. {stay} in the log.{back}"


def _print_plan(session: Session, plan: "ReplayPlan", reason: str | None) -> None:
    what = "some streams of " if plan.mode == "by-stream" else ""
    how = "" if plan.mode == "by-stream" else " in place"
    goes = "move" if plan.skipped else "rewind"
    print(f"PLAN (nothing changed): {goes} {what}{plan.group}{how} to {plan.to}")
    _print_moves(session, plan)
    _print_total(plan)
    for name, text in _facts(plan):
        print(f"{name:<9} {text}")
    for warning in plan.warnings:
        print(f"warning   {warning}")
    if plan.events or plan.skipped:
        print(f"run it:   {_command(plan, reason)}")
    else:
        print("nothing to do: it stands there already")


def _print_moves(session: Session, plan: "ReplayPlan") -> None:
    numbers = [Column(title, "right") for title in ("FROM", "TO", "EVENTS")]
    if plan.mode == "by-stream":
        with session.table(Column("STREAM"), Column("PARTITION", "right"), *numbers) as table:
            for each in plan.streams:
                table.add(each.stream, each.partition, count(each.from_), count(each.to), count(each.events))
        return
    skipped = [Column("SKIPPED", "right")] if plan.skipped else []
    with session.table(Column("PARTITION", "right"), *numbers, *skipped) as table:
        for part in plan.about.partitions:
            sizes = (part.from_, part.to, part.events, *([part.skipped] if skipped else []))
            table.add(part.partition, *map(count, sizes))


def _print_total(plan: "ReplayPlan") -> None:
    moved = counted(len(plan.about.partitions), "partition")
    if plan.mode == "by-stream":
        moved = counted(len(plan.about.streams), "stream")
    total = f"total {moved}, {counted(plan.events, 'event')}"
    if plan.skipped:
        total += f", {count(plan.skipped)} skipped"
    if plan.seconds:
        total += f", about {spell_duration(plan.seconds)} at {plan.events / plan.seconds:,.0f}/s"
    print(total)


def _facts(plan: "ReplayPlan") -> Sequence[tuple[str, str]]:
    found = []
    bounds = [f"up to {plan.until}"] if plan.until else []
    bounds += [f"of type {' or '.join(plan.types)}"] if plan.types else []
    bounds += [f"with correlation id {plan.correlation_id}"] if plan.correlation_id else []
    if bounds:
        found.append(("only", f"{', '.join(bounds)}: the rest of them is passed over without a call"))
    if plan.members:
        found.append(("handlers", _handlers(plan)))
    stay = "stay as they are" if not plan.tried_again else f"{count(plan.tried_again)} go back with their streams"
    found.append(("failures", f"{count(plan.retrying)} retrying, {count(plan.parked)} parked: {stay}"))
    found.append(("members", f"{count(plan.members)}, fenced at once, need not stop" if plan.members else "none"))
    return found


def _handlers(plan: "ReplayPlan") -> str:
    runs = f"{', '.join(plan.runs)} {'run' if len(plan.runs) > 1 else 'runs'} again" if plan.runs else "none runs again"
    emits = f', {", ".join(plan.emits)} with effects (on_replay="emit")' if plan.emits else ""
    verb = "are" if len(plan.muted) > 1 else "is"
    muted = f'; {", ".join(plan.muted)} {verb} muted (on_replay="skip")' if plan.muted else ""
    return runs + emits + muted


def _command(plan: "ReplayPlan", reason: str | None) -> str:
    words = ["eventstore", "replay", plan.group, "--to", plan.to]
    if "@" not in plan.to or not plan.streams:
        words += [word for each in plan.streams for word in ("--stream", each.stream)]
    words += ["--until", plan.until] if plan.until else []
    words += [word for each in plan.types for word in ("--type", each)]
    words += ["--correlation", plan.correlation_id] if plan.correlation_id else []
    words += ["--rate", f"{plan.rate:g}"] if plan.rate is not None else []
    words += ["--reason", reason] if reason else []
    return shlex.join([*words, "--execute"])
