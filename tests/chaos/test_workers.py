"""Worker processes that are killed, stopped, replaced, and left without a server, under load."""

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from eventstore import EventStore, Unavailable
from tests.support.consumer_worker import Work
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store
from tests.support.workers import LEASE_SECONDS, all_handled, append_on, assert_in_order, counts, versions, workers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
KILLS = 20 if os.environ.get("EVENTSTORE_SOAK") else 6


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--appendonly", "yes", "--appendfsync", "always"]) as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Work]) as one:
        yield one


async def until_all_handled(store: EventStore, seconds: float = 30.0) -> None:
    async for _ in tries(seconds):
        if await all_handled(store):
            return


async def test_after_a_kill_the_others_go_on_within_the_lease_time(store: EventStore, tmp_path: Path) -> None:
    """C09."""
    choose = random.Random(9)
    takeovers: list[float] = []
    stop = anyio.Event()
    async with workers(store, tmp_path) as some, anyio.create_task_group() as tasks:
        tasks.start_soon(append_on, store, 40, stop)
        alive = [some.start(), some.start()]
        for each in alive:
            await some.until_began(each.pid)
        for _ in range(KILLS):
            victim = alive.pop(choose.randrange(2))
            victim.kill()
            await anyio.to_thread.run_sync(victim.wait)
            killed_at = anyio.current_time()
            streams = {note.stream for note in some.read() if note.pid == victim.pid}
            async for _ in tries():
                later = [note for note in some.read() if note.at > killed_at and note.stream in streams]
                if streams <= {note.stream for note in later}:
                    break
            takeovers.append(max(min(n.at for n in later if n.stream == stream) for stream in streams) - killed_at)
            alive.append(some.start())
            await some.until_began(alive[-1].pid)
        stop.set()
        await until_all_handled(store)
        assert_in_order(some.read())
    assert await counts(store) == await versions(store)
    # the lease, the round in which others look, and a machine that is busy with other things
    assert max(takeovers) < LEASE_SECONDS + 5.0, takeovers


async def test_a_stopped_worker_that_wakes_up_changes_nothing(store: EventStore, tmp_path: Path) -> None:
    stop = anyio.Event()
    async with workers(store, tmp_path) as some, anyio.create_task_group() as tasks:
        tasks.start_soon(append_on, store, 40, stop)
        frozen, other = some.start(), some.start()
        for each in (frozen, other):
            await some.until_began(each.pid, 20)
        for _ in range(3):
            frozen.send_signal(signal.SIGSTOP)
            stopped_at = anyio.current_time()
            streams = {note.stream for note in some.read()}
            async for _ in tries():
                later = {n.stream for n in some.read() if n.at > stopped_at and n.pid == other.pid}
                if streams <= later:
                    break
            frozen.send_signal(signal.SIGCONT)
            await some.until_began(frozen.pid, 20, after=anyio.current_time())  # it joins again
        stop.set()
        await until_all_handled(store)
        assert_in_order(some.read())
    assert await counts(store) == await versions(store)


async def test_a_rolling_deploy_loses_and_reorders_nothing(store: EventStore, tmp_path: Path) -> None:
    stop = anyio.Event()
    async with workers(store, tmp_path) as some, anyio.create_task_group() as tasks:
        tasks.start_soon(append_on, store, 60, stop, [Work(0.01), Work()])
        alive = [some.start() for _ in range(3)]
        for each in alive:
            await some.until_began(each.pid)
        for old in list(alive):
            new = some.start()
            await some.until_began(new.pid)
            old.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(old.wait) == 0
        stop.set()
        await until_all_handled(store)
        notes = some.read()
    assert_in_order(notes)
    assert await counts(store) == await versions(store)
    # handed over in good order: what is finished is committed, so nothing is handled twice
    ended = [(note.stream, note.version) for note in notes if note.what == "ended"]
    assert len(ended) == len(set(ended))


async def test_a_deploy_does_not_count_as_an_attempt(store: EventStore, tmp_path: Path) -> None:
    """C10."""
    await store.append("order-1", [Work(seconds=2.0)])
    async with workers(store, tmp_path) as some:
        for _ in range(12):
            worker = some.start()
            await some.until_began(worker.pid)
            worker.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(worker.wait)
        some.start()
        await until_all_handled(store)
        notes = some.read()
    assert {note.attempt for note in notes} == {1}
    assert len([note for note in notes if note.what == "began"]) == 13
    assert len([note for note in notes if note.what == "ended"]) == 1


async def test_a_handling_that_takes_longer_than_the_lease_runs_once(store: EventStore, tmp_path: Path) -> None:
    """C08."""
    await store.append("long-1", [Work(seconds=3.5 * LEASE_SECONDS)])
    async with workers(store, tmp_path) as some:
        some.start()
        some.start()
        async for _ in tries():
            if any(note.stream == "long-1" for note in some.read()):
                break
        for n in range(50):
            await store.append(f"order-{n}", [Work()])
        await until_all_handled(store)
        notes = some.read()
    of_long = [note for note in notes if note.stream == "long-1"]
    assert [(note.what, note.attempt) for note in of_long] == [("began", 1), ("ended", 1)]
    meanwhile = [note for note in notes if of_long[0].at < note.at < of_long[1].at and note.what == "ended"]
    assert len(meanwhile) == 50


async def test_a_server_that_is_killed_and_started_again(server: Server, store: EventStore, tmp_path: Path) -> None:
    async with workers(store, tmp_path) as some:
        some.start()
        some.start()
        for _ in range(4):
            for n in range(100):
                await store.append(f"order-{n % 20}", [Work(failures=int(n == 7))])
            server.process.kill()
            await anyio.to_thread.run_sync(server.process.wait)
            assert server.start is not None
            server.process = server.start()
            await until_it_answers(store)
        await until_all_handled(store, 60)
        assert_in_order(some.read())
    assert sum((await counts(store)).values()) == 400


async def until_it_answers(store: EventStore) -> None:
    async for _ in tries():
        with suppress(Unavailable):
            await store.version("order-0")
            return
