"""The log from code that is not async: what it does for its caller."""

import contextvars
from collections.abc import Iterator

import anyio
import pytest

from eventstore import (
    Cursor,
    Decider,
    Expected,
    InvalidRequest,
    Receipt,
    StreamAppend,
    SyncEventStore,
    Unavailable,
    WrongExpectedVersion,
)
from tests.support.accounts import ACCOUNT, BANK, Account, Deposit, Deposited, Insufficient, Withdraw, Withdrawn
from tests.support.fixtures import served_fixture
from tests.support.logs import numbers, stream_in
from tests.support.servers import Server
from tests.support.stores import Noted
from tests.support.sync_stores import open_sync_store, tasks_of
from tests.support.threads import Started, eventually, nothing_left_behind, stopped

server = served_fixture()


@pytest.fixture
def store(server: Server) -> Iterator[SyncEventStore]:
    with open_sync_store(server, types=(Noted, Deposited, Withdrawn)) as store:
        yield store


def test_what_is_appended_is_read(store: SyncEventStore) -> None:
    receipt = store.append("order-1", [Noted(1), Noted(2)], expected=0)
    assert (receipt.version, store.version("order-1")) == (2, 2)
    assert numbers(list(store.read("order-1"))) == [1, 2]
    assert numbers(list(store.read("order-1", backwards=True, limit=1))) == [2]
    assert numbers(list(store.read_partition(receipt.partition))) == [1, 2]
    assert numbers(list(store.read_all(order="total", cursor=Cursor.start(4)))) == [1, 2]
    assert store.heads() == store.position_at(receipt.recorded_at) != Cursor.start(4)


def test_what_is_refused_is_raised(store: SyncEventStore) -> None:
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append("order-1", [Noted(1)], expected=Expected.EXISTS)
    assert caught.value.actual == 0
    with pytest.raises(InvalidRequest):
        next(store.read("order-1", limit=-1))
    with pytest.raises(InvalidRequest):
        store.subscribe(order="time")  # type: ignore[arg-type]


def test_several_streams_are_written_at_once(store: SyncEventStore) -> None:
    appends = [StreamAppend("order-{1}", [Noted(1)], 0), StreamAppend("bill-{1}", [Noted(2), Noted(3)], 0)]
    assert [r.version for r in store.append_many(appends, checks={"stock-{1}": 0})] == [1, 2]
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append_many(appends)
    assert len(caught.value.failed) == 2


def test_a_decision_is_made_on_a_loaded_state(store: SyncEventStore) -> None:
    with store.writing("account-1", ACCOUNT) as writing:
        writing.append(Deposited(5), Deposited(3))
        assert (writing.version, writing.state.balance, len(writing.events)) == (0, 8, 2)
        assert writing.decide(BANK, Withdraw(2)) == (Withdrawn(2),)
    assert (writing.stream, writing.version, writing.receipt and writing.receipt.version) == ("account-1", 3, 3)
    assert store.decide("account-1", BANK, Deposit(4)).state == Account(10, 4)
    assert store.load("account-1", ACCOUNT).state == Account(10, 4)
    assert store.snapshot("account-1", ACCOUNT) == 4


def test_what_a_block_or_a_decider_raises_comes_out_and_nothing_is_written(store: SyncEventStore) -> None:
    with pytest.raises(Insufficient), store.writing("account-1", ACCOUNT) as writing:
        writing.decide(BANK, Withdraw(1))
    with pytest.raises(Insufficient):
        store.decide("account-1", BANK, Withdraw(1))
    assert store.version("account-1") == 0


def test_a_decider_that_exits_does_not_end_the_store(store: SyncEventStore) -> None:
    def leave(command: Deposit, state: Account) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        store.decide("account-1", Decider(Account(), leave, lambda state, event: state), Deposit(1))
    assert store.version("account-1") == 0


def test_a_decider_that_calls_its_store_is_told_why_it_may_not(store: SyncEventStore) -> None:
    def look(command: Deposit, state: Account) -> Deposited:
        return Deposited(store.version("account-2"))

    with pytest.raises(InvalidRequest, match="event loop runs"):
        store.decide("account-1", Decider(Account(), look, lambda state, event: state), Deposit(1))


def test_a_call_has_the_context_of_its_caller(store: SyncEventStore) -> None:
    tenant = contextvars.ContextVar("tenant", default=0)
    tenant.set(7)
    decider: Decider[Deposit, Account] = Decider(
        Account(), lambda command, state: Deposited(tenant.get()), lambda state, event: state
    )
    assert store.decide("account-1", decider, Deposit(1)).events == (Deposited(7),)


# ---- threads ----


def test_appends_of_many_threads_are_joined(server: Server, store: SyncEventStore) -> None:
    store.append("order-0", [Noted(0)])
    calls = server.calls_of("evalsha")

    def write(i: int) -> list[int]:
        return [store.append(f"order-{i}", [Noted(n)], expected=n).version for n in range(10)]

    with stopped(server):  # so that they gather
        threads = [Started(lambda i=i: write(i)) for i in range(1, 41)]  # type: ignore[misc]
        eventually(lambda: tasks_of(store) >= 40)
    for thread in threads:
        assert thread.ended() == list(range(1, 11))
    assert server.calls_of("evalsha") - calls < 200
    assert sum(1 for _ in store.read_all()) == 401


def test_leaving_waits_for_the_appends_of_other_threads(server: Server) -> None:
    with open_sync_store(server) as store:
        store.append("order-1", [Noted(0)])
        server.admin("CLIENT", "PAUSE", 500, "WRITE")
        thread = Started(lambda: store.append("order-1", [Noted(1)]))
        eventually(lambda: tasks_of(store) > 0)
    assert thread.ended().version == 2


def test_whoever_comes_too_late_is_told_so(server: Server) -> None:
    with open_sync_store(server) as store:
        store.append("order-1", [Noted(0), Noted(1)])
        reading = store.read("order-1")
        assert next(reading).version == 1
    for call in (lambda: store.version("order-1"), lambda: next(store.read("order-1")), store.subscribe):
        with pytest.raises(Unavailable) as caught:
            call()
        assert caught.value.reason == "closed"
    reading.close()


@pytest.mark.anyio
async def test_within_a_loop_it_is_called_in_a_thread(server: Server, store: SyncEventStore) -> None:
    await anyio.to_thread.run_sync(store.append, "order-1", [Noted(1)])
    with pytest.raises(InvalidRequest, match="event loop runs"):
        store.version("order-1")


# ---- reading ----


def test_a_read_fetches_what_is_used(server: Server, store: SyncEventStore) -> None:
    for _ in range(20):
        store.append(stream_in(0, 4), [Noted(i) for i in range(500)])
    calls = server.calls_of("evalsha") + server.calls_of("eval")
    reading = store.read_partition(0)
    assert next(reading).position == 1
    assert server.calls_of("evalsha") + server.calls_of("eval") - calls <= 3  # a page and the one behind it, of ten
    assert sum(1 for _ in reading) == 9_999
    with pytest.raises(StopIteration):
        next(reading)


def test_an_abandoned_read_lets_go_of_what_it_has(server: Server, store: SyncEventStore) -> None:
    for _ in range(8):
        store.append(stream_in(0, 4), [Noted(i) for i in range(500)])
    for event in store.read_all(order="total"):
        assert event.position == 1
        break
    kept = store.read_partition(0)
    next(kept)
    kept.close()
    assert list(kept) == []

    async def drop() -> None:  # where the collector may come by, too
        reading.pop()

    reading = [store.read_partition(0)]
    next(reading[0])
    store._loop.call(drop)
    eventually(lambda: tasks_of(store) == 0)


def test_two_threads_do_not_share_a_read(server: Server, store: SyncEventStore) -> None:
    store.append("order-1", [Noted(1)])
    reading = store.read("order-1")
    with stopped(server):
        first = Started(lambda: next(reading))
        eventually(lambda: tasks_of(store) > 0)
        with pytest.raises(RuntimeError, match="one thread"):
            next(reading)
    assert first.ended().version == 1


# ---- what is left behind ----


def test_nothing_is_left_behind(server: Server) -> None:
    with nothing_left_behind(server), open_sync_store(server) as store:
        store.append("order-1", [Noted(i) for i in range(300)])
        assert len(list(store.read_all())) == 300
        reading, subscription = store.read("order-1"), store.subscribe()
        next(reading)
        next(subscription)


def test_nothing_is_left_behind_when_the_block_raises(server: Server) -> None:
    for error in (ValueError("mine"), StopIteration("mine"), KeyboardInterrupt("mine")):
        with nothing_left_behind(server), pytest.raises(type(error), match="mine"), open_sync_store(server) as store:
            fail_after(store.append("order-1", [Noted(1)]), error)


def fail_after(receipt: Receipt, error: BaseException) -> None:
    assert receipt.version == 1
    raise error


def test_nothing_is_left_behind_when_it_cannot_be_opened(server: Server) -> None:
    with nothing_left_behind(server):
        with pytest.raises(Unavailable) as caught, SyncEventStore.open("redis://127.0.0.1:1"):
            pass
        assert caught.value.reason == "unreachable"
