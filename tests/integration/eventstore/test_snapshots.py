"""Snapshots: used where they are surely the fold of what the log holds, and otherwise put aside."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec import Struct, msgpack

from eventstore import EventsMissing, EventStore, Fold, InvalidRequest, TooLarge, Untyped, WrongExpectedVersion
from eventstore.partitions import partition_of
from eventstore.snapshots import Loaded, _write
from tests.support.accounts import ACCOUNT, BANK, Account, Deposit, Deposited, Withdrawn, apply
from tests.support.fixtures import debuggable_fixture
from tests.support.logs import Failover
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

STREAM = "account-1"


server = debuggable_fixture(scope="module")


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    """With five deposits of 1, and a snapshot at the third."""
    async with open_store(server, types=()) as store:
        await store.append(STREAM, [Deposited(1)] * 3)
        assert await store.snapshot(STREAM, ACCOUNT) == 3
        await store.append(STREAM, [Deposited(1)] * 2)
        yield store


def key(store: EventStore, stream: str = STREAM) -> str:
    return store.log.keys.snapshot(partition_of(stream, store.log.partitions), stream)


def stored(server: Server, store: EventStore, stream: str = STREAM) -> dict[bytes, bytes]:
    flat = server.admin("HGETALL", key(store, stream))
    return dict(zip(flat[::2], flat[1::2], strict=True))


def facts(loaded: Loaded[Any]) -> tuple[int, int, int, str | None]:
    return loaded.version, loaded.snapshot_version, loaded.folded, loaded.put_aside


async def test_a_load_folds_what_came_after_the_snapshot(store: EventStore) -> None:
    loaded = await store.load(STREAM, ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(5, 5), 5, 3, 2, None)
    last = [event async for event in store.read(STREAM)][-1]
    assert (loaded.epoch, loaded.position) == (last.epoch, last.position)


async def test_the_state_comes_from_the_snapshot(server: Server, store: EventStore) -> None:
    server.admin("HSET", key(store), "state", msgpack.encode(Account(1000, 3)))
    assert (await store.load(STREAM, ACCOUNT)).state == Account(1002, 5)


async def test_what_is_left_after_a_snapshot_is_not_taken_for_the_version(store: EventStore) -> None:
    """C05."""
    assert facts(await store.load(STREAM, ACCOUNT))[:2] == (5, 3)
    with pytest.raises(WrongExpectedVersion) as caught:
        await store.append(STREAM, [Withdrawn(1)], expected=2)
    assert caught.value.actual == 5
    async with store.writing(STREAM, ACCOUNT) as writing:
        assert writing.version == 5
        writing.append(Withdrawn(1))
    assert writing.receipt is not None
    assert writing.receipt.version == 6
    assert [event.version async for event in store.read(STREAM, from_version=4)] == [4, 5, 6]


async def test_a_snapshot_does_for_events_that_are_archived(server: Server, store: EventStore) -> None:
    """What an archive will leave of the index: how many are gone, and the positions of the others."""
    index = store.log.keys.index(partition_of(STREAM, store.log.partitions), STREAM)
    server.admin("LPOP", index, 4)
    server.admin("LPUSH", index, 3)
    loaded = await store.load(STREAM, ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(5, 5), 5, 3, 2, None)
    with pytest.raises(WrongExpectedVersion, match="is at version 5"):
        await store.append(STREAM, [Withdrawn(1)], expected=2)
    with pytest.raises(EventsMissing, match="1 to 5"):
        await store.load(STREAM, Fold(Account(), apply, version=2))


# ---- another fold ----


class Renamed(Struct, frozen=True):
    total: int = 0
    events: int = 0


class Retyped(Struct, frozen=True):
    balance: float = 0
    events: int = 0


class Longer(Struct, frozen=True):
    balance: int = 0
    events: int = 0
    largest: int = 0


FEE = 1


def renamed(state: Renamed, event: Deposited) -> Renamed:
    return Renamed(state.total + event.amount, state.events + 1)


def retyped(state: Retyped, event: Deposited) -> Retyped:
    return Retyped(state.balance + event.amount, state.events + 1)


def longer(state: Longer, event: Deposited) -> Longer:
    return Longer(state.balance + event.amount, state.events + 1, max(state.largest, event.amount))


def charged(state: Account, event: Deposited) -> Account:
    return Account(state.balance + event.amount - FEE, state.events + 1)


@pytest.mark.parametrize(
    ("fold", "state"),
    [
        (Fold(Account(), apply, version=2), Account(5, 5)),
        (Fold(Renamed(), renamed), Renamed(5, 5)),
        (Fold(Retyped(), retyped), Retyped(5, 5)),
        (Fold(Longer(), longer), Longer(5, 5, 1)),
        (Fold(Account(), charged), Account(0, 5)),
        (Fold(Account(100), apply), Account(105, 5)),
    ],
    ids=["version-raised", "field-renamed", "type-changed", "field-added", "rule-changed", "begins-otherwise"],
)
async def test_the_snapshot_of_another_fold_is_put_aside_and_replaced(
    server: Server, store: EventStore, fold: Fold[Any], state: object
) -> None:
    """C07: no error, no stale field, whether or not somebody thought of raising the version."""
    before = stored(server, store)
    loaded = await store.load(STREAM, fold)
    assert (loaded.state, *facts(loaded)) == (state, 5, 0, 5, "fold")
    assert stored(server, store) == before
    assert await store.snapshot(STREAM, fold) == 5
    assert facts(await store.load(STREAM, fold)) == (5, 5, 0, None)
    # and the old fold, which somewhere still runs, is as careful
    assert (await store.load(STREAM, ACCOUNT)).state == Account(5, 5)


async def test_an_older_snapshot_of_another_fold_replaces_a_newer_one(server: Server, store: EventStore) -> None:
    await store.snapshot(STREAM, ACCOUNT)
    server.admin("HSET", key(store), "fold", "another")
    assert await store.snapshot(STREAM, ACCOUNT) == 5
    assert stored(server, store)[b"fold"] == ACCOUNT.identity.encode()


# ---- not the fold of what the log holds ----


async def test_a_snapshot_that_is_ahead_of_the_log_is_put_aside(server: Server, store: EventStore) -> None:
    """A failover took the events and, who knows how, not the snapshot."""
    failover = Failover(server)
    failover.replicated()
    await store.append(STREAM, [Deposited(10)])
    await store.snapshot(STREAM, ACCOUNT)
    ahead = server.admin("DUMP", key(store))
    failover.happen()
    server.admin("RESTORE", key(store), 0, ahead, "REPLACE")
    loaded = await store.load(STREAM, ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(5, 5), 5, 0, 5, "ahead")
    # other events at its version do not make it right
    await store.append(STREAM, [Deposited(20), Deposited(30)])
    loaded = await store.load(STREAM, ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(55, 7), 7, 0, 7, "ahead")
    assert await store.snapshot(STREAM, ACCOUNT) == 7
    assert facts(await store.load(STREAM, ACCOUNT)) == (7, 7, 0, None)


async def test_a_snapshot_goes_back_with_the_log(server: Server, store: EventStore) -> None:
    failover = Failover(server)
    failover.replicated()
    await store.append(STREAM, [Deposited(10)])
    await store.snapshot(STREAM, ACCOUNT)
    failover.happen()
    assert (await store.load(STREAM, ACCOUNT)).state == Account(5, 5)


@pytest.mark.parametrize("field", ["epoch", "position"])
async def test_a_snapshot_of_another_entry_is_put_aside(server: Server, store: EventStore, field: str) -> None:
    place = stored(server, store)[field.encode()]
    server.admin("HSET", key(store), field, int(place) + 1)
    assert facts(await store.load(STREAM, ACCOUNT)) == (5, 0, 5, "ahead")


@pytest.mark.parametrize(
    "damage",
    [
        lambda server, key: server.admin("HSET", key, "state", b"\xff garbage"),
        lambda server, key: server.admin("HSET", key, "state", msgpack.encode({"balance": "much"})),
        lambda server, key: server.admin("HDEL", key, "state"),
        lambda server, key: server.admin("HDEL", key, "version"),
        lambda server, key: server.admin("HSET", key, "version", "three"),
        lambda server, key: server.admin("HDEL", key, "fold"),
        lambda server, key: (server.admin("DEL", key), server.admin("RPUSH", key, "x")),
    ],
    ids=["undecodable", "of-other-types", "no-state", "no-version", "strange-version", "no-fold", "another-key-type"],
)
async def test_a_damaged_snapshot_is_put_aside_and_replaced(
    server: Server, store: EventStore, damage: Callable[[Server, str], object]
) -> None:
    damage(server, key(store))
    loaded = await store.load(STREAM, ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(5, 5), 5, 0, 5, "damaged")
    assert await store.snapshot(STREAM, ACCOUNT) == 5
    assert facts(await store.load(STREAM, ACCOUNT)) == (5, 5, 0, None)


async def test_a_damaged_snapshot_of_the_newest_version_is_replaced(server: Server, store: EventStore) -> None:
    await store.snapshot(STREAM, ACCOUNT)
    server.admin("HSET", key(store), "state", b"\xff")
    assert facts(await store.load(STREAM, Fold(Account(), apply, snapshot_every=1_000))) == (5, 0, 5, "damaged")
    assert facts(await store.load(STREAM, ACCOUNT)) == (5, 5, 0, None)


async def test_an_older_state_does_not_replace_a_newer_one_of_the_same_fold(server: Server, store: EventStore) -> None:
    """Two processes, of which the slower one writes last."""
    old = stored(server, store)
    await store.snapshot(STREAM, ACCOUNT)
    newest = stored(server, store)
    assert await _write_again(store, old) == b"newer"
    assert stored(server, store) == newest
    server.admin("HSET", key(store), "position", 10**6)  # newer by its word only
    assert await _write_again(store, old) == b"written"
    assert stored(server, store) == old


@pytest.mark.parametrize(
    "lost", [{b"version": b"6", b"position": b"6"}, {b"epoch": b"7"}, {b"position": b"4"}], ids=str
)
async def test_a_state_of_what_was_lost_since_is_not_written(
    server: Server, store: EventStore, lost: dict[bytes, bytes]
) -> None:
    """A failover between load and write."""
    old = stored(server, store)
    assert await _write_again(store, {**old, **lost}) == b"lost"
    assert stored(server, store) == old


async def _write_again(store: EventStore, old: dict[bytes, bytes]) -> bytes:
    version, epoch, position = (int(old[name]) for name in (b"version", b"epoch", b"position"))
    loaded = Loaded(msgpack.decode(old[b"state"], type=Account), version, epoch, position)
    return await _write(store.log, STREAM, ACCOUNT, loaded, old[b"state"])


# ---- when ----


async def test_no_snapshot_is_made_unless_asked_for(server: Server, store: EventStore) -> None:
    await store.append("account-2", [Deposited(1)] * 600)
    await store.load("account-2", ACCOUNT)
    assert stored(server, store, "account-2") == {}


async def test_a_load_that_folded_enough_leaves_a_snapshot(server: Server, store: EventStore) -> None:
    fold = Fold(Account(), apply, snapshot_every=3)
    seen = []
    for _ in range(7):
        async with store.writing("account-2", fold) as writing:
            writing.append(Deposited(1))
        seen.append(int(stored(server, store, "account-2").get(b"version", 0)))
    assert seen == [0, 0, 0, 3, 3, 3, 6]
    assert facts(await store.load("account-2", fold)) == (7, 6, 1, None)


async def test_a_snapshot_over_many_pages_is_the_fold_of_all_events(store: EventStore) -> None:
    amounts = list(range(1, 1_301))
    for first in range(0, 1_300, 650):
        await store.append("account-2", [Deposited(n) for n in amounts[first : first + 650]])
        assert (await store.load("account-2", ACCOUNT)).folded == first + 650
    assert await store.snapshot("account-2", ACCOUNT) == 1_300
    await store.append("account-2", [Deposited(1)] * 700)
    loaded = await store.load("account-2", ACCOUNT)
    assert (loaded.state, *facts(loaded)) == (Account(sum(amounts) + 700, 2_000), 2_000, 1_300, 700, None)


async def test_a_stream_without_events_has_no_snapshot(server: Server, store: EventStore) -> None:
    assert await store.snapshot("account-2", ACCOUNT) == 0
    assert stored(server, store, "account-2") == {}
    assert (await store.load("account-2", Fold(Account(), apply, snapshot_every=1))).state == Account()


async def test_a_load_is_one_call_and_so_is_a_snapshot(server: Server, store: EventStore) -> None:
    before = server.calls_of("evalsha")
    await store.load(STREAM, ACCOUNT)
    assert server.calls_of("evalsha") == before + 1
    await store.decide(STREAM, BANK, Deposit(1))
    assert server.calls_of("evalsha") == before + 3


async def test_a_snapshot_that_cannot_be_written_fails_no_load(server: Server, store: EventStore) -> None:
    fold = Fold(Account(), apply, snapshot_every=1)
    server.admin("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        loaded = await store.load(STREAM, fold)
    finally:
        server.admin("CONFIG", "SET", "min-replicas-to-write", 0)
    assert (loaded.state, *facts(loaded)) == (Account(5, 5), 5, 3, 2, None)
    assert stored(server, store)[b"version"] == b"3"


# ---- which states ----


async def test_a_state_over_the_limit_is_refused_by_name_and_does_not_harm_a_load(server: Server) -> None:
    def collect(state: list[str], event: Noted) -> list[str]:
        return [*state, event.text]

    nothing: list[str] = []
    async with open_store(server, max_event_bytes=500) as store:
        await store.append("note-1", [Noted(n, "x" * 200) for n in range(3)])
        with pytest.raises(TooLarge, match="a snapshot's size in bytes is 607, the limit is 500") as caught:
            await store.snapshot("note-1", Fold(nothing, collect))
        assert caught.value.setting == "max_event_bytes"
        assert len((await store.load("note-1", Fold(nothing, collect, snapshot_every=1))).state) == 3
        assert stored(server, store, "note-1") == {}


class Loose(Struct):
    seen: Any = None


async def test_a_state_that_would_come_back_as_another_is_not_kept(server: Server, store: EventStore) -> None:
    def collect(state: Loose, event: Deposited) -> Loose:
        return Loose({event.amount} | (state.seen or set()))

    with pytest.raises(InvalidRequest, match=r"it comes back as another: Loose\(seen=\[1\]\)"):
        await store.snapshot("account-1", Fold(Loose(), collect))
    assert (await store.load("account-1", Fold(Loose(), collect, snapshot_every=1))).state == Loose({1})


class Seen(Struct, frozen=True):
    at: datetime | None = None
    days: int = 0


async def test_a_rule_finds_the_same_day_after_a_snapshot_as_without_one(store: EventStore) -> None:
    def count(state: Seen, event: Seen) -> Seen:
        is_another = state.at is None or event.at is None or event.at.date() != state.at.date()
        return Seen(event.at, state.days + is_another)

    night = datetime(2026, 3, 2, 0, 30, tzinfo=timezone(timedelta(hours=2)))  # in UTC it is the day before
    await store.append("visitor-1", [Seen(night)])
    assert await store.snapshot("visitor-1", Fold(Seen(), count)) == 1
    await store.append("visitor-1", [Seen(night.replace(hour=9))])
    loaded = await store.load("visitor-1", Fold(Seen(), count))
    assert (loaded.snapshot_version, loaded.state.days) == (1, 1)


async def test_a_state_of_events_that_this_process_does_not_know_is_not_kept(server: Server, store: EventStore) -> None:
    await store.append(STREAM, [Untyped("Closed", {})])
    with pytest.raises(InvalidRequest, match="Closed is of no type that this store knows"):
        await store.snapshot(STREAM, ACCOUNT)
    loaded = await store.load(STREAM, Fold(Account(), apply, snapshot_every=1))
    assert (loaded.state, loaded.untyped) == (Account(5, 5), "Closed")
    assert stored(server, store)[b"version"] == b"3"


async def test_a_state_that_begins_as_none_is_kept_if_its_type_is_told(store: EventStore) -> None:
    def opened(state: Account | None, event: Deposited) -> Account | None:
        return Account(event.amount, 1) if state is None else None

    fold = Fold[Account | None](None, opened)
    assert await store.snapshot(STREAM, fold) == 5
    await store.append(STREAM, [Deposited(9)])
    loaded = await store.load(STREAM, fold)
    assert (loaded.state, *facts(loaded)) == (None, 6, 5, 1, None)
    with pytest.raises(InvalidRequest, match="nothing tells the type of later states"):
        await store.snapshot(STREAM, Fold(None, lambda state, event: None))


async def test_a_log_that_is_damaged_is_told_also_after_a_snapshot(server: Server, store: EventStore) -> None:
    last = [event async for event in store.read(STREAM)][-1]
    server.admin("XDEL", store.log.keys.events(last.partition), f"{last.epoch}-{last.position}")
    with pytest.raises(EventsMissing, match="stream account-1: 5 to 5"):
        await store.load(STREAM, ACCOUNT)
