"""Eight processes append in every way at once, and readers follow from the first event: each place and each id once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Literal
from uuid import UUID

import anyio
import pytest
from msgspec import json
from msgspec.structs import replace

from eventstore import EventStore, RecordedEvent
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.chaos.busy_writer import KINDS, Note, Work, Written, read_notes, settings_of
from tests.support.servers import Server, redis_server, until

pytestmark = pytest.mark.anyio

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
PROCESSES = 8
EVENTS = 1_000_000 if SOAK else 100_000
EVENTS_WITH_KILLS = 100_000 if SOAK else 10_000
PATIENCE_SECONDS = 900 if SOAK else 100
ROOT = Path(__file__).parents[2]

Order = Literal["partition", "total"]


class Seen:
    """What a reader has been given. Whatever comes twice, too early or too late fails at once."""

    def __init__(self, partitions: int) -> None:
        self.count = 0
        self.ids: list[list[UUID]] = [[] for _ in range(partitions)]  # by partition and position - 1
        self._versions: dict[str, int] = {}

    def take(self, event: RecordedEvent) -> None:
        assert event.position == len(self.ids[event.partition]) + 1
        assert event.version == self._versions.get(event.stream, 0) + 1
        self._versions[event.stream] = event.version
        self.ids[event.partition].append(event.id)
        self.count += 1

    def every_id(self) -> list[UUID]:
        return [event_id for ids in self.ids for event_id in ids]


async def _follow(store: EventStore, orders: Sequence[Order], seen: Seen, events: int) -> None:
    """Reads on until so many events have come. With several orders: in turn, each from the cursor of the one before."""
    cursor = None
    turn = events // 10 if len(orders) > 1 else events
    for order in cycle(orders):
        async with aclosing(store.subscribe(order=order, cursor=cursor)) as subscription:
            last, end = (0, 0, 0), min(seen.count + turn, events)
            while seen.count < end:
                event = await anext(subscription)
                seen.take(event)
                key = (event.recorded_at, event.partition, event.position)
                assert order == "partition" or key > last
                last = key
            cursor = subscription.cursor
        if seen.count == events:
            return


# ---- the writers ----


class Writers:
    """One process for each piece of work."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._processes = [_start(work) for work in works]

    async def end_well(self) -> None:
        """Waits for all; a writer that fails, fails the test."""
        await until(lambda: self._all_ended() or self._one_failed(), PATIENCE_SECONDS)
        assert [p.communicate()[1] for p in self._processes if p.poll()] == []

    async def starts_again(self, number: int, work: Work) -> None:
        """Waits until a process is killed, and puts another one in its place."""
        killed = self._processes[number]
        await until(lambda: killed.poll() is not None, PATIENCE_SECONDS)
        assert killed.returncode == -signal.SIGKILL, killed.communicate()[1]
        killed.communicate()
        self._processes[number] = _start(work)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _all_ended(self) -> bool:
        return all(p.poll() is not None for p in self._processes)

    def _one_failed(self) -> bool:
        return any(p.poll() for p in self._processes)


@contextmanager
def _writers(works: Sequence[Work]) -> Iterator[Writers]:
    writers = Writers(works)
    try:
        yield writers
    finally:
        writers.end()


def _start(work: Work) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.chaos.busy_writer", json.encode(work).decode()]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _works(server: Server, folder: Path, processes: int, events: int, *, only_ids: bool = False) -> list[Work]:
    return [
        Work(server.url, "busy", number, events // processes, str(folder / f"notes-{number}"), only_ids)
        for number in range(processes)
    ]


# ---- the tests ----


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
async def test_eight_processes_append_and_readers_see_every_place_once(tmp_path: Path) -> None:
    async with redis_server(find_program()) as server:
        works = _works(server, tmp_path, PROCESSES, EVENTS)
        async with EventStore.open(settings=settings_of(works[0]), types=[Written]) as store:
            seen = {orders: Seen(store.log.partitions) for orders in _ORDERS}
            with _writers(works) as writers, anyio.fail_after(PATIENCE_SECONDS):
                async with anyio.create_task_group() as tasks:
                    for orders in _ORDERS:
                        tasks.start_soon(_follow, store, orders, seen[orders], EVENTS)
                    tasks.start_soon(writers.end_well)
            notes = [note for work in works for note in read_notes(work)]
            for each in seen.values():
                _holds_what_was_acknowledged(each, notes)
            assert await verify(store.log) == []
    assert {note.kind for note in notes} == set(KINDS)
    assert sum(note.conflicts for note in notes) > 0
    assert sum(len(note.receipt.ids) for note in notes) == EVENTS


_ORDERS: tuple[tuple[Order, ...], ...] = (("partition",), ("total",), ("partition", "total"))


@pytest.mark.timeout(2 * PATIENCE_SECONDS)
async def test_a_killed_writer_that_begins_again_with_the_same_ids_writes_nothing_twice(tmp_path: Path) -> None:
    async with redis_server(find_program()) as server:
        works = _works(server, tmp_path, 4, EVENTS_WITH_KILLS, only_ids=True)
        mortal = [replace(work, dies_at=(n + 1) * EVENTS_WITH_KILLS // 400) for n, work in enumerate(works[:2])]
        async with EventStore.open(settings=settings_of(works[0]), types=[Written]) as store:
            seen = Seen(store.log.partitions)
            with _writers([*mortal, *works[2:]]) as writers, anyio.fail_after(PATIENCE_SECONDS):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_follow, store, ("partition", "total"), seen, EVENTS_WITH_KILLS)
                    for number, work in enumerate(works[:2]):
                        await writers.starts_again(number, work)
                    tasks.start_soon(writers.end_well)
            again = [note for work in works[:2] for note in read_notes(work)]
            _holds_what_was_acknowledged(seen, again + [note for work in works[2:] for note in read_notes(work)])
            assert await verify(store.log) == []
    receipts = {note.receipt.ids: note.receipt for note in again}
    assert len(receipts) < len(again), "no append was repeated"
    assert [note for note in again if note.receipt != receipts[note.receipt.ids]] == []


def _holds_what_was_acknowledged(seen: Seen, notes: Sequence[Note]) -> None:
    """Each event of each receipt is where it says, and nothing else is there."""
    found = seen.every_id()
    assert len(set(found)) == len(found) == seen.count
    assert set(found) == {event_id for note in notes for event_id in note.receipt.ids}
    for note in notes:
        receipt = note.receipt
        first = receipt.position - len(receipt.ids)
        assert seen.ids[receipt.partition][first : receipt.position] == list(receipt.ids)
