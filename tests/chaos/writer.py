"""A process that appends without pause and notes each acknowledgement, to be killed at any moment.

What it appends follows from its notes: a task's n-th append always has the same events, ids and expected version. So
the next process repeats what had no answer, with the same ids, and goes on.
"""

import os
from collections import Counter
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

import anyio
from msgspec import Struct, json

from eventstore import EventStore, EventStoreError, Expected, NewEvent, OutcomeUnknown, Receipt, Unavailable
from infrastructure.settings import LogSettings, Settings
from tests.support.stores import Noted

TASKS = 4
PARTITIONS = 2


class Ack(Struct, frozen=True, tag="ack"):
    """The n-th append of a task was acknowledged with this receipt."""

    task: int
    n: int
    receipt: Receipt


class Failure(Struct, frozen=True, tag="failure"):
    """The n-th append of a task met an error that it must not meet."""

    task: int
    n: int
    error: str


Note = Ack | Failure


def settings_of(folder: Path) -> Settings:
    return Settings(eventstore=LogSettings(data_dir=folder, partitions=PARTITIONS, durability="fsync"))


def size_of(n: int) -> int:
    """How many events the n-th append has."""
    return 1 + n % 3


def ids_of(task: int, n: int) -> list[UUID]:
    return [uuid5(NAMESPACE_OID, f"{task}-{n}-{i}") for i in range(size_of(n))]


def stream_of(task: int) -> str:
    return f"order-{task}"


def read_notes(notes: Path) -> list[Note]:
    """A last line that the end of a process cut short does not count."""
    return [json.decode(line, type=Note) for line in notes.read_bytes().split(b"\n")[:-1]]


def write(folder: Path, notes: Path) -> None:
    """The process. Ends only by being killed, or by what must not happen."""
    anyio.run(_write, folder, notes)


async def _write(folder: Path, notes: Path) -> None:
    noted = Counter(note.task for note in read_notes(notes) if isinstance(note, Ack))
    descriptor = os.open(notes, os.O_WRONLY | os.O_APPEND)
    while True:
        try:
            await _append_all(folder, noted, descriptor)
        except Unavailable:
            continue  # the server was killed as the log was opened


async def _append_all(folder: Path, noted: Counter[int], notes: int) -> None:
    async with EventStore.open(settings=settings_of(folder)) as store, anyio.create_task_group() as tasks:
        for task in range(TASKS):
            tasks.start_soon(_append_for_ever, store, task, noted[task], notes)


async def _append_for_ever(store: EventStore, task: int, n: int, notes: int) -> None:
    while True:
        try:
            note: Note = Ack(task, n, await _append(store, task, n))
        except EventStoreError as error:
            note = Failure(task, n, repr(error))
        os.write(notes, json.encode(note) + b"\n")  # in one piece: whole lines, whoever kills us
        n += 1


async def _append(store: EventStore, task: int, n: int) -> Receipt:
    events = [NewEvent(id=i, data=Noted(n)) for i in ids_of(task, n)]
    expected = Expected.ANY if n % 2 else sum(map(size_of, range(n)))
    while True:
        try:
            return await store.append(stream_of(task), events, expected=expected)
        except (OutcomeUnknown, Unavailable):
            continue  # the remedy: the same once more
