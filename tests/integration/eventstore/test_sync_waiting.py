"""Code that is not async waits for events to come: with a time limit, interrupted, ended by another thread."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType

import pytest

from eventstore import (
    Cursor,
    Filter,
    InvalidEvent,
    InvalidRequest,
    OutcomeUnknown,
    RecordedEvent,
    SyncEventStore,
    Unavailable,
    Untyped,
)
from eventstore.loop_thread import LoopThread
from eventstore.sync_subscription import SyncSubscription
from tests.support.fixtures import served_fixture
from tests.support.logs import blocked_clients, numbers, stream_in
from tests.support.servers import Server, free_port
from tests.support.stores import Noted
from tests.support.sync_stores import open_sync_store, tasks_of
from tests.support.threads import Started, eventually, interrupt_when, nothing_left_behind, stopped

ROOT = Path(__file__).parents[3]
FOREVER = 20.0
ORDERS = pytest.mark.parametrize("order", ["partition", "total"])


server = served_fixture()


@pytest.fixture
def store(server: Server) -> Iterator[SyncEventStore]:
    with open_sync_store(server) as store:
        yield store


def take(subscription: SyncSubscription, n: int) -> list[int]:
    found: list[RecordedEvent] = []
    for _ in range(n):
        event = subscription.next(FOREVER)
        assert event is not None, f"{numbers(found)} came, and then nothing"
        found.append(event)
    return numbers(found)


def fill(store: SyncEventStore, stream: str, *numbers: int) -> None:
    store.append(stream, [Noted(n) for n in numbers])


@ORDERS
def test_history_goes_on_into_live(server: Server, store: SyncEventStore, order: str) -> None:
    for p in range(4):
        fill(store, stream_in(p, 4), *range(300 * p, 300 * p + 300))
    with store.subscribe(order=order) as subscription:  # type: ignore[arg-type]
        assert not subscription.caught_up
        assert sorted(take(subscription, 1200)) == list(range(1200))
        assert subscription.next(0.05) is None
        assert subscription.caught_up
        thread = Started(lambda: next(subscription))
        eventually(lambda: blocked_clients(server) == 1)
        fill(store, "order-1", 7)
        assert thread.ended().data == Noted(7)
        assert subscription.cursor == store.heads()


@ORDERS
def test_the_cursor_resumes_after_what_was_delivered_at_any_moment(store: SyncEventStore, order: str) -> None:
    for p in range(4):
        fill(store, stream_in(p, 4), *range(200 * p, 200 * p + 150))
    for n in (0, 1, 300, 511, 512, 513, 599, 600):
        with store.subscribe(order=order) as first:  # type: ignore[arg-type]
            before = take(first, n)
            between = first.cursor
            assert sum(position for _, position in between.places) == n
        assert first.cursor == between
        with store.subscribe(order=order, cursor=first.cursor) as second:  # type: ignore[arg-type]
            assert not set(before) & set(after := take(second, 600 - n))
            assert len(set(before) | set(after)) == 600


def test_what_the_filter_leaves_out_counts_as_delivered(store: SyncEventStore) -> None:
    fill(store, "bill-1", *range(500))
    with store.subscribe(where=Filter(categories=("order",))) as subscription:
        assert subscription.next(0) is None
        eventually(lambda: subscription.caught_up)
        assert subscription.cursor == store.heads() != Cursor.start(4)


def test_without_time_it_gives_what_is_there(store: SyncEventStore) -> None:
    fill(store, "order-1", 1, 2)
    with store.subscribe() as subscription:
        found: list[int] = []

        def asked() -> bool:
            event = subscription.next(0)
            found.extend(numbers([event] if event else []))
            return len(found) == 2

        eventually(asked)
        assert found == [1, 2]
        assert subscription.next(0) is None
        with pytest.raises(InvalidRequest):
            subscription.next(-1)


def test_another_thread_ends_the_wait(server: Server, store: SyncEventStore) -> None:
    fill(store, "order-1", 1)
    subscription = store.subscribe()
    thread = Started(lambda: numbers(list(subscription)))
    eventually(lambda: blocked_clients(server) == 1)
    subscription.close()
    assert thread.ended() == [1]
    eventually(lambda: blocked_clients(server) == 0)
    assert list(subscription) == []
    with pytest.raises(Unavailable) as caught:
        subscription.next(FOREVER)
    assert caught.value.reason == "closed"
    assert subscription.cursor == store.heads()
    assert not subscription.caught_up
    subscription.close()
    assert tasks_of(store) == 0


def test_closing_the_store_ends_the_wait(server: Server) -> None:
    with nothing_left_behind(server):
        with open_sync_store(server) as store:
            subscription = store.subscribe()
            thread = Started(partial(list, subscription))
            eventually(lambda: blocked_clients(server) == 1)
        assert thread.ended() == []
        assert subscription.cursor == Cursor.start(4)
        subscription.close()


def test_an_abandoned_subscription_ends(server: Server, store: SyncEventStore) -> None:
    fill(store, "order-1", *range(200))
    for event in store.subscribe():
        assert event.data.n == 0
        break
    subscription = store.subscribe(cursor=store.heads())
    assert subscription.next(0.01) is None
    eventually(lambda: blocked_clients(server) == 1)
    del subscription
    eventually(lambda: blocked_clients(server) == 0 and tasks_of(store) == 0)


def test_an_event_that_does_not_decode_is_neither_passed_over_nor_lost(server: Server, store: SyncEventStore) -> None:
    fill(store, "order-1", 1)
    with open_sync_store(server, types=(), prefix=store._store.log.settings.prefix) as stranger:
        stranger.append("order-1", [Untyped("Noted", {"n": "no number"})])
        with store.subscribe() as subscription:
            assert take(subscription, 1) == [1]
            for _ in range(2):
                with pytest.raises(InvalidEvent):
                    subscription.next(FOREVER)
            assert sum(position for _, position in subscription.cursor.places) == 1


def test_two_threads_do_not_share_a_subscription(server: Server, store: SyncEventStore) -> None:
    with store.subscribe() as subscription:
        thread = Started(lambda: list(subscription))
        eventually(lambda: blocked_clients(server) == 1)
        with pytest.raises(RuntimeError, match="one thread"):
            next(subscription)
    assert thread.ended() == []


# ---- interrupted ----


@pytest.mark.parametrize("seconds", [None, FOREVER])
def test_ctrl_c_ends_a_wait_for_events_and_loses_none(
    server: Server, store: SyncEventStore, seconds: float | None
) -> None:
    with store.subscribe() as subscription:
        interrupting = interrupt_when(lambda: blocked_clients(server) == 1)
        with pytest.raises(KeyboardInterrupt):
            subscription.next(seconds)
        interrupting.ended()
        fill(store, "order-1", 1, 2)
        assert take(subscription, 2) == [1, 2]


def test_interrupted_again_and_again_each_event_comes_once(store: SyncEventStore) -> None:
    fill(store, "order-1", *range(500))
    found: list[int] = []
    interrupted = 0
    with store.subscribe() as subscription, interrupted_calls():
        while len(found) < 500:
            try:
                found += take(subscription, 1)
                store.version("order-1")
            except KeyboardInterrupt:
                interrupted += 1
    assert found == list(range(500))
    assert interrupted > 5


@contextmanager
def interrupted_calls() -> Iterator[None]:
    """Ctrl-C each 2 ms, for the calls into the loop only: between two bytecodes of a test it would lose what it got."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is LoopThread.call.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_ctrl_c_ends_an_append_and_leaves_the_store_usable(server: Server, store: SyncEventStore) -> None:
    fill(store, "order-1", 1)
    with stopped(server):
        interrupting = interrupt_when(lambda: tasks_of(store) > 0)
        with pytest.raises(KeyboardInterrupt):
            fill(store, "order-1", 2)
        interrupting.ended()
    fill(store, "order-2", 1)
    assert store.version("order-2") == 1
    eventually(lambda: tasks_of(store) == 0)


def test_ctrl_c_ends_the_opening() -> None:
    with nothing_left_behind(), socket.create_server(("127.0.0.1", port := free_port())) as silent, ExitStack() as came:

        def somebody_came() -> bool:
            return came.enter_context(silent.accept()[0]).recv(1) != b""

        interrupting = interrupt_when(somebody_came)
        with pytest.raises(KeyboardInterrupt), SyncEventStore.open(f"redis://127.0.0.1:{port}"):
            pass
        interrupting.ended()


def test_ctrl_c_ends_a_leaving_that_waits_for_appends(server: Server) -> None:
    def write(store: SyncEventStore) -> None:
        with pytest.raises(OutcomeUnknown):
            fill(store, "order-1", 2)

    with nothing_left_behind(server):
        opened = ExitStack()
        store = opened.enter_context(SyncEventStore.open(server.url, types=[Noted]))
        with stopped(server):
            thread = Started(lambda: write(store))
            eventually(lambda: tasks_of(store) > 0)
            interrupting = interrupt_when(lambda: store._store._writers._closed)  # type: ignore[union-attr]
            with pytest.raises(KeyboardInterrupt):
                opened.close()
            interrupting.ended()
            thread.ended()
        server.admin("FLUSHALL")


# ---- forked ----


def test_a_forked_child_is_told_and_ends_as_any_process(server: Server) -> None:
    command = [sys.executable, "-m", "tests.support.forking", server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith(("child", "parent"))]
    assert (told, done.returncode) == (["child: closed, after the fork", "parent: 0, 2"], 0), done
    server.admin("FLUSHALL")


@pytest.mark.parametrize("closing", ["atexit.register(opening.__exit__, None, None, None)", "pass"])
def test_a_process_that_never_leaves_the_block_ends_all_the_same(server: Server, closing: str) -> None:
    program = f"""
import atexit
from eventstore import SyncEventStore
opening = SyncEventStore.open({server.url!r})
{closing}
store = opening.__enter__()
events = store.subscribe()
events.next(timeout_seconds=0.05)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    server.admin("FLUSHALL")


def test_a_block_that_is_collected_ends_wherever_that_happens(server: Server) -> None:
    with nothing_left_behind(server):
        opening = [SyncEventStore.open(server.url)]
        store = opening[0].__enter__()

        async def drop() -> None:
            opening.clear()

        with suppress(Unavailable):  # the loop may end before it answers
            store._loop.call(drop)
        eventually(lambda: store._loop._is_over)
        server.admin("FLUSHALL")
