"""Scheduled events while the workers that fire them are killed, stopped and replaced."""

import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import pytest

from consumers import schedule
from consumers.verify import check_groups
from eventstore import EventStore, RecordedEvent, Unavailable
from eventstore.verify import CHECKS, verify
from tests.support.consumer_worker import Work
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store
from tests.support.workers import LEASE_SECONDS, workers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
KILLS = 20 if os.environ.get("EVENTSTORE_SOAK") else 4
STREAMS = 12
LATE_SECONDS = LEASE_SECONDS * 4 / 3 + 5.0
"""The time to live of who was killed, the next heartbeat of another, and a machine that is busy with other things."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--appendonly", "yes", "--appendfsync", "always"]) as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Work]) as one:
        yield one


async def _schedule(store: EventStore, count: int, within_seconds: float, chance: random.Random) -> dict[str, int]:
    """Event id -> when it is due, microseconds."""
    made = [
        await schedule(store, f"order-{n % STREAMS}", Work(), after=chance.uniform(0.2, within_seconds))
        for n in range(count)
    ]
    return {str(each.id): each.due_us for each in made}


async def _until_fired(store: EventStore, count: int, seconds: float) -> list[RecordedEvent]:
    async for _ in tries(seconds):
        events = [event async for event in store.read_all()]
        if len(events) >= count:
            break
    return events


def _assert_fired(events: list[RecordedEvent], due: dict[str, int]) -> None:
    """Each once, not before its time, and in its stream in the order of their times."""
    assert sorted(str(event.id) for event in events) == sorted(due)
    assert all(event.recorded_at >= due[str(event.id)] for event in events)


async def test_what_waits_when_a_worker_is_killed_others_fire(store: EventStore, tmp_path: Path) -> None:
    chance = random.Random(7)
    async with workers(store, tmp_path) as some:
        await store.append("begin-1", [Work()])
        alive = [some.start(), some.start()]
        due: dict[str, int] = {}
        for number in range(KILLS):
            due |= await _schedule(store, 60, LEASE_SECONDS, chance)
            victim = alive.pop(chance.randrange(2))
            if number % 2:
                victim.send_signal(signal.SIGSTOP)  # and wakes up when others have fired what was its own
            else:
                victim.kill()
                await anyio.to_thread.run_sync(victim.wait)
            events = await _until_fired(store, len(due) + 1, LEASE_SECONDS + LATE_SECONDS)
            _assert_fired([event for event in events if event.stream != "begin-1"], due)
            victim.send_signal(signal.SIGCONT)
            alive.append(some.start())
    assert await verify(store.log, checks=[*CHECKS, check_groups]) == []


async def test_what_was_due_while_no_worker_ran_the_next_one_fires(store: EventStore, tmp_path: Path) -> None:
    due = await _schedule(store, 200, 0.5, random.Random(8))
    async with workers(store, tmp_path) as some:
        for _ in range(2):
            some.start()
        _assert_fired(await _until_fired(store, 200, 20.0), due)
    for stream in (f"order-{n}" for n in range(STREAMS)):
        ours = [due[str(event.id)] async for event in store.read(stream)]
        assert ours == sorted(ours)


async def test_a_server_that_restarts_keeps_what_waits(server: Server, store: EventStore, tmp_path: Path) -> None:
    async with workers(store, tmp_path) as some:
        some.start()
        due = await _schedule(store, 100, 3.0, random.Random(9))
        server.process.kill()
        await anyio.to_thread.run_sync(server.process.wait)
        assert server.start is not None
        server.process = server.start()
        async for _ in tries():
            if await _answers(store):
                break
        _assert_fired(await _until_fired(store, 100, 20.0), due)
    assert await verify(store.log, checks=[*CHECKS, check_groups]) == []


async def _answers(store: EventStore) -> bool:
    try:
        await store.version("order-1")
    except Unavailable:
        return False
    return True
