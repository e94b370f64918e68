"""The scripts of groups against a small model, on real servers: every answer, and after every step all that is stored
and what the Redis group shows of it.

The model is told the time. What a script's clock said shows in its answer, or in the epoch that it began; it must lie
between two readings of the server's clock.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
import redis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from consumers.commit_call import commit, rewind
from consumers.errors import CommitRefused, Stale
from consumers.keys import group_keys
from consumers.lease_calls import Held, Renewed, acquire, create, release, renew
from consumers.order_calls import give_order, pause, take_outcomes, withdraw
from consumers.state import Commit, Committed, Effect, Order, Outgoing, Rewind, Row, RowState, Stored, Token
from eventstore.log import Log
from infrastructure.server_program import find_program
from tests.property.consumer_drafts import STREAMS, draft_rows, effects, moves, returned, tokens
from tests.property.consumer_model import TAG_DIGITS, GroupModel, NotHeld, PartitionModel, Refused
from tests.property.log_model import SentAppend, SentEvent
from tests.property.real_group import expected_state, stored_state
from tests.property.real_partition import RealPartition
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

T = TypeVar("T")
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
EXAMPLES = 1_500 if SOAK else 60
MEMBERS = ["ada", "bob"]
LEASE_MS = 10_000


class GroupMachine(RuleBasedStateMachine):
    """Drives a real group and the model side by side."""

    client: Any
    portal: BlockingPortal
    log: Log

    @initialize(events=st.lists(st.sampled_from(STREAMS), max_size=8), start=st.integers(0, 8))
    def open(self, events: list[str], start: int) -> None:
        self.real = RealPartition(self.client, 8_000_000)
        self.partition = PartitionModel(self.real.replid())
        self.keys = group_keys(self.log.keys, "g", 0)
        self.tokens: list[Token] = [Token("nobody", 1, 1)]
        self.sent: list[Commit] = []
        self.order_ids = 0
        self.replicated: tuple[PartitionModel, GroupModel] | None = None
        for stream in events:
            self._append(stream)
        start = min(start, self.partition.head)
        self.group = GroupModel(self.partition, start)
        assert self._run(create, self.keys, self._place(start)) is True
        assert self._run(create, self.keys, self._place(0)) is False
        self._compare()

    # ---- the log goes on ----

    @rule(stream=st.sampled_from(STREAMS), count=st.integers(1, 3))
    def append(self, stream: str, count: int) -> None:
        for _ in range(count):
            self._append(stream)

    @rule()
    def the_server_is_another_process(self) -> None:
        self.real.become_another_process()
        self.partition.process = self.real.replid()

    @rule(ahead_us=st.sampled_from([1, 3_600_000_000]))
    def a_server_whose_clock_ran_ahead_began_an_epoch(self, ahead_us: int) -> None:
        self.partition.number = max(self.partition.number, self.real.now() + ahead_us)
        self.real.set_head(number=self.partition.number)
        self.the_server_is_another_process()

    @rule()
    def a_replica_has_it(self) -> None:
        self.client.save()
        self.replicated = deepcopy((self.partition, self.group))

    @precondition(lambda self: self.replicated is not None)
    @rule()
    def a_failover_to_the_replica(self) -> None:
        """Log and group go back together; tokens, and commits under way, of the lost history are still known."""
        self.client.execute_command("DEBUG", "RELOAD", "NOSAVE")
        assert self.replicated is not None
        self.partition, self.group = deepcopy(self.replicated)
        self.the_server_is_another_process()
        self._compare()

    @rule()
    def a_promise_is_given(self) -> None:
        before = self.real.now()
        self.real.promise(0)
        self.partition.fix_epoch(self._moment(before))
        self._compare()

    @precondition(lambda self: self.partition.head > self.partition.archived)
    @rule(data=st.data())
    def the_log_is_archived(self, data: st.DataObject) -> None:
        border = data.draw(
            st.integers(self.partition.archived + 1, min(self.partition.archived + 2, self.partition.head)), "border"
        )
        self.real.archive(border, self.partition.index, self.partition.epoch_of(border))
        self.partition.archived = border
        self._compare()

    # ---- the lease ----

    @rule(member=st.sampled_from(MEMBERS), force=st.booleans())
    def acquire(self, member: str, force: bool) -> None:
        self._acquire(member, force=force)

    def _acquire(self, member: str, *, force: bool) -> None:
        before = self.real.now()
        reply = self._run(acquire, self.keys, member, LEASE_MS, force=force)
        assert before // 1000 <= reply.now_ms <= self.real.now() // 1000
        owner, until = self.group.owner, self.group.until
        token = self.group.acquire(member, LEASE_MS, self._moment(before), reply.now_ms, force=force)
        if token is None:
            assert reply == Held(owner, until, reply.now_ms)
        else:
            assert isinstance(reply, Stored)
            self._is_all_that_is_stored(reply)
            assert reply.token(member) == token
            self.tokens.append(token)
            self.sent.clear()
        self._compare()

    @rule(which=tokens)
    def renew(self, which: int | str) -> None:
        token = self._token(which)
        reply = self._outcome(renew, self.log.redis, self.keys, token, LEASE_MS, log=False)
        now_ms = reply.now_ms if isinstance(reply, Renewed) else 0
        try:
            assert reply == Renewed(now_ms, self.group.renew(token, LEASE_MS, now_ms))
        except NotHeld:
            assert reply == "stale"
        self._compare()

    @rule(which=tokens)
    def release(self, which: int | str) -> None:
        token = self._token(which)
        assert self._run(release, self.keys, token) is self.group.release(token)
        self._compare()

    @rule(left_ms=st.sampled_from([-1, 1_000_000]))
    def the_lease_is_over(self, left_ms: int) -> None:
        """Its time is, or a clock was set back: another member gets it."""
        self.group.until = self.real.now() // 1000 + left_ms
        self.client.hset(self.keys.control, "until", self.group.until)
        self._acquire("bob" if self.group.owner == "ada" else "ada", force=False)

    # ---- commits ----

    @rule(
        which=tokens,
        number=st.sampled_from([1, 1, 1, 1, 1, 1, 0, 2, -1]),
        move=moves,
        rows=draft_rows,
        out=st.lists(returned, max_size=2).map(tuple),
        brought=st.lists(effects, max_size=3).map(tuple),
        data=st.data(),
    )
    def commit(
        self,
        which: int | str,
        number: int,
        move: str,
        rows: dict[str, Any],
        out: tuple[Outgoing, ...],
        brought: tuple[Effect, ...],
        data: st.DataObject,
    ) -> None:
        token = self._token(which)
        offset = self._offset(move, data)
        made = {stream: self._row(stream, offset[1], *draft) for stream, draft in rows.items()}
        failing = [stream for stream, row in made.items() if row.state is not RowState.CLEAN]
        failures = {stream: f"why {number}".encode() for stream in failing if data.draw(st.booleans(), "noted")}
        known = [*self.group.orders, "of nobody"]
        taken = data.draw(st.dictionaries(st.sampled_from(known), st.booleans(), max_size=2), "taken")
        call = Commit(token, max(self.group.number + number, 0), offset, made, failures, taken, out, brought)
        self._commit(call)

    @rule(rows=draft_rows.filter(bool), move=st.sampled_from(["stay", "on"]), data=st.data())
    def commit_rows(self, rows: dict[str, Any], move: str, data: st.DataObject) -> None:
        token, offset = self._token("fresh"), self._offset(move, data)
        made = {stream: self._row(stream, offset[1], *draft) for stream, draft in rows.items()}
        self._commit(Commit(token, self.group.number + 1, offset, made))

    @precondition(lambda self: any(row.pending for row in self.group.table.values()))
    @rule(state=st.sampled_from([RowState.RETRYING, RowState.PARKED]), more=st.integers(0, 2))
    def commit_that_they_fail_again(self, state: RowState, more: int) -> None:
        token = self._token("fresh")
        failing = {stream: row for stream, row in self.group.table.items() if row.pending}
        rows = {s: replace(row, state=state, attempts=row.attempts + more) for s, row in failing.items()}
        self._commit(Commit(token, self.group.number + 1, self._place(self.group.offset), rows))

    @rule(carried_out=st.booleans())
    def commit_orders(self, carried_out: bool) -> None:
        """Those that have their outcome are among them: a holder that was slow to forget one."""
        token, taken = self._token("fresh"), dict.fromkeys(self.group.orders, carried_out)
        self._commit(Commit(token, self.group.number + 1, self._place(self.group.offset), taken=taken))

    @rule(brought=st.lists(effects, min_size=1, max_size=6).map(tuple))
    def commit_effects(self, brought: tuple[Effect, ...]) -> None:
        token = self._token("fresh")
        self._commit(Commit(token, self.group.number + 1, self._place(self.group.offset), effects=brought))

    @rule(move=st.sampled_from(["stay", "on", "on"]), data=st.data())
    def commit_what_is_mended(self, move: str, data: st.DataObject) -> None:
        """No stream fails any more: whatever may re-attach does."""
        token, offset = self._token("fresh"), self._offset(move, data)
        rows = {stream: Row(row.next, fin=row.fin) for stream, row in self.group.table.items()}
        self._commit(Commit(token, self.group.number + 1, offset, rows))

    @rule(which=tokens, move=moves, data=st.data())
    def commit_the_offset_alone(self, which: int | str, move: str, data: st.DataObject) -> None:
        token = self._token(which)
        self._commit(Commit(token, self.group.number + 1, self._offset(move, data)))

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def repeat_a_commit(self, data: st.DataObject) -> None:
        """Its answer was lost; or it is one that another has followed."""
        self._commit(data.draw(st.sampled_from(self.sent[-2:]), "sent"))

    # ---- operators and outsiders ----

    @rule(stream=st.sampled_from(STREAMS), kind=st.sampled_from(["retry", "discard"]), data=st.data())
    def give_an_order(self, stream: str, kind: Any, data: st.DataObject) -> None:
        repeated = data.draw(st.booleans(), "repeated")
        self.order_ids += not (repeated and self.order_ids)
        order = Order(f"o{self.order_ids}", kind, stream, data.draw(st.integers(1, 4), "version"))
        given = self._run(give_order, self.keys, order)
        current = self.partition.is_of_this_process and self.group.epoch == self.partition.number
        held = current and self.group.owner != "" and self.group.until >= given.now_ms
        assert given.held == (Held(self.group.owner, self.group.until, given.now_ms) if held else None)
        assert given.row == self.group.give(order)
        self._compare()

    @rule(withdrawn=st.booleans())
    def orders_are_done_with(self, withdrawn: bool) -> None:
        ids = [f"o{n}" for n in range(1, self.order_ids + 1)]
        assert self._run(take_outcomes, self.keys, ids) == self.group.take_outcomes(ids)
        if withdrawn:
            self._run(withdraw, self.keys, ids)
            self.group.orders.clear()
        self._compare()

    @rule(why=st.sampled_from(["", "ada: a wrong rule"]))
    def pause(self, why: str) -> None:
        self._run(pause, self.keys, why)
        self.group.pause(why)
        self._compare()

    @rule(which=tokens, move=moves, fin=st.integers(0, 12), mute=st.booleans(), rows=draft_rows, data=st.data())
    def rewind(
        self, which: int | str, move: str, fin: int, mute: bool, rows: dict[str, Any], data: st.DataObject
    ) -> None:
        token = self._token(which)
        offset = self._offset(move, data)
        made = {stream: self._row(stream, offset[1], *draft) for stream, draft in rows.items()}
        call = Rewind(token, offset, fin, mute, made, data.draw(st.sampled_from(["", "läger"]), "replay"))
        for _ in range(data.draw(st.integers(1, 2), "times")):
            outcome = self._outcome(rewind, self.keys, call)
            try:
                self.group.rewind(call)
            except NotHeld:
                assert outcome == "stale"
            else:
                assert outcome is None
            self._compare()

    @precondition(lambda self: self.group.offset > 0)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """As the command does it: by force, back to a place, the rows as they are."""
        self._acquire("operator", force=True)
        target = data.draw(st.integers(0, self.group.offset - 1), "target")
        call = Rewind(self.tokens[-1], self._place(target), self.group.fin)
        self._run(rewind, self.keys, call)
        self.group.rewind(call)
        self._compare()

    @rule()
    def an_outsider_reads_with_the_redis_group(self) -> None:
        if self.group.mirror is not None and self.partition.head > self.partition.archived:
            self.client.xreadgroup("g", "outsider", {self.keys.log: ">"}, noack=True)
            self.group.mirror.position, self.group.mirror.moved = self.partition.head, True

    @rule()
    def an_outsider_destroys_the_redis_group(self) -> None:
        self.client.xgroup_destroy(self.keys.log, "g")
        self.group.mirror = None

    # ---- helpers ----

    def _append(self, stream: str) -> None:
        before, event_id = self.real.now(), UUID(int=self.partition.head + 1)
        (verdict,) = self.real.call([SentAppend(stream, "any", False, 0, (SentEvent(event_id, b"{}"),))])
        assert verdict[0] == "ok"
        self.partition.append(stream, self._moment(before))
        assert verdict[1][1] == self.partition.head

    def _commit(self, call: Commit) -> None:
        before = self.real.now() // 1000
        outcome = self._outcome(commit, self.keys, call)
        now_ms = outcome.now_ms if isinstance(outcome, Committed) else 0
        assert not now_ms or before <= now_ms <= self.real.now() // 1000
        try:
            expected: Any = self.group.commit(call, now_ms)
        except NotHeld:
            expected = "stale"
        except Refused as error:
            expected = error.args
        else:
            self.sent.append(call)
            assert (outcome.largest or 0) >= self.partition.head.bit_length()
            outcome = _without_largest(outcome)
            assert sorted(outcome.orders, key=lambda o: o.id) == sorted(expected.orders, key=lambda o: o.id)
            outcome, expected = _without_orders(outcome), _without_orders(expected)
        assert outcome == expected
        self._compare()

    def _outcome(self, call: Callable[..., Awaitable[Any]], *args: Any, log: bool = True) -> Any:
        try:
            return self._run(call, *args) if log else self.portal.call(partial(call, *args))
        except Stale:
            return "stale"
        except CommitRefused as error:
            return error.what, error.index

    def _run(self, call: Callable[..., Awaitable[T]], *args: Any, **how: Any) -> T:
        return self.portal.call(partial(call, self.log, *args, **how))

    def _token(self, which: int | str) -> Token:
        if which == "fresh" and not self.group.is_held_by(self.tokens[-1]):
            self._acquire("ada", force=True)
        if which == "of another epoch":
            return replace(self.tokens[-1], epoch=self.tokens[-1].epoch + 1)
        back = 0 if which == "fresh" else int(which)
        return self.tokens[max(len(self.tokens) - 1 - back, 0)]

    def _moment(self, before: int) -> int:
        """What the script's clock said, if it shows: in the epoch that it began."""
        number = int(self.client.hget(self.keys.head, "number"))
        shown = number - 1 - int(self.partition.process[:TAG_DIGITS], 16)
        after = self.real.now()
        return shown if before <= shown <= after else after

    def _place(self, position: int) -> tuple[int, int]:
        return self.partition.epoch_of(position), position

    def _offset(self, move: str, data: st.DataObject) -> tuple[int, int]:
        offset, head = self.group.offset, self.partition.head
        match move:
            case "stay":
                return self._place(offset)
            case "on":
                return self._place(data.draw(st.integers(offset, head), "offset"))
            case "back":
                return self._place(data.draw(st.integers(0, offset), "offset"))
            case "beyond":
                return self.partition.number, head + 1
            case "other history":
                return self._place(head)[0] + 1, head
        return self._place(head)

    def _row(self, stream: str, offset: int, how: str, version: int, state: RowState, attempts: int, fin: str) -> Row:
        positions = self.partition.index.get(stream, [])
        fitting = sum(position <= offset for position in positions) + 1
        following = {"fits": fitting, "next": fitting + 1, "any": version + 1}[how]
        fins = {"group": max(self.group.fin, offset), "none": 0, "head": self.partition.head, "some": version}
        if state is RowState.CLEAN:
            return Row(following, fin=fins[fin])
        at = self.partition.position(stream, following)
        pending = self.partition.entry_id(at) if at else ""
        return Row(following, state, attempts, 1_000 * attempts, fins[fin], pending)

    def _is_all_that_is_stored(self, reply: Stored) -> None:
        group, log = self.group, self.partition
        assert (reply.offset, reply.fin, reply.mute, reply.paused, reply.replay) == (
            self._place(group.offset),
            group.fin,
            group.mute,
            group.paused,
            group.replay,
        )
        assert reply.rows == group.table
        assert {order.id: order for order in reply.orders} == {
            key: order for key, order in group.orders.items() if isinstance(order, Order)
        }
        assert (reply.head, reply.epochs.decode()) == (log.head, ",".join(f"{n}:{first}" for n, first in log.epochs))

    def _compare(self) -> None:
        with_lag = self.group.mirror is not None and not self.group.mirror.moved
        stored = stored_state(self.client, self.keys, with_lag=with_lag)
        assert stored == expected_state(self.group, self.partition)


def _without_largest(reply: Committed) -> Committed:
    return Committed(reply.gone, reply.orders, reply.fin, reply.paused, reply.now_ms, reply.head, None)


def _without_orders(reply: Committed) -> Committed:
    return Committed(reply.gone, (), reply.fin, reply.paused, reply.now_ms, reply.head, reply.largest)


@pytest.fixture(params=["redis-server", "embedded"], scope="module")
def server(request: pytest.FixtureRequest, portal: BlockingPortal) -> Iterator[Server]:
    binary = find_program() if request.param == "embedded" else request.param
    starting = redis_server(binary, ["--enable-debug-command", "local"])
    with portal.wrap_async_context_manager(starting) as server:
        yield server


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.mark.timeout(600 if not SOAK else 3600)  # finding the smallest failing case may take 300 s
def test_the_scripts_of_groups_do_what_the_model_does(server: Server, portal: BlockingPortal) -> None:
    with (
        redis.Redis(port=server.port, protocol=2) as client,
        portal.wrap_async_context_manager(open_store(server, prefix="es", partitions=1)) as store,
    ):
        machine = type("Machine", (GroupMachine,), {"client": client, "portal": portal, "log": store.log})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, print_blob=True)
        )
