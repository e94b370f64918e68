"""Load, decide, append at the version loaded: alone, in competition, and when answers or events are lost."""

import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import anyio
import pytest

from eventstore import (
    DurabilityNotReached,
    EventStore,
    Fold,
    IdConflict,
    InvalidEvent,
    InvalidRequest,
    Metadata,
    NewEvent,
    Receipt,
    Untyped,
    WrongExpectedVersion,
)
from eventstore.verify import verify
from tests.support.accounts import (
    ACCOUNT,
    BANK,
    Account,
    Deposit,
    Deposited,
    Insufficient,
    Withdraw,
    Withdrawn,
    apply,
)
from tests.support.fixtures import debuggable_fixture, store_fixture
from tests.support.impatient import impatient_store
from tests.support.logs import Failover
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted, settings_of

pytestmark = pytest.mark.anyio

A, B = UUID(int=1), UUID(int=2)


server = debuggable_fixture(scope="module")
store = store_fixture(types=())


async def test_what_is_decided_is_appended_at_the_version_that_was_loaded(store: EventStore) -> None:
    async with store.writing("account-1", ACCOUNT) as writing:
        assert (writing.state, writing.version) == (Account(), 0)
        writing.append(Deposited(10))
        assert writing.state.balance == 10
        writing.append(Withdrawn(3), Withdrawn(1))
        assert (writing.state.balance, writing.version, writing.receipt) == (6, 0, None)
    assert writing.receipt is not None
    assert (writing.version, writing.receipt.version, writing.state) == (3, 3, Account(6, 3))
    assert [event.data async for event in store.read("account-1")] == [Deposited(10), Withdrawn(3), Withdrawn(1)]
    loaded = await store.load("account-1", ACCOUNT)
    assert (loaded.state, loaded.version) == (Account(6, 3), 3)
    assert (loaded.epoch, loaded.position) == (writing.receipt.epoch, writing.receipt.position)


async def test_the_fold_makes_its_events_known_to_the_store(server: Server, store: EventStore) -> None:
    """Another process, that was told no types."""
    await store.append("account-1", [Deposited(7)])
    async with EventStore.open(settings=settings_of(server, prefix=store.log.settings.prefix)) as other:
        assert (await other.load("account-1", BANK)).state == Account(7, 1)


async def test_nothing_is_appended_where_the_block_raises(store: EventStore) -> None:
    writing = store.writing("account-1", ACCOUNT)

    async def fail() -> None:
        async with writing:
            writing.append(Deposited(1))
            raise Insufficient

    with pytest.raises(Insufficient):
        await fail()
    assert writing.receipt is None
    assert await store.version("account-1") == 0


async def test_nothing_is_appended_where_the_block_is_cancelled(store: EventStore) -> None:
    with anyio.CancelScope() as scope:
        async with store.writing("account-1", ACCOUNT) as writing:
            writing.append(Deposited(1))
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await store.version("account-1") == 0


async def test_a_block_is_entered_once_at_a_time(store: EventStore) -> None:
    async with store.writing("account-1", ACCOUNT) as writing:
        writing.append(Deposited(1))
        with pytest.raises(InvalidRequest, match="the block has not ended"):
            await writing.__aenter__()
        assert writing.events == (Deposited(1),)
    assert [event.data async for event in store.read("account-1")] == [Deposited(1)]
    async with writing:
        assert writing.state == Account(1, 1)


async def test_a_refused_event_leaves_no_trace_in_a_state_that_changes_in_place(store: EventStore) -> None:
    def collect(state: list[int], event: Deposited) -> list[int]:
        state.append(event.amount)
        return state

    nothing: list[int] = []
    async with store.writing("account-1", Fold(nothing, collect)) as writing:
        with pytest.raises(InvalidEvent):
            writing.append(Deposited(1), "no event")
        assert (writing.state, writing.events) == ([], ())


async def test_nothing_is_written_where_nothing_was_collected(server: Server, store: EventStore) -> None:
    before = server.admin("DEBUG", "DIGEST")
    async with store.writing("account-1", ACCOUNT) as writing:
        pass
    decided = await store.decide("account-1", BANK, Deposit(0))
    assert (writing.receipt, writing.version, decided.events, decided.receipt, decided.version) == (
        None,
        0,
        (),
        None,
        0,
    )
    assert server.admin("DEBUG", "DIGEST") == before


async def test_who_loaded_before_another_wrote_is_refused(store: EventStore) -> None:
    writing = store.writing("account-1", ACCOUNT)

    async def be_late() -> None:
        async with writing:
            writing.append(Deposited(1))
            await store.append("account-1", [Deposited(5)])

    with pytest.raises(WrongExpectedVersion) as caught:
        await be_late()
    assert (caught.value.expected, caught.value.actual) == (0, 1)
    async with writing:  # the same again, on what is now
        assert (writing.state, writing.version, writing.events) == (Account(5, 1), 1, ())
        writing.append(Withdrawn(5))
    assert (await store.load("account-1", ACCOUNT)).state == Account(0, 2)


async def test_an_event_that_is_refused_is_refused_where_it_is_collected(store: EventStore) -> None:
    async with store.writing("account-1", ACCOUNT) as writing:
        with pytest.raises(InvalidEvent, match="Deposited"):
            writing.append(Deposited(1), Deposited("ten"))  # type: ignore[arg-type]
        assert (writing.state, writing.events) == (Account(), ())
        writing.append(Deposited(2))
    assert await store.version("account-1") == 1
    with pytest.raises(InvalidRequest, match="the block has ended"):
        writing.append(Deposited(1))


async def test_a_block_has_nothing_before_it_is_entered(store: EventStore) -> None:
    writing = store.writing("account-1", ACCOUNT)
    with pytest.raises(InvalidRequest, match="nothing is loaded yet"):
        assert writing.state
    with pytest.raises(InvalidRequest, match="system stream"):
        store.writing("$audit", ACCOUNT)
    with pytest.raises(InvalidRequest, match="fold is of type function"):
        store.writing("account-1", apply)  # type: ignore[arg-type]


async def test_metadata_and_causes_are_those_of_an_append(store: EventStore) -> None:
    cause = await store.append("order-1", [Noted(1)])
    async with store.writing("account-1", ACCOUNT, causes=[cause], metadata=Metadata(actor="ada")) as writing:
        writing.append(NewEvent(data=Deposited(1), id=A))
    await store.decide("account-1", BANK, Deposit(1), causes=[cause], metadata=Metadata(actor="bob"))
    first, second = [event async for event in store.read("account-1")]
    assert (first.id, first.metadata.actor, second.metadata.actor) == (A, "ada", "bob")
    assert {first.metadata.causation_id, second.metadata.causation_id} == {str(cause.ids[0])}


async def test_a_decider_decides_on_the_present_state(store: EventStore) -> None:
    first = await store.decide("account-1", BANK, Deposit(10))
    second = await store.decide("account-1", BANK, Withdraw(4))
    assert (first.events, first.state, first.version, first.attempts) == ((Deposited(10),), Account(10, 1), 1, 1)
    assert (second.events, second.state, second.version) == ((Withdrawn(4),), Account(6, 2), 2)
    assert second.receipt is not None
    assert second.receipt.version == 2
    with pytest.raises(Insufficient, match=r"^6 is all there is"):
        await store.decide("account-1", BANK, Withdraw(7))
    async with store.writing("account-1", BANK) as writing:
        assert writing.decide(BANK, Withdraw(6)) == (Withdrawn(6),)
        with pytest.raises(Insufficient):
            writing.decide(BANK, Withdraw(1))
    assert (await store.load("account-1", BANK)).state == Account(0, 3)


async def test_twenty_tasks_that_decide_on_one_stream_lose_no_update(server: Server, store: EventStore) -> None:
    """In three processes, for tasks of one process take turns: their versions are all different."""
    decided: list[tuple[int, int]] = []

    async def deposit(via: EventStore, amount: int) -> None:
        done = await via.decide("account-1", BANK, Deposit(amount), attempts=40)
        decided.append((done.version, done.state.balance))

    async with AsyncExitStack() as stack:
        stores = [store]
        for _ in range(2):
            settings = settings_of(server, prefix=store.log.settings.prefix)
            stores.append(await stack.enter_async_context(EventStore.open(settings=settings)))
        async with anyio.create_task_group() as tasks:
            for number in range(1, 21):
                tasks.start_soon(deposit, stores[number % 3], number)
    assert (await store.load("account-1", BANK)).state == Account(210, 20)
    assert sorted(version for version, _ in decided) == list(range(1, 21))
    balances = [balance for _, balance in sorted(decided)]
    assert (balances, balances[-1]) == (sorted(balances), 210)
    assert await verify(store.log) == []


async def test_of_many_that_want_the_last_of_it_one_gets_it(store: EventStore) -> None:
    await store.append("account-1", [Deposited(10)])
    refused: list[str] = []

    async def withdraw() -> None:
        try:
            await store.decide("account-1", BANK, Withdraw(10))
        except Insufficient as error:
            refused.append(str(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(withdraw)
    assert refused == ["0 is all there is"] * 19
    assert (await store.load("account-1", BANK)).state == Account(0, 2)


async def test_tasks_of_one_process_do_not_decide_in_vain(server: Server, store: EventStore) -> None:
    attempts: list[int] = []

    async def deposit() -> None:
        attempts.append((await store.decide("account-1", BANK, Deposit(1))).attempts)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(deposit)
    assert attempts == [1] * 50


class Overtaken(EventStore):
    """A store whose decisions somebody else overtakes: between load and append another deposit is recorded."""

    def __init__(self, store: EventStore, times: int) -> None:
        super().__init__(store.log, store._writers, store.settings)
        self.left = times

    async def append(self, stream: str, events: Sequence[Any], **options: Any) -> Receipt:
        if self.left:
            self.left -= 1
            await super().append(stream, [Deposited(100)])
        return await super().append(stream, events, **options)


async def test_who_is_overtaken_decides_again_on_what_is_then(store: EventStore) -> None:
    decided = await Overtaken(store, 3).decide("account-1", BANK, Deposit(1), attempts=4)
    assert (decided.attempts, decided.version, decided.state) == (4, 4, Account(301, 4))
    assert [event.data.amount async for event in store.read("account-1")] == [100, 100, 100, 1]


async def test_who_is_overtaken_each_time_is_told_in_the_end(store: EventStore) -> None:
    with pytest.raises(WrongExpectedVersion) as caught:
        await Overtaken(store, 4).decide("account-1", BANK, Deposit(1), attempts=4)
    assert (caught.value.facts["attempts"], caught.value.actual) == (4, 4)
    assert (await store.load("account-1", BANK)).state == Account(400, 4)
    with pytest.raises(InvalidRequest, match="attempts is 0"):
        await store.decide("account-1", BANK, Deposit(1), attempts=0)


async def test_a_decision_on_what_a_failover_lost_is_made_again(server: Server, store: EventStore) -> None:
    failover = Failover(server)
    await store.append("account-1", [Deposited(10)])
    failover.replicated()
    await store.append("account-1", [Deposited(90)])

    async def withdraw() -> None:
        async with store.writing("account-1", ACCOUNT) as writing:
            writing.append(Withdrawn(100))
            failover.happen()

    with pytest.raises(WrongExpectedVersion) as caught:
        await withdraw()
    assert (caught.value.expected, caught.value.actual) == (2, 1)
    with pytest.raises(Insufficient):
        await store.decide("account-1", BANK, Withdraw(100))


async def test_events_with_ids_of_the_callers_that_were_stored_before_are_not_counted_twice(store: EventStore) -> None:
    for _ in range(2):  # the answer to the first was lost
        async with store.writing("account-1", ACCOUNT) as writing:
            writing.append(NewEvent(data=Deposited(10), id=A), NewEvent(data=Withdrawn(4), id=B))
        assert (writing.version, writing.state) == (2, Account(6, 2))
    await store.append("account-1", [Deposited(1)])
    async with writing:
        writing.append(NewEvent(data=Deposited(10), id=A), NewEvent(data=Withdrawn(4), id=B))
    assert (writing.version, writing.state) == (2, Account(7, 3))
    with pytest.raises(IdConflict):
        async with writing:
            writing.append(NewEvent(data=Deposited(11), id=A))
    assert await store.version("account-1") == 3


async def test_a_receipt_is_there_also_where_the_durability_was_not_reached() -> None:
    async with redis_server() as primary, redis_server() as replica:
        replica.admin("REPLICAOF", "127.0.0.1", primary.port)
        await until(lambda: b"state=online" in primary.admin("INFO", "replication"))
        async with impatient_store(primary.port, 1.0, durability="replicas:1", types=()) as store:
            writing = store.writing("account-1", ACCOUNT)
            await writing.__aenter__()
            writing.append(Deposited(1))
            os.kill(replica.process.pid, signal.SIGSTOP)
            with pytest.raises(DurabilityNotReached) as caught:
                await writing.__aexit__(None, None, None)
            assert writing.receipt == caught.value.receipt
            assert writing.version == await store.version("account-1") == 1
        os.kill(replica.process.pid, signal.SIGCONT)


async def test_an_event_of_a_type_without_a_struct_comes_to_the_fold_as_untyped(store: EventStore) -> None:
    def count(state: dict[str, int], event: object) -> dict[str, int]:
        name = event.type if isinstance(event, Untyped) else type(event).__name__
        return {**state, name: state.get(name, 0) + 1}

    await store.append("account-1", [Untyped("Opened", {"by": "ada"}), Deposited(1)])
    nothing: dict[str, int] = {}
    async with store.writing("account-1", Fold(nothing, count)) as writing:
        writing.append(Untyped("Opened", {}))
        assert writing.state == {"Opened": 2, "Deposited": 1}


async def test_a_fold_that_forgets_to_return_the_state_is_told_so(store: EventStore) -> None:
    await store.append("account-1", [Deposited(1), Noted(2)])

    def forgetful(state: Account, event: object) -> Account:
        if isinstance(event, Deposited):
            return Account(event.amount)
        return None  # type: ignore[return-value]

    with pytest.raises(InvalidRequest, match="returned None for Noted, version 2 of account-1") as caught:
        await store.load("account-1", Fold(Account(), forgetful))
    assert "case _: return state" in str(caught.value.remedy)


async def test_what_a_fold_raises_tells_the_event(store: EventStore) -> None:
    await store.append("account-1", [Deposited(1), Deposited(0)])
    with pytest.raises(ZeroDivisionError) as caught:
        await store.load("account-1", Fold(0.0, lambda state, event: 1 / event.amount))
    assert "Deposited, version 2 of account-1" in caught.value.__notes__[0]


async def test_a_fold_that_changes_its_state_in_place_begins_anew_each_time(store: EventStore) -> None:
    def collect(state: list[int], event: Deposited) -> list[int]:
        state.append(event.amount)
        return state

    nothing: list[int] = []
    fold = Fold(nothing, collect)
    await store.append("account-1", [Deposited(1), Deposited(2)])
    for _ in range(2):
        assert (await store.load("account-1", fold)).state == [1, 2]
