"""Who has lost its partition changes nothing any more; and Redis follows the sink, wherever it was."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from threading import Event as ThreadEvent
from typing import Any

import anyio
import anyio.to_thread
import pytest
import sqlalchemy as sa

from consumers.claimed import claimed
from consumers.commit_call import commit
from consumers.creation import ensure_group
from consumers.errors import CommitRefused, Stale
from consumers.keys import GroupKeys
from consumers.start import parse_start
from consumers.state import Commit, Committed, Effect, Row, RowState, Stored, Token
from consumers.truth import TakeAnew
from eventstore import EventStore
from eventstore.log import Log
from projections.checkpoint import Part
from projections.errors import ReadModelUnavailable
from projections.generations import Generation
from projections.rows import ADD, EXECUTE
from projections.sinks.sql import SqlSink
from projections.truth import InSink
from tests.support.logs import fill
from tests.support.projected import ByHand, totals
from tests.support.running import control
from tests.support.servers import Server, tries
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 20)
        yield store


@pytest.fixture
def sink(database: str) -> Iterator[SqlSink]:
    made = SqlSink(database, (totals,))
    yield made
    made.close()


@pytest.fixture
async def generation(store: EventStore, sink: SqlSink) -> Generation:
    begun = sink.begin(Generation("counts", 1, tables=("totals",)))
    sink.prepare(begun)
    await ensure_group(store.log, begun.group, parse_start("earliest"))
    return begun


async def _claimed(store: EventStore, sink: SqlSink, generation: Generation, owner: str = "ann") -> ByHand:
    made = ByHand(store, sink, generation)
    await made.take(owner)
    await made.claim()
    return made


async def test_a_stale_owner_changes_nothing(store: EventStore, sink: SqlSink, generation: Generation) -> None:
    stale = await _claimed(store, sink, generation)
    await stale.commit(stale.call(5))
    other = ByHand(store, sink, generation)
    await other.take("bob", force=True)
    assert (await other.claim()).offset[1] == 5
    with pytest.raises(Stale):
        await stale.commit(stale.call(9))
    assert stale.count() == 1
    await other.commit(other.call(9))
    assert (other.count(), sink.checkpoints("counts", 1)[0].place[1]) == (2, 9)


async def test_whoever_has_only_taken_the_lease_has_not_fenced_yet(
    store: EventStore, sink: SqlSink, generation: Generation
) -> None:
    """The sink decides: its commit counts, that in Redis is refused, and the next claim sees it."""
    stale = await _claimed(store, sink, generation)
    other = ByHand(store, sink, generation)
    await other.take("bob", force=True)
    with pytest.raises(Stale):
        await stale.commit(stale.call(5))
    assert stale.count() == 1
    with pytest.raises(TakeAnew):  # Redis is behind, and made to follow
        await other.claim()
    assert (await control(store, generation.group, 0))["offset"].endswith("-5")
    await other.take("bob")
    assert (await other.claim()).offset[1] == 5
    await other.commit(other.call(9))
    assert other.count() == 2


async def test_a_claim_waits_for_a_transaction_that_is_open(
    store: EventStore, sink: SqlSink, generation: Generation, database: str
) -> None:
    stale = await _claimed(store, sink, generation)
    other = ByHand(store, SqlSink(database, (totals,)), generation)
    with _holding(sink, database) as held:
        call = stale.call(5, effects=(Effect(ADD, "totals", ((("name",), ("events",)), ("all", 1))), held.effect))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_commit_stale, stale, call)
            await anyio.to_thread.run_sync(held.began.wait)
            await other.take("bob", force=True)
            claimed: list[int] = []
            tasks.start_soon(_claim, other, claimed)
            await held.until_another_waits()
            assert claimed == []
            held.go_on.set()
    assert claimed == [5]
    assert (other.count(), sink.checkpoints("counts", 1)[0].place[1]) == (1, 5)
    other.sink.close()


async def test_redis_behind_is_brought_to_where_the_sink_is(
    store: EventStore, sink: SqlSink, generation: Generation
) -> None:
    """A crash between the two commits."""
    dead = await _claimed(store, sink, generation)
    step_only = dead.call(7, rows={"order-1": Row(8, RowState.PARKED, 1, 0, 0, "1-8")})
    await _apply_only(dead, step_only)
    assert not (await control(store, generation.group, 0))["offset"].endswith("-7")
    other = ByHand(store, sink, generation)
    await other.take("bob", force=True)
    with pytest.raises(TakeAnew):
        await other.claim()
    await other.take("bob")
    stored = await other.claim()
    assert stored.offset[1] == 7
    assert stored.rows["order-1"].next == 8
    assert other.count() == 1


async def test_redis_ahead_is_brought_back(store: EventStore, sink: SqlSink, generation: Generation) -> None:
    """The database was restored from a backup, or somebody has moved the group."""
    dead = await _claimed(store, sink, generation)
    await dead.commit(dead.call(3))
    await commit(store.log, dead.keys, dead.call(9, effects=(), rows={"order-7": Row(1)}))
    other = ByHand(store, sink, generation)
    await other.take("bob", force=True)
    with pytest.raises(TakeAnew):
        await other.claim()
    await other.take("bob")
    stored = await other.claim()
    assert (stored.offset[1], dict(stored.rows)) == (3, {})


async def test_a_higher_term_in_the_sink_asks_for_one_above(
    store: EventStore, sink: SqlSink, generation: Generation
) -> None:
    """Redis has lost its terms, as in a failover, or the group was made anew."""
    mine = ByHand(store, sink, generation)
    higher = (await mine.take("ann")).term + 10_000_000
    sink.claim(Part("counts", 1, 0), higher)
    with pytest.raises(TakeAnew) as raised:
        await mine.claim()
    assert raised.value.term == higher
    assert (await mine.take("ann", above=higher)).term > higher
    await mine.claim()
    await mine.commit(mine.call(5))
    assert mine.count() == 1


async def test_a_lease_without_its_truth_is_given_back(
    store: EventStore, sink: SqlSink, generation: Generation
) -> None:
    """Whoever comes next need not wait for its end: the sink is away, claimed by others, or does not answer."""
    keys = ByHand(store, sink, generation).keys
    for truth, error in ((_Failing(ReadModelUnavailable("away")), ReadModelUnavailable), (_Failing(TakeAnew()), None)):
        with nullcontext() if error is None else pytest.raises(error):
            assert await claimed(store.log, keys, "ann", 60, truth) is None
        assert (await control(store, generation.group, 0))["owner"] == ""
    with anyio.CancelScope() as scope:
        await claimed(store.log, keys, "ann", 60, _Failing(None, scope))
    assert scope.cancelled_caught
    assert (await control(store, generation.group, 0))["owner"] == ""
    found = await claimed(store.log, keys, "bob", 60, InSink(store, sink, generation))
    assert found is not None
    assert (await control(store, generation.group, 0))["owner"] == "bob"


class _Failing:
    """A truth that cannot be had."""

    def __init__(self, error: Exception | None, scope: anyio.CancelScope | None = None) -> None:
        self._error, self._scope = error, scope

    async def claim(self, log: Log, keys: GroupKeys, token: Token, stored: Stored) -> Stored:
        if self._error is not None:
            raise self._error
        assert self._scope is not None
        self._scope.cancel()
        await anyio.lowlevel.checkpoint()
        return stored

    async def commit(self, log: Log, keys: GroupKeys, call: Commit) -> Committed:
        raise AssertionError("nothing was claimed")


async def test_the_same_commit_again_counts_once(store: EventStore, sink: SqlSink, generation: Generation) -> None:
    mine = await _claimed(store, sink, generation)
    call = mine.call(5)
    for _ in range(3):
        await mine.commit(call)
    assert mine.count() == 1
    await mine.commit(mine.call(6))
    assert mine.count() == 2


async def test_rows_of_streams_stay_alike_in_both(store: EventStore, sink: SqlSink, generation: Generation) -> None:
    mine = await _claimed(store, sink, generation)
    rows = {"order-1": Row(4, RowState.PARKED, 3, 0, 0, f"{mine.token.epoch}-4")}
    await mine.commit(mine.call(3, rows=rows, failures={"order-1": b"{}"}))
    assert sink.checkpoints("counts", 1)[0].detached == rows
    await mine.commit(mine.call(10))
    await mine.commit(mine.call(20, rows={"order-1": Row(21)}))  # the stream has caught up, and re-attaches
    await mine.commit(mine.call(20))  # with which its row leaves the sink
    assert sink.checkpoints("counts", 1)[0].detached == {}
    other = ByHand(store, sink, generation)
    await other.take("bob", force=True)
    assert dict((await other.claim()).rows) == {}


async def test_what_the_database_refuses_is_named_and_nothing_is_written(
    store: EventStore, sink: SqlSink, generation: Generation
) -> None:
    mine = await _claimed(store, sink, generation)
    bad = Effect(ADD, "totals", ((("name",), ("events",)), (None, 1)))
    good = Effect(ADD, "totals", ((("name",), ("events",)), ("all", 1)))
    with pytest.raises(CommitRefused) as raised:
        await mine.commit(mine.call(5, effects=(good, bad, good)))
    assert (raised.value.what, raised.value.index) == ("effect", 1)
    assert (mine.count(), sink.checkpoints("counts", 1)[0].place[1]) == (0, 0)


class _Held:
    """A statement that stands still in the middle of its transaction, until it may go on."""

    def __init__(self, sink: SqlSink, database: str) -> None:
        statement = sa.text("INSERT INTO totals__1 (name, events, sum) VALUES ('held', 0, 0)")
        self.effect = Effect(EXECUTE, "", (statement, {}))
        self.began, self.go_on = ThreadEvent(), ThreadEvent()
        self._sink, self._database = sink, database

    async def until_another_waits(self) -> None:
        """For the lock of the checkpoint. SQLite does not say who waits: there it is enough that all must."""
        async for _ in tries():
            if await anyio.to_thread.run_sync(self._is_locked):
                return

    def stand_still(self, connection: sa.Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "'held'" in statement:
            self.began.set()
            self.go_on.wait(20)

    def _is_locked(self) -> bool:
        if self._database.startswith("postgresql"):
            waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :query"
            found = self._sink.read(sa.text(waiting), {"query": "%eventstore_checkpoints%"})
            return bool(found[0]["n"])
        with closing(sqlite3.connect(self._database.removeprefix("sqlite:///"), timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False


@contextmanager
def _holding(sink: SqlSink, database: str) -> Iterator[_Held]:
    held = _Held(sink, database)
    sa.event.listen(sink._engine, "before_cursor_execute", held.stand_still)
    try:
        yield held
    finally:
        held.go_on.set()
        sa.event.remove(sink._engine, "before_cursor_execute", held.stand_still)


async def _commit_stale(stale: ByHand, call: Commit) -> None:
    with suppress(Stale):  # of Redis, which the other one has fenced by then
        await stale.commit(call)


async def _claim(other: ByHand, claimed: list[int]) -> None:
    with suppress(TakeAnew):
        await other.claim()
    claimed.append(other.sink.checkpoints("counts", 1)[0].place[1])


async def _apply_only(dead: ByHand, call: Commit) -> None:
    """The commit of the sink alone: the process dies before that of Redis, which here refuses it."""
    await dead.take("gone", force=True)
    with pytest.raises(Stale):
        await dead.commit(call)
