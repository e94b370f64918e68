"""A process that appends its share of a log in every way there is, one of several that do so at once.

    python -m tests.chaos.busy_writer '{"url": ..., "prefix": ..., "worker": 0, "events": 1000, "notes": ...}'

What it appends follows from its number: streams, sizes and ids of a task's n-th append are always the same. So a
process that was killed is started again from the beginning, and repeats what may or may not have been written.
"""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

import anyio
from msgspec import Struct, json

from eventstore import EventStore, Expected, NewEvent, Receipt, WrongExpectedVersion
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings

TASKS = 8
SHARED = 40  # streams that all append to without looking
CONTENDED = 16  # streams that all append to at the version they believe in
SIZES = (1, 1, 1, 2, 5, 20, 50)
PATIENCE_SECONDS = 100.0  # a busy machine is no fault

Kind = Literal["exact", "exists", "any", "ids", "contended"]
KINDS: tuple[Kind, ...] = ("exact", "exact", "exists", "any", "ids", "contended")


class Work(Struct, frozen=True):
    """What one process does. `only_ids`: every event has an id of the caller's, as whoever may be killed needs.
    `dies_at`: the acknowledgement at which the process ends as by kill -9, before it notes it."""

    url: str
    prefix: str
    worker: int
    events: int
    notes: str  # the file of its notes
    only_ids: bool = False
    dies_at: int = 0


class Written(Struct, frozen=True):
    """Who wrote an event, and as which of its own."""

    worker: int
    task: int
    n: int


class Note(Struct, frozen=True):
    """An append was acknowledged, after so many conflicts."""

    kind: Kind
    conflicts: int
    receipt: Receipt


def settings_of(work: Work) -> Settings:
    log = LogSettings(prefix=work.prefix, durability="memory", append_timeout_seconds=PATIENCE_SECONDS)
    return Settings(
        redis=RedisSettings(url=SecretUrl(work.url), socket_timeout_seconds=PATIENCE_SECONDS), eventstore=log
    )


def read_notes(work: Work) -> list[Note]:
    """None yet before it has begun; a last line that the end of a process cut short does not count."""
    file = Path(work.notes)
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [json.decode(line, type=Note) for line in lines]


async def main(work: Work) -> None:
    notes, acknowledged = os.open(work.notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT), count(1)
    opened = EventStore.open(settings=settings_of(work), types=[Written])
    async with opened as store, anyio.create_task_group() as tasks:
        for task in range(TASKS):
            tasks.start_soon(_append_share, store, work, task, notes, acknowledged)
    os.close(notes)


async def _append_share(store: EventStore, work: Work, task: int, notes: int, acknowledged: "count[int]") -> None:
    versions: Counter[str] = Counter()  # what this task believes
    for kind, stream, numbers in _plan(work, task):
        events = [_event(work, task, n, with_id=work.only_ids or kind == "ids") for n in numbers]
        note = await _append(store, kind, stream, events, versions)
        if next(acknowledged) == work.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(notes, json.encode(note) + b"\n")  # in one piece: whole lines, whoever kills us


def _plan(work: Work, task: int) -> Iterator[tuple[Kind, str, range]]:
    chance = random.Random(f"{work.worker}-{task}")
    share = work.events * (task + 1) // TASKS - work.events * task // TASKS
    done = 0
    while done < share:
        kind, size, number = chance.choice(KINDS), min(chance.choice(SIZES), share - done), chance.random()
        yield kind, _stream(kind, work.worker, task, number), range(done, done + size)
        done += size


def _stream(kind: Kind, worker: int, task: int, number: float) -> str:
    if kind in ("any", "ids"):
        return f"shared-{int(number * SHARED)}"
    if kind == "contended":
        return f"contended-{int(number * CONTENDED)}"
    return f"own-{worker}-{task}"


def _event(work: Work, task: int, n: int, *, with_id: bool) -> NewEvent:
    event_id = uuid5(NAMESPACE_OID, f"{work.worker}-{task}-{n}") if with_id else None
    return NewEvent(id=event_id, data=Written(work.worker, task, n))


async def _append(store: EventStore, kind: Kind, stream: str, events: list[NewEvent], versions: Counter[str]) -> Note:
    conflicts = 0
    while True:
        try:
            receipt = await store.append(stream, events, expected=_expected(kind, versions[stream]))
        except WrongExpectedVersion as conflict:
            if kind != "contended":
                raise
            versions[stream] = conflict.actual
            conflicts += 1
        else:
            versions[stream] = receipt.version
            return Note(kind, conflicts, receipt)


def _expected(kind: Kind, version: int) -> int | Expected:
    if kind in ("exact", "contended"):
        return version
    return Expected.EXISTS if kind == "exists" and version else Expected.ANY


if __name__ == "__main__":
    anyio.run(main, json.decode(sys.argv[1], type=Work))
