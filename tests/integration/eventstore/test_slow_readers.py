"""Readers that take their time: what they hold, and what the server holds for them, has a bound."""

import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import pytest
from msgspec import Struct
from msgspec.structs import replace

from eventstore import EventStore
from eventstore.read import Order
from infrastructure.server_program import find_program
from infrastructure.settings import LogSettings, Settings
from tests.support.command import wait_for_line
from tests.support.logs import stream_in
from tests.support.memory import CAN_TELL, MIB, for_clients, peak_bytes
from tests.support.servers import Server, redis_server, until
from tests.support.slow_reader import Slow, start
from tests.support.stores import Noted, open_store

if TYPE_CHECKING:
    import subprocess

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not CAN_TELL, reason="not applicable: needs the /proc of Linux"),
]

EVENTS, EVENT_BYTES, BATCH = 200_000, 1_000, 100
STREAMS = 80
HELD_BY_ONE = 24 * MIB  # 16 MiB or 8,192 events at most as they are stored, and what the objects take beside it
HELD_BY_A_READ = 64 * MIB  # two pages of each partition, 32 MiB in all, likewise
CROWD = 20


class Reader:
    """A slow process, and how much it has grown since its store was open."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._at_first = int(wait_for_line(process, "open").split()[1])
        wait_for_line(process, "reading")

    @property
    def growth(self) -> int:
        return peak_bytes(self.process.pid) - self._at_first

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def reading(*slow: Slow) -> Iterator[list[Reader]]:
    processes = [start(each) for each in slow]
    try:
        yield [Reader(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@asynccontextmanager
async def open_log(server: Server, prefix: str, partitions: int = 16) -> AsyncIterator[EventStore]:
    """Not gone at the end: readers come to it later."""
    log = LogSettings(prefix=prefix, partitions=partitions, durability="memory", append_timeout_seconds=60)
    async with EventStore.open(settings=Settings(redis=server.settings, eventstore=log), types=[Noted]) as store:
        yield store


async def fill(store: EventStore, streams: Sequence[str], events: int, size: int, batch: int = BATCH) -> None:
    async def one(stream: str) -> None:
        for first in range(0, events // len(streams), batch):
            await store.append(stream, [Noted(first + i, "x" * size) for i in range(batch)])

    async with anyio.create_task_group() as tasks:
        for stream in streams:
            tasks.start_soon(one, stream)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(redis_server(find_program(), ["--maxmemory", "4gb"])) as server,
    ):
        yield server


class Crowded(Struct, frozen=True):
    """What was seen once 200,000 events had been appended before the eyes of slow readers."""

    growth: list[int]  # of a process with one that stops, of one with 20 that stop, of one with 20 that are slow
    for_clients: list[tuple[int, int]]


@pytest.fixture(scope="module")
def crowded(server: Server) -> Crowded:
    return anyio.run(_crowd, server)


async def _crowd(server: Server) -> Crowded:
    slow = Slow(server.url, "slow")
    async with open_log(server, "slow") as store:
        await store.append("order-1", [Noted(0)])
        with reading(slow, replace(slow, readers=CROWD), replace(slow, readers=CROWD, pace="slow")) as readers:
            await fill(store, [f"order-{i}" for i in range(STREAMS)], EVENTS, EVENT_BYTES)
            return Crowded([reader.growth for reader in readers], for_clients(server))


def test_readers_that_stop_or_fall_behind_do_not_grow_with_what_is_appended(crowded: Crowded) -> None:
    one, many, slow = crowded.growth
    assert one <= HELD_BY_ONE
    assert many <= CROWD * HELD_BY_ONE
    assert slow <= CROWD * HELD_BY_ONE


def test_a_server_keeps_nothing_for_readers_that_do_not_ask(crowded: Crowded) -> None:
    assert len(crowded.for_clients) > 2 * CROWD
    assert [waiting for waiting, _ in crowded.for_clients if waiting] == []
    assert sum(kept for _, kept in crowded.for_clients) <= len(crowded.for_clients) * 64 * 1024


@pytest.mark.parametrize("order", ["partition", "total"])
@pytest.mark.usefixtures("crowded")
def test_readers_that_stop_in_a_long_history_hold_a_window_of_it(server: Server, order: Order) -> None:
    one = Slow(server.url, "slow", order=order)
    with reading(one, replace(one, readers=CROWD), replace(one, way="read_all")) as (lone, crowd, finite):
        assert lone.growth <= HELD_BY_ONE
        assert CROWD * MIB < crowd.growth <= CROWD * HELD_BY_ONE
        assert finite.growth <= HELD_BY_A_READ
        assert [waiting for waiting, _ in for_clients(server) if waiting] == []


async def test_a_huge_partition_beside_empty_ones_is_merged_within_the_same_bounds(server: Server) -> None:
    async with open_log(server, "lopsided") as store:
        await fill(store, [stream_in(7, 16)], EVENTS // 4, EVENT_BYTES)
    merged = Slow(server.url, "lopsided", order="total")
    with reading(merged, replace(merged, way="read_all"), replace(merged, pace="fast")) as readers:
        subscribed, finite, again_and_again = readers
        assert subscribed.growth <= HELD_BY_ONE
        assert finite.growth <= HELD_BY_A_READ
        pages = server.calls_of("evalsha")
        await until(lambda: server.calls_of("evalsha") > pages + 500)
        assert again_and_again.growth <= 2 * HELD_BY_ONE


async def test_large_events_are_bounded_by_their_bytes_also_where_partitions_are_many(server: Server) -> None:
    async with open_log(server, "large", partitions=64) as store:
        await fill(store, [stream_in(p, 64) for p in range(64)], 2 * 64, 1_000_000, batch=1)
        async with aclosing(store.subscribe()) as subscription:
            for _ in range(2 * 64):
                await anext(subscription)
                assert sum(len(entry.data) for entry in subscription._ready) <= 16 * MIB
    with reading(Slow(server.url, "large")) as (reader,):
        assert reader.growth <= 64 * MIB


async def test_a_partition_with_much_to_read_keeps_no_other_one_waiting(server: Server) -> None:
    # events so large that the pages of two partitions may not be held at once
    async with open_store(server, partitions=2, max_event_bytes=16 * MIB) as store:
        await fill(store, [stream_in(0, 2)], 10_000, 10, batch=1_000)
        await store.append(stream_in(1, 2), [Noted(-1)])
        async with aclosing(store.subscribe()) as subscription:
            assert -1 in [(await anext(subscription)).data.n for _ in range(2_000)]


async def test_what_a_frozen_reader_has_asked_for_is_all_that_the_server_keeps_for_it(server: Server) -> None:
    async with open_log(server, "frozen", partitions=1) as store:
        await fill(store, ["order-1"], 5_000, 8_000, batch=500)
        with reading(Slow(server.url, "frozen", pace="fast")) as (reader,):
            kept = [each async for each in _kept_while_it_freezes(server, reader, times=50)]
    assert max(kept) <= 16 * MIB


async def _kept_while_it_freezes(server: Server, reader: Reader, times: int) -> AsyncIterator[int]:
    for _ in range(times):
        reader.freeze()
        for _ in range(10):
            for _, kept in for_clients(server):
                yield kept
        before = server.calls_of("evalsha")
        reader.go_on()
        await until(partial(_has_read_on, server, before))


def _has_read_on(server: Server, before: int) -> bool:
    return server.calls_of("evalsha") > before
