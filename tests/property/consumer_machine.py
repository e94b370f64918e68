"""What the schedules of test_consumer_scripts.py do things with: a real group and the model, driven side by side."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from anyio.from_thread import BlockingPortal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from msgspec.structs import replace

from consumers.commit_call import commit
from consumers.errors import CommitRefused, Stale
from consumers.keys import group_keys
from consumers.lease_calls import Held, acquire, create
from consumers.state import Commit, Committed, Order, Row, RowState, Stored, Token
from eventstore.log import Log
from tests.property.consumer_drafts import STREAMS
from tests.property.consumer_model import TAG_DIGITS, GroupModel, NotHeld, PartitionModel, Refused
from tests.property.log_model import SentAppend, SentEvent
from tests.property.real_group import expected_state, stored_state
from tests.property.real_partition import RealPartition

T = TypeVar("T")
LEASE_MS = 10_000


class SideBySide(RuleBasedStateMachine):
    """Each step is made on both; then all that is stored is compared."""

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
