"""What an operator does with read models that takes more than a call."""

from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio

from gateway.cli.manners.inputs import types_of
from gateway.cli.manners.interrupt import Interrupted, Stop, stopping_on_signals
from gateway.cli.manners.session import Session, count
from gateway.cli.manners.text import paint, safe
from gateway.cli.manners.where_kept import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from eventstore.cursor import Cursor
    from eventstore.store import EventStore
    from gateway.projections import GenerationShape, ReadModels
    from gateway.projections_past import ChangedRow
    from projections import Projection

LOOK_SECONDS = 0.25
_MARKS = {"added": ("+", "good"), "removed": ("-", "bad"), "changed": ("~", None)}


@asynccontextmanager
async def opened(session: Session, kept: Kept, *, read_only: bool = False) -> "AsyncIterator[ReadModels]":
    """Read models, as the flags say. Raises BadRequest where what they need is not installed."""
    from gateway.modules import need_databases

    need_databases()
    from gateway.projections import read_models

    async with (
        session.store(read_only=read_only) as store,
        read_models(store, database=kept.database, app=kept.app) as models,
    ):
        yield models


# ---- rebuild ----


async def rebuild_named(session: Session, models: "ReadModels", name: str, reason: str | None, *, wait: bool) -> None:
    from gateway.who import who_am_i

    number, found = await models.rebuild(name, who=who_am_i(), why=reason)
    begun = next(each for each in found.generations if each.generation == number)
    if found.live is not None and not found.live.workers:
        session.note(f"no worker runs {name} now: eventstore work --app MODULE")
    follow = f"eventstore projections show {name}"
    if not wait:
        session.show(found, f"generation {number} of {name} is being built from {count(begun.total)} events")
        session.note(f"follow it: {follow}   cancel it: eventstore projections drop {name} {number}")
        return
    with stopping_on_signals() as stop, session.progress(f"generation {number} of {name}") as progress:
        is_told = False
        while (begun := await models.generation(name, number)).state == "building":
            progress.show(begun.done, begun.total)
            if begun.detached and not begun.lag and not is_told:
                is_told = True
                session.note(f"{_failing(begun)}: eventstore dlq list {begun.group}")
            if await _stopped(stop):
                raise Interrupted(f"the rebuild goes on without this command; follow it: {follow}")
    session.show(await models.show(name), f"generation {number} of {name} is read now, {_made_of(begun)}")


async def _stopped(stop: Stop) -> bool:
    with anyio.move_on_after(LOOK_SECONDS):
        await stop.wait()
    return stop.requested


def _failing(generation: "GenerationShape") -> str:
    """Why it may not be read, though it has caught up."""
    streams = "1 stream fails" if generation.detached == 1 else f"{count(generation.detached)} streams fail"
    return f"{streams} in it, and it is read when they are retried or discarded, unless they fail in the live one too"


def _made_of(generation: "GenerationShape") -> str:
    return f"{count(generation.done)} events" + (f", {count(generation.lag)} behind" if generation.lag else "")


# ---- as of a moment ----


async def build_file(session: Session, name: str, app: str, as_of: str, out: Path) -> None:
    async with _past(session, name, app) as (store, projection):
        from gateway.projections_past import moment

        total = await _build(session, store, projection, await moment(store, as_of, field="as_of"), out)
    tables = ", ".join(projection.tables)
    shape = {"projection": name, "file": str(out), "events": total, "tables": list(projection.tables)}
    session.show(shape, f"{out} has {tables} of {name}, made of {count(total)} events")


async def print_differences(session: Session, name: str, app: str, since: str, to: str) -> None:
    from gateway.projections_past import changed_rows, moment

    with TemporaryDirectory(prefix="eventstore-") as folder:
        before, after = Path(folder) / "before.sqlite", Path(folder) / "after.sqlite"
        async with _past(session, name, app) as (store, projection):
            first, last = await moment(store, since, field="from"), await moment(store, to, field="to")
            await _build(session, store, projection, first, before)
            await _build(session, store, projection, last, after)
        seen: Counter[tuple[str, str]] = Counter()
        for row in changed_rows(projection, before, after):
            seen[row.table, row.change] += 1
            session.show_json(row) if session.json else _print_row(session, row)
    if not session.json:
        for table in projection.tables:
            print(f"{table}: {', '.join(f'{count(seen[table, change])} {change}' for change in _MARKS)}")


@asynccontextmanager
async def _past(session: Session, name: str, app: str) -> "AsyncIterator[tuple[EventStore, Projection]]":
    from gateway.modules import need_databases

    need_databases()
    from gateway.projections_past import projection_named

    projection = projection_named(app, name)
    async with session.store(types_of(app), read_only=True) as store:
        yield store, projection


async def _build(session: Session, store: "EventStore", projection: "Projection", as_of: "Cursor", file: Path) -> int:
    from gateway.projections_past import project_to_file

    with session.progress(f"{projection.name} as it was") as progress:
        return await project_to_file(store, projection, as_of, file, progress.show)


def _print_row(session: Session, row: "ChangedRow") -> None:
    mark, style = _MARKS[row.change]
    key = " ".join(f"{name}={_value(value)}" for name, value in row.key.items())
    print(paint(safe(f"{mark} {row.table} {key}{_told(row)}"), style, color=session.color))  # type: ignore[arg-type]


def _told(row: "ChangedRow") -> str:
    before, after = row.before or {}, row.after or {}
    others = [name for name in (after or before) if name not in row.key]
    if row.change == "changed":
        told = [
            f"{name}={_value(before[name])} -> {_value(after[name])}" for name in others if before[name] != after[name]
        ]
    else:
        told = [f"{name}={_value((after or before)[name])}" for name in others]
    return f": {', '.join(told)}" if told else ""


def _value(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
