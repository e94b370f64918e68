"""Read models as tables and texts for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.manners.session import Column, Session, count
from gateway.cli.manners.text import safe
from gateway.moments import spell_duration

if TYPE_CHECKING:
    from gateway.projections import GenerationShape, ProjectionShape

_RIGHT = ("GENERATION", "VERSION", "LAG", "BEHIND BY", "DETACHED", "WORKERS")


def print_projections(session: Session, found: "Sequence[ProjectionShape]") -> None:
    if session.json:
        for each in found:
            session.show_json(each)
        return
    numbers = [Column(title, "right") for title in _RIGHT]
    with session.table(Column("PROJECTION", gives_way=True), Column("STATE"), *numbers, Column("")) as table:
        for each in found:
            for one in each.generations:
                table.add(each.name, one.state, *_figures(one), _remark(one))
    if not found:
        session.note("no read models yet: eventstore up keeps some, and eventstore work --app MODULE those of a module")


def _figures(one: "GenerationShape") -> Sequence[str]:
    numbers = (one.detached, one.workers)
    return (
        str(one.generation),
        str(one.version),
        count(one.lag),
        spell_duration(one.behind_seconds),
        *map(str, numbers),
    )


def _remark(one: "GenerationShape") -> str:
    """What a person should know at first sight."""
    found = []
    if one.paused is not None:
        found.append(f"paused by {one.paused.who}" + (f": {one.paused.why}" if one.paused.why else ""))
    if one.diverged:
        found.append("diverged: the log has lost events that are in its rows")
    return "; ".join(found)


def print_projection(session: Session, found: "ProjectionShape") -> None:
    if session.json:
        session.show_json(found)
        return
    print(f"projection  {safe(found.name)}")
    print(f"sink        {safe(found.sink)}")
    for one in found.generations:
        _print_generation(session, one)
    _note_next(session, found)


def _print_generation(session: Session, one: "GenerationShape") -> None:
    share = f"{one.done / one.total:.0%} of {count(one.total)} events" if one.total else "no events yet"
    behind = f", {count(one.lag)} behind" + (f" by {spell_duration(one.behind_seconds)}" if one.lag else "")
    print()
    print(f"generation {one.generation}  version {one.version}  {one.state}  begun {session.time(one.begun_at)}")
    print(f"  group     {safe(one.group)}, {count(one.workers)} worker{'' if one.workers == 1 else 's'}")
    print(f"  rows      of {share}{behind}")
    if remark := _remark(one):
        print(f"  note      {safe(remark)}")
    for letter in one.letters:
        why = letter.message.partition("\n")[0]
        print(f"  {letter.state:<9} {safe(f'{letter.stream}@{letter.version} {letter.error}: {why}')}")
    numbers = (Column(title, "right") for title in ("PARTITION", "POSITION", "HEAD", "LAG", "DETACHED"))
    with session.table(*numbers, paged=False) as table:
        for part in one.partitions:
            table.add(part.partition, *map(count, (part.position, part.head, part.lag, part.detached)))


def _note_next(session: Session, found: "ProjectionShape") -> None:
    live = found.live
    for each in found.generations:
        if each.letters:
            session.note(f"next: eventstore dlq list {each.group}")
    if live is not None and live.diverged:
        session.note(f"next: eventstore projections rebuild {found.name}")
    if live is not None and not live.workers:
        session.note(f"no worker runs {found.name}: eventstore work --app MODULE, or up for built-in ones")
