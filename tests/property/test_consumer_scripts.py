"""The scripts of groups against a small model, on real servers: every answer, and after every step all that is stored
and what the Redis group shows of it.

The model is told the time. What a script's clock said shows in its answer, or in the epoch that it began; it must lie
between two readings of the server's clock.
"""

import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import redis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from consumers.commit_call import rewind
from consumers.lease_calls import Held, Renewed, release, renew
from consumers.order_calls import give_order, pause, take_outcomes, withdraw
from consumers.state import Commit, Effect, Order, Outgoing, Rewind, Row, RowState
from infrastructure.server_program import find_program
from tests.property.consumer_drafts import STREAMS, draft_rows, effects, moves, returned, tokens
from tests.property.consumer_machine import LEASE_MS, SideBySide
from tests.property.consumer_model import NotHeld
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
EXAMPLES = 1_500 if SOAK else 60
MEMBERS = ["ada", "bob"]


class GroupMachine(SideBySide):
    """What may happen to a group, in any order."""

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
        assert given.row == self.group.give(order, given.now_ms)
        self._compare()

    @rule(withdrawn=st.booleans())
    def orders_are_done_with(self, withdrawn: bool) -> None:
        ids = [f"o{n}" for n in range(1, self.order_ids + 1)]
        assert self._run(take_outcomes, self.keys, ids) == self.group.take_outcomes(ids)
        if withdrawn:
            self._run(withdraw, self.keys, ids)
            self.group.withdraw()
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
        made: dict[str, Row | None] = {stream: self._row(stream, offset[1], *draft) for stream, draft in rows.items()}
        going = data.draw(st.lists(st.sampled_from(sorted(self.group.table) or ["order-0"]), max_size=2), "going")
        made |= dict.fromkeys(going)
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
