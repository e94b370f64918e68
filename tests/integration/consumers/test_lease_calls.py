"""The lease of a group in a partition: who gets it, how long it holds, and what ends it."""

import threading
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import pytest
from msgspec.structs import replace

from consumers.errors import GroupNotFound, InvalidRequest, Stale, Unavailable
from consumers.keys import group_keys
from consumers.lease_calls import Held, Renewed, acquire, create, release, renew, renew_all
from consumers.state import Row, Stored, Token
from eventstore import EventStore
from eventstore.errors import LogDamaged
from infrastructure import patience
from infrastructure.connect import connect
from tests.support.holding import LEASE_MS, Holding, everything, fields_of, held, redis_group
from tests.support.logs import fill
from tests.support.servers import Server, redis_cluster, redis_server, tries
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--enable-debug-command", "yes"]) as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        yield store


def at(server: Server, holding: Holding, **fields: str | int) -> None:
    for name, value in fields.items():
        server.admin("HSET", holding.keys.control, name, value)


async def now_ms(server: Server) -> int:
    seconds, microseconds = server.admin("TIME")
    return int(seconds) * 1_000 + int(microseconds) // 1_000


# ---- making a group ----


async def test_a_group_begins_behind_the_entry_that_it_is_told(server: Server, store: EventStore) -> None:
    receipt = await fill(store, "order-1", 5)
    keys = group_keys(store.log.keys, "g", 0)
    assert await create(store.log, keys, (receipt.epoch, 3)) is True
    assert redis_group(server, keys) == {"offset": 3, "lag": 2, "pending": {}}
    stored = await acquire(store.log, keys, "ada", LEASE_MS)
    assert isinstance(stored, Stored)
    assert (stored.offset, stored.fin, stored.rows, stored.orders) == ((receipt.epoch, 3), 3, {}, ())
    assert (stored.head, stored.mute, stored.paused) == (5, False, "")


async def test_the_keys_of_a_group_are_never_empty(server: Server, store: EventStore) -> None:
    holding = await held(store)
    assert all(server.admin("EXISTS", key) for key in holding.keys.all)


async def test_making_a_group_that_is_there_changes_nothing(server: Server, store: EventStore) -> None:
    holding = await held(store)
    before = everything(server)
    assert await create(store.log, holding.keys, (0, 0)) is False
    assert everything(server) == before


@pytest.mark.parametrize("start", [(1, 1), (0, 1)], ids=["of another history", "without an epoch"])
async def test_a_group_does_not_begin_where_the_log_has_no_entry(
    server: Server, store: EventStore, start: tuple[int, int]
) -> None:
    receipt = await fill(store, "order-1", 2)
    keys = group_keys(store.log.keys, "g", 0)
    before = everything(server)
    for place in (start, (receipt.epoch, 3)):
        with pytest.raises(InvalidRequest, match="has no entry"):
            await create(store.log, keys, place)
    assert everything(server) == before


async def test_a_group_that_is_not_there_or_only_in_part_is_named(server: Server, store: EventStore) -> None:
    with pytest.raises(GroupNotFound, match="there is no group g"):
        await acquire(store.log, group_keys(store.log.keys, "g", 0), "ada", LEASE_MS)
    holding = await held(store)
    server.admin("DEL", holding.keys.detached)
    with pytest.raises(GroupNotFound, match=r"damaged: .*:g:g:detached is gone"):
        await acquire(store.log, holding.keys, "bob", LEASE_MS, force=True)


async def test_without_a_log_no_lease_is_given(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        holding = await held(store)
        server.admin("DEL", holding.keys.head)
        with pytest.raises(LogDamaged, match="is gone"):
            await acquire(store.log, holding.keys, "bob", LEASE_MS)
        with pytest.raises(LogDamaged, match="is gone"):
            await holding.commit(0)


# ---- taking it ----


async def test_a_lease_is_held_until_its_time_is_over(server: Server, store: EventStore) -> None:
    holding = await held(store, "ada")
    answer = await acquire(store.log, holding.keys, "bob", LEASE_MS)
    assert isinstance(answer, Held)
    assert answer.owner == "ada"
    assert 0 <= answer.until_ms - LEASE_MS - holding.stored.now_ms <= 1_000
    at(server, holding, until=answer.now_ms - 1)
    taken = await acquire(store.log, holding.keys, "bob", LEASE_MS)
    assert isinstance(taken, Stored)


async def test_a_lease_that_ends_in_the_far_future_is_free_for_a_clock_was_set_back(
    server: Server, store: EventStore
) -> None:
    holding = await held(store, "ada")
    at(server, holding, until=await now_ms(server) + 2 * LEASE_MS - 5_000)
    assert isinstance(await acquire(store.log, holding.keys, "bob", LEASE_MS), Held)
    at(server, holding, until=await now_ms(server) + 2 * LEASE_MS + 5_000)
    assert isinstance(await acquire(store.log, holding.keys, "bob", LEASE_MS), Stored)


async def test_each_term_is_higher_also_when_the_clock_goes_back(server: Server, store: EventStore) -> None:
    first = await held(store, "ada")
    assert abs(first.token.term - await now_ms(server)) < 5_000
    ahead = first.token.term + 86_400_000
    at(server, first, term=ahead)
    second = await held(store, "ada")
    assert second.token.term == ahead + 1


async def test_a_new_lease_tells_what_is_stored(server: Server, store: EventStore) -> None:
    receipt = await fill(store, "order-1", 3)
    holding = await held(store, "ada")
    row = holding.retrying(2, 2)
    await holding.commit(3, {"order-1": row})
    stored = (await held(store, "bob", force=True)).stored
    assert (stored.offset, stored.fin, stored.rows) == ((receipt.epoch, 3), 3, {"order-1": row})
    assert (stored.head, stored.epochs) == (3, f"{receipt.epoch}:1".encode())
    assert stored.largest is not None
    assert 0 < stored.largest < 200


async def test_taken_by_force_it_is_lost_to_its_owner_who_is_woken(server: Server, store: EventStore) -> None:
    ada = await held(store, "ada")
    bob = await held(store, "bob", force=True)
    rung = server.admin("XRANGE", ada.keys.bell, f"({ada.stored.bell}", "+")
    assert [fields for _, fields in rung] == [[b"why", b"taken"]]
    assert bob.stored.bell == rung[0][0].decode()
    with pytest.raises(Stale, match="bob has it now") as lost:
        await renew(store.log.redis, ada.keys, ada.token, LEASE_MS)
    assert (lost.value.group, lost.value.partition) == ("g", 0)
    with pytest.raises(Stale):
        await ada.commit(0)
    assert await release(store.log, ada.keys, ada.token) is False
    assert await renew(store.log.redis, bob.keys, bob.token, LEASE_MS)


async def test_its_own_member_may_take_it_again_and_what_it_knew_before_is_stale(store: EventStore) -> None:
    first = await held(store, "ada")
    second = await held(store, "ada")
    assert second.token.term > first.token.term
    with pytest.raises(Stale):
        await first.commit(0)
    await second.commit(0)


# ---- keeping it, and giving it back ----


async def test_renewing_gives_it_its_full_time_again(server: Server, store: EventStore) -> None:
    holding = await held(store)
    at(server, holding, until=1)
    renewed = await renew(store.log.redis, holding.keys, holding.token, LEASE_MS)
    assert fields_of(server, holding.keys.control)["until"] == str(renewed.now_ms + LEASE_MS)
    assert isinstance(await acquire(store.log, holding.keys, "bob", LEASE_MS), Held)


async def test_given_back_it_is_free_at_once_and_nobody_is_woken(server: Server, store: EventStore) -> None:
    holding = await held(store, "ada")
    assert await release(store.log, holding.keys, holding.token) is True
    assert server.admin("XRANGE", holding.keys.bell, f"({holding.stored.bell}", "+") == []
    with pytest.raises(Stale, match="nobody has it"):
        await holding.commit(0)
    assert isinstance(await acquire(store.log, holding.keys, "bob", LEASE_MS), Stored)


async def test_many_are_renewed_at_once_and_each_gets_its_own_answer(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        holdings = [await held(store, "ada", group=f"g{i}") for i in range(20)]
        await held(store, "bob", force=True, group="g7")
        answers = await renew_all(store.log.redis, [(each.keys, each.token) for each in holdings], LEASE_MS)
        assert [isinstance(answer, Renewed) for answer in answers] == [i != 7 for i in range(20)]
        assert isinstance(answers[7], Stale)
        assert await renew_all(store.log.redis, [], LEASE_MS) == []


async def test_those_of_a_cluster_are_renewed_where_each_lies() -> None:
    async with redis_cluster() as nodes, open_store(replace(nodes[0].settings, cluster=True)) as store:
        leases = []
        for partition in range(store.log.partitions):
            keys = group_keys(store.log.keys, "g", partition)
            await create(store.log, keys, (0, 0))
            stored = await acquire(store.log, keys, "ada", LEASE_MS)
            assert isinstance(stored, Stored)
            leases.append((keys, stored.token("ada")))
        answers = await renew_all(store.log.redis, leases, LEASE_MS)
        assert [isinstance(answer, Renewed) for answer in answers] == [True] * 4
        nodes[1].close()
        answers = await renew_all(store.log.redis, leases, LEASE_MS)
        assert {type(answer) for answer in answers} == {Renewed, Unavailable}


async def test_another_thread_renews_over_a_connection_of_its_own(server: Server, store: EventStore) -> None:
    holding = await held(store)
    answers: list[Renewed] = []

    async def renewing() -> None:
        async with connect(server.settings) as redis:
            answers.append(await renew(redis, holding.keys, holding.token, LEASE_MS))

    thread = threading.Thread(target=anyio.run, args=(renewing,))
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    assert [answer.paused for answer in answers] == [""]


# ---- what ends it besides ----


async def test_another_server_process_ends_every_lease_whoever_meets_it_first(
    server: Server, store: EventStore
) -> None:
    await fill(store, "order-1", 1)
    ada = await held(store, "ada")
    server.admin("DEBUG", "CHANGE-REPL-ID")
    with pytest.raises(Stale, match="another server process"):
        await renew(store.log.redis, ada.keys, ada.token, LEASE_MS)
    with pytest.raises(Stale, match="another server process"):
        await ada.commit(1)
    assert await release(store.log, ada.keys, ada.token) is False
    bob = await held(store, "bob")
    assert bob.token.epoch > ada.token.epoch
    receipt = await store.append("order-1", [Noted(2)])
    assert receipt.epoch == bob.token.epoch, "fixed by who took the lease, noted by the first event"
    await bob.commit(2)


async def test_a_token_of_another_epoch_is_stale(store: EventStore) -> None:
    holding = await held(store)
    other = Token(holding.token.owner, holding.token.term, holding.token.epoch + 1)
    with pytest.raises(Stale):
        await renew(store.log.redis, holding.keys, other, LEASE_MS)


async def test_a_replica_gives_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.2)
    async with redis_server() as server, open_store(server.settings, partitions=1) as store:
        holding = await held(store, "ada")
        server.admin("REPLICAOF", "127.0.0.1", 1)
        for member in ("ada", "bob"):
            with pytest.raises(Unavailable) as refused:
                await acquire(store.log, holding.keys, member, LEASE_MS)
            assert (refused.value.reason, refused.value.maybe_ran) == ("read-only", False)


async def test_a_damaged_row_is_named_and_the_lease_is_not_used(server: Server, store: EventStore) -> None:
    holding = await held(store)
    server.admin("HSET", holding.keys.detached, "order-1", "12 what")
    with pytest.raises(LogDamaged, match="12 what"):
        await holding.commit(0, {"order-1": Row(1)})
    with pytest.raises(LogDamaged, match="12 what"):
        await held(store)


async def test_how_many_holders_in_a_row_have_died_is_known_to_the_next(store: EventStore) -> None:
    keys = group_keys(store.log.keys, "g", 0)
    await create(store.log, keys, (0, 0))

    async def lapsed(member: str) -> int:
        async for _ in tries():
            stored = await acquire(store.log, keys, member, 1)
            if isinstance(stored, Stored):
                last[0] = stored.token(member)
                return stored.lapsed
        raise AssertionError

    last: list[Token] = [Token("", 0, 0)]
    assert [await lapsed(member) for member in ("ada", "bob", "cyd", "dan")] == [0, 1, 2, 3]
    assert await lapsed("dan") == 3, "its own"
    assert await release(store.log, keys, last[0])
    assert [await lapsed(member) for member in ("ada", "bob")] == [0, 1]
