"""Retrying and discarding dead letters: those named at once, a selection by its plan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from gateway.cli.manners.confirm import confirmed
from gateway.cli.manners.inputs import positive
from gateway.cli.manners.interrupt import Interrupted, stopping_on_signals
from gateway.cli.manners.letter_tables import print_plan, print_selected
from gateway.cli.manners.session import Session, counted
from gateway.errors import BadRequest

if TYPE_CHECKING:
    from consumers.dead_letters import LetterDetail, LetterPlan, Selected
    from gateway.cli.manners.which_letters import SelectedLetters
    from gateway.letters import Discarded, Retried

Action = Literal["retry", "discard"]


def named(group: str | None, streams: Sequence[str]) -> tuple[str, list[str]]:
    """Group and streams of `GROUP STREAM...` or `GROUP/STREAM`: no group has a slash."""
    name, slash, first = (group or "").partition("/")
    found = [first, *streams] if slash else list(streams)
    if not name or not found or not found[0]:
        raise BadRequest("a letter is named by its group and stream", field="STREAM", remedy="GROUP STREAM")
    return name, found


def refuse_selection(which: "SelectedLetters") -> None:
    """With letters that are named."""
    for flag in (*which.given, *which.switches):
        raise BadRequest(f"{flag} has no effect on letters that are named", field=flag, remedy="leave it out")


async def retry_named(session: Session, group: str, streams: list[str], reason: str | None) -> int:
    from gateway import letters
    from gateway.who import who_am_i

    async with session.store() as store:
        done = await letters.retry_letters(store, group, streams, who=who_am_i(), why=reason)
    behind = done.events - done.retried
    session.show(done, f"{_letters(done.retried)} retried, {counted(behind, 'event waits', 'events wait')} behind")
    _note_worker(session, group, done)
    return 0


async def discard_named(session: Session, group: str, streams: list[str], reason: str | None, *, yes: bool) -> int:
    from gateway import letters
    from gateway.who import who_am_i

    why = _reason(reason)
    async with session.store(read_only=True) as store:
        found = [await letters.show_letter(store, group, stream, limit=1) for stream in dict.fromkeys(streams)]
    if not await confirmed(session, _question(found), yes=yes):
        return 1
    seen = {each.stream: each.version for each in found}
    async with session.store() as store:
        done = await letters.discard_letters(store, group, list(seen), who=who_am_i(), why=why, versions=seen)
    go_on = counted(done.events, "event behind goes on", "events behind go on")
    session.show(done, f"{_letters(done.discarded)} discarded, {go_on}")
    _note_worker(session, group, done)
    return 0


def _reason(reason: str | None) -> str:
    if not reason or not reason.strip():
        raise BadRequest("to discard needs a reason", field="--reason", remedy='--reason "a test order"')
    return reason


def _question(letters: "list[LetterDetail]") -> str:
    first = letters[0]
    go_on = counted(sum(each.waiting for each in letters), "behind goes on", "behind go on")
    what = f"{first.stream}@{first.version} ({first.type})" if len(letters) == 1 else counted(len(letters), "event")
    it, stays = ("it", "It stays") if len(letters) == 1 else ("them", "They stay")
    return f"Discard {what}? {first.group} will never handle {it}. {stays} in the log; {go_on}."


def _letters(number: int) -> str:
    return counted(number, "letter")


def _note_worker(session: Session, group: str, done: "Retried | Discarded") -> None:
    if not done.has_worker:
        session.note(f"no member of {group} runs there: the rest is handled when one does")


# ---- a selection ----


async def select(
    session: Session, action: Action, group: str | None, which: "SelectedLetters", reason: str | None, *, yes: bool
) -> int:
    """Shows the plan; runs it if that is asked for."""
    from gateway import letters

    _check(action, which)
    why = _reason(reason) if action == "discard" else reason
    most = positive(which.limit, field="--limit")
    async with session.store(read_only=True) as store:
        plan = await letters.plan_letters(store, action, group, which.where(), limit=most, rate=which.rate)
    if not which.execute:
        print_plan(session, plan, _command(action, group, which, reason))
        return 0
    if plan.letters and not await confirmed(session, _question_of(plan), yes=yes):
        return 1
    print_selected(session, await _run(session, action, group, which, why))
    return 0


def _check(action: Action, which: "SelectedLetters") -> None:
    if which.execute and which.dry_run:
        raise BadRequest("--execute and --dry-run are given", field="--execute", remedy="give one")
    if which.rate is not None and not which.rate > 0:
        raise BadRequest(f"{which.rate:g} is no rate", field="--rate", remedy="letters per second, such as 20")
    if not which.every and not which.given:
        remedy = f"eventstore dlq {action} GROUP STREAM, or a filter, or --all"
        raise BadRequest("no letter is named, and none chosen", field="STREAM", remedy=remedy)


def _command(action: Action, group: str | None, which: "SelectedLetters", reason: str | None) -> str:
    import shlex

    words = ["eventstore", "dlq", action, *([group] if group else []), *which.words]
    words += ["--all"] if which.every else []
    return shlex.join([*words, "--reason", reason] if reason else words)


def _question_of(plan: "LetterPlan") -> str:
    groups = ", ".join(dict.fromkeys(row.group for row in plan.rows))
    them, stay = ("it", "It stays") if plan.letters == 1 else ("them", "They stay")
    behind = counted(plan.events - plan.letters, "behind goes", "behind go")
    return (
        f"Discard {counted(plan.letters, 'event')}? {groups} will never handle {them}. {stay} in the log; {behind} on."
    )


async def _run(
    session: Session, action: Action, group: str | None, which: "SelectedLetters", why: str | None
) -> "Selected":
    from eventstore.jobs import JobCancelled
    from gateway import letters
    from gateway.who import who_am_i

    with session.progress("retrying" if action == "retry" else "discarding") as progress, stopping_on_signals() as stop:
        async with session.store() as store:
            try:
                return await letters.deal_with_letters(
                    store,
                    action,
                    group,
                    which.where(),
                    who=who_am_i(),
                    why=why,
                    limit=which.limit,
                    rate=which.rate,
                    on_progress=progress.show,
                    stop_requested=lambda: stop.requested,
                )
            except JobCancelled as cancelled:
                if not stop.requested:
                    raise
                command = _command(action, group, which, why)
                raise Interrupted(f"{cancelled.detail}; go on with: {command} --execute") from None
