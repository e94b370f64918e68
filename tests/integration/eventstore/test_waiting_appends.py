"""Appends that wait for the server: joined, bounded, and each ended by its own verdict, deadline or leaving."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import psutil
import pytest
from anyio.lowlevel import checkpoint

from eventstore import (
    EventStore,
    EventStoreError,
    OutcomeUnknown,
    Overloaded,
    Receipt,
    StreamAppend,
    Unavailable,
    WrongExpectedVersion,
)
from eventstore.append import Append
from eventstore.group_commit import Lane
from tests.support.fixtures import server_fixture
from tests.support.impatient import impatient_store
from tests.support.recorded import recorded
from tests.support.servers import Server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 0.3


server = server_fixture()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server.settings, partitions=1, max_waiting_events=20, max_waiting_bytes=4_000) as store:
        await store.append("warm-1", [Noted(0)])  # the server knows the script from here on
        yield store


@contextmanager
def stalled(server: Server) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


class Results:
    """What appends in other tasks came to, by the number of their event."""

    def __init__(self, store: EventStore, tasks: Any) -> None:
        self._store, self._tasks = store, tasks
        self.outcomes: dict[int, Receipt | EventStoreError] = {}

    async def start(self, n: int, *, events: int = 1, text: str = "", **options: Any) -> None:
        """Starts an append and lets it come as far as waiting."""
        self._tasks.start_soon(self._append, n, [Noted(n, text)] * events, options)
        await checkpoint()
        await checkpoint()

    async def _append(self, n: int, events: list[Noted], options: dict[str, Any]) -> None:
        try:
            self.outcomes[n] = await self._store.append(options.pop("stream", f"order-{n}"), events, **options)
        except EventStoreError as error:
            self.outcomes[n] = error

    def of_kind(self, kind: type) -> set[int]:
        return {n for n, outcome in self.outcomes.items() if isinstance(outcome, kind)}


async def test_what_comes_while_a_call_is_on_its_way_is_joined_in_the_next(store: EventStore, server: Server) -> None:
    calls = server.calls_of("evalsha")
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        with stalled(server):
            for n in range(20):
                await results.start(n)
    assert results.of_kind(Receipt) == set(range(20))
    assert server.calls_of("evalsha") - calls == 2


async def test_each_append_of_a_joined_call_has_its_own_verdict(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        with stalled(server):
            for n in range(1, 7):
                await results.start(n, stream="order-1", expected=0 if n % 2 else n // 2)
    assert results.of_kind(Receipt) == {1, 2, 4, 6}  # 1 makes the stream, 2, 4 and 6 follow; 3 and 5 come too late
    assert results.of_kind(WrongExpectedVersion) == {3, 5}
    assert [entry.version for entry in recorded(server, store.log)][1:] == [1, 2, 3, 4]


async def test_too_much_that_waits_is_refused_and_surely_not_written(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        with stalled(server):
            await results.start(1, events=20)
            await results.start(2)
            error = results.outcomes[2]
            assert isinstance(error, Overloaded)
            assert (error.waiting, error.limit, error.partition) == (20, 20, 0)
            assert "20 events wait" in error.detail
    assert isinstance(results.outcomes[1], Receipt)
    assert len(recorded(server, store.log)) == 21
    await store.append("order-2", [Noted(2)])


async def test_what_waits_is_bounded_in_bytes_too(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        with stalled(server):
            await results.start(1, text="x" * 3_000)
            await results.start(2, text="x" * 3_000)
            error = results.outcomes[2]
            assert isinstance(error, Overloaded)
            assert "bytes wait" in error.detail
            await results.start(3)
    assert results.of_kind(Receipt) == {1, 3}


async def test_checks_count_as_events_and_their_names_as_bytes(store: EventStore, server: Server) -> None:
    """They are kept until the script looks at each."""
    outcomes: list[tuple[Receipt, ...] | str] = []

    async def append(stream: str, checks: dict[str, int]) -> None:
        try:
            outcomes.append(await store.append_many([StreamAppend(stream, [Noted(1)])], checks=checks))
        except Overloaded as error:
            outcomes.append(error.detail)

    few, long = {f"few-{i}": 0 for i in range(10)}, {f"{'x' * 500}-{i}": 0 for i in range(8)}
    async with anyio.create_task_group() as tasks:
        with stalled(server):
            for stream, checks in (("order-1", few), ("order-2", few), ("order-3", long)):
                tasks.start_soon(append, stream, checks)
            await until(lambda: len(outcomes) == 2)
    assert [str(each).partition(" wait")[0].split()[1] for each in outcomes[:2]] == ["events", "bytes"]
    assert await store.version("order-1") == 1


async def test_who_has_left_makes_room(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        with stalled(server):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as leaving:
                    await Results(store, leaving).start(1, events=20)
                    scope.cancel()
            results = Results(store, tasks)
            await results.start(2, events=20)
            assert results.outcomes == {}
    assert results.of_kind(Receipt) == {2}


async def test_who_has_left_is_forgotten_though_the_server_still_stalls(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        with stalled(server):
            await Results(store, tasks).start(1)
            for n in range(2, 50):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as leaving:
                        await Results(store, leaving).start(n)
                        scope.cancel()
            gc.collect()
            assert sum(isinstance(each, Append) for each in gc.get_objects()) <= 2


async def test_each_who_waits_has_an_error_of_its_own(store: EventStore, server: Server) -> None:
    """Who catches one may add to it: an import names the line."""
    server.admin("CONFIG", "SET", "maxmemory", "1")
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        for n in range(5):
            await results.start(n, timeout_seconds=SHORT_SECONDS)
    server.admin("CONFIG", "SET", "maxmemory", "0")
    assert results.of_kind(Unavailable) == set(range(5))
    assert len({id(error) for error in results.outcomes.values()}) == 5
    told = {(e.reason, e.maybe_ran, bool(e.remedy)) for e in results.outcomes.values() if isinstance(e, Unavailable)}
    assert told == {("out-of-memory", False, True)}  # also those whose turn had not come


async def test_an_append_larger_than_a_joined_call_goes_alone(server: Server) -> None:
    async with open_store(server.settings, partitions=1, max_call_events=3_000) as store:
        await store.append("warm-1", [Noted(0)])
        calls = server.calls_of("evalsha")
        async with anyio.create_task_group() as tasks:
            results = Results(store, tasks)
            with stalled(server):
                for n, events in enumerate([1, 1, 2_500, 1, 1]):
                    await results.start(n, events=events)
        assert results.of_kind(Receipt) == {0, 1, 2, 3, 4}
        assert server.calls_of("evalsha") - calls == 4  # the first, the second, the large one, the rest


async def test_at_the_deadline_it_is_known_what_was_never_sent(store: EventStore, server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        with stalled(server):
            await results.start(1, timeout_seconds=SHORT_SECONDS)
            await results.start(2, timeout_seconds=SHORT_SECONDS)
            await until(lambda: len(results.outcomes) == 2)
    sent, gathering = results.outcomes[1], results.outcomes[2]
    assert isinstance(sent, OutcomeUnknown)
    assert sent.facts["stream"] == "order-1"
    assert "same ids" in str(sent.remedy)
    assert isinstance(gathering, Unavailable)
    assert (gathering.reason, gathering.maybe_ran) == ("timeout", False)
    await store.append("order-3", [Noted(3)])  # behind the first, in whatever it became
    assert [entry.stream for entry in recorded(server, store.log) if entry.stream == "order-2"] == []


async def test_a_doubt_stays_when_later_tries_surely_fail(server: Server) -> None:
    """The first try may have run; then the server is gone, and each later try is refused."""
    async with impatient_store(server.port, SHORT_SECONDS, partitions=1) as store, anyio.create_task_group() as tasks:
        results = Results(store, tasks)
        os.kill(server.process.pid, signal.SIGSTOP)
        before = _connections_to(server)
        await results.start(1, timeout_seconds=10 * SHORT_SECONDS)
        await until(lambda: bool(_connections_to(server) - before))  # a second try, after the first had no answer
        server.process.kill()
    assert isinstance(results.outcomes[1], OutcomeUnknown)


def _connections_to(server: Server) -> set[int]:
    """The local ports of our connections to the server."""
    connections = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in connections if each.raddr and each.raddr.port == server.port}


async def test_nothing_is_sent_again_for_somebody_who_has_gone(store: EventStore, server: Server) -> None:
    server.admin("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match="OOM"):
        await store.append("order-1", [Noted(1)], timeout_seconds=SHORT_SECONDS)
    server.admin("CONFIG", "SET", "maxmemory", "0")
    await store.append("order-2", [Noted(2)])
    assert [entry.stream for entry in recorded(server, store.log)] == ["warm-1", "order-2"]


async def test_a_store_that_closes_waits_for_its_appends(server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        async with open_store(server.settings, partitions=1) as store:
            results = Results(store, tasks)
            with stalled(server):
                for n in range(3):
                    await results.start(n)
        assert results.of_kind(Receipt) == {0, 1, 2}


async def test_a_store_that_closes_takes_no_more_appends(server: Server) -> None:
    """Else those who go on appending would keep it open for ever."""

    async def append_on(store: EventStore) -> None:
        try:
            while True:
                await store.append("order-1", [Noted(1)])
        except Unavailable as error:
            ends.append(error)

    ends: list[Unavailable] = []
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(10):
            async with open_store(server.settings, partitions=1) as store:
                for _ in range(4):  # not in step: some wait while others are on their way
                    tasks.start_soon(append_on, store)
                    await checkpoint()
                    await checkpoint()
                await until(lambda: len(recorded(server, store.log)) > 20)
    assert {(error.reason, error.maybe_ran) for error in ends} == {("closed", False)}


async def test_a_store_that_is_cancelled_leaves_nobody_waiting(server: Server) -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            async with open_store(server.settings, partitions=1) as store:
                results = Results(store, tasks)
                with stalled(server):
                    for n in range(3):
                        await results.start(n)
                    scope.cancel()
                    await checkpoint()
    assert isinstance(results.outcomes[0], OutcomeUnknown)
    for n in (1, 2):
        error = results.outcomes[n]
        assert isinstance(error, Unavailable)
        assert (error.reason, error.maybe_ran) == ("closed", False)


async def test_a_closed_store_appends_no_more(server: Server) -> None:
    async with open_store(server.settings) as store:
        pass
    with pytest.raises(Unavailable) as caught:
        await store.append("order-1", [Noted(1)])
    assert caught.value.reason == "closed"


async def test_a_closed_store_leaves_no_timer_behind(server: Server) -> None:
    """It would keep the log in memory until the deadline of the last append."""
    async with open_store(server) as store:
        await store.append("order-1", [Noted(1)], timeout_seconds=1_000.0)
    del store
    gc.collect()
    assert not [lane for lane in gc.get_objects() if isinstance(lane, Lane)]
