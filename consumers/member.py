"""One member of a group: which partitions it should have, which it has, and how it comes by them and lets them go.

Each second, and when the bell of the home partition rings, it says that it lives, looks who else does and who owns
what, and computes the assignment, which every member computes alike:

    mine, and owned by nobody           take the lease
    mine, and owned by another          wait: it drains, or its lease ends by itself
    another's, and owned by me          drain, then give the lease back, and ring
    another's, not owned by me          nothing

So partitions move one by one, each without an owner for as long as it takes to hand it over, and all others go on.
Nothing depends on the members agreeing: the lease decides. A partition that is lost (lease.py, or a commit that was
refused) is dropped at once, with all that is known of it, and may be taken again in the next round.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import anyio
import structlog
from msgspec.structs import replace

from consumers.assignment import assign
from consumers.claimed import claimed, let_go
from consumers.company import Company
from consumers.deliveries import Deliveries, Delivery
from consumers.errors import EventStoreError, Unavailable
from consumers.failure import Failure, cause_of
from consumers.holder import Holder
from consumers.keys import GroupKeys, group_keys
from consumers.lease import RENEWALS, Lease, Renewals, now
from consumers.listen import Listener
from consumers.losses import Losses
from consumers.membership import Member as MemberInfo
from consumers.owned import GIVEN_BACK, Owned
from consumers.owners import owners_of
from consumers.pace import Pace
from consumers.parked import OnParked, ParkedLines
from consumers.rate import per_second
from consumers.scope import Scope
from consumers.truth import IN_REDIS, Truth
from consumers.workers import Workers
from eventstore.log import Log
from infrastructure.tasks import together

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from consumers.consumer import Consumer

LOOK_SECONDS = 1.0
SOON_SECONDS = 0.2
"""While a partition that should be ours is still another's."""
TICK_SECONDS = 0.05
RESUME_SECONDS = 1.0
LEAVE_SECONDS = 2.0
"""For who stops: what has no answer then is left to end by itself."""

logger = structlog.get_logger(__name__)


class Member:
    """Runs the handlers of one consumer on its share of the partitions."""

    def __init__(
        self,
        log: Log,
        consumer: "Consumer",
        info: MemberInfo,
        deliveries: Deliveries,
        workers: Workers,
        renewals: Renewals,
        on_out: Callable[[int], None],
        truth: Truth = IN_REDIS,
        on_parked: OnParked | None = None,
    ) -> None:
        self.group = consumer.name
        self._log, self._consumer, self._deliveries = log, consumer, deliveries
        self._truth, self._on_parked = truth, on_parked
        self._workers, self._renewals, self._on_out = workers, renewals, on_out
        self._info = info
        self._keys = [group_keys(log.keys, self.group, p) for p in range(log.partitions)]
        self._patience_seconds = patience = renewals.lease_seconds / RENEWALS
        self._company = Company(
            log, self.group, self._keys, lease_seconds=renewals.lease_seconds, patience_seconds=patience
        )
        self._owners: dict[int, str] = {}
        self._owned: dict[int, Owned] = {}
        self._leaving: set[int] = set()
        self._longest_seconds = max(handler.timeout_seconds for handler in consumer.handlers)
        self._scopes: dict[int, Scope] = {}
        self._replay_pace = Pace(per_second(1), lambda: self.share)
        self._paced_job = ""
        self._parked, self._losses = ParkedLines(self.group, now), Losses(self.group, now)
        self._listeners: dict[int, Listener] = {}
        self._is_away = self._is_broken = False
        self._look = asyncio.Event()
        self._round_scope = anyio.CancelScope()
        self._tasks: TaskGroup

    async def run(self, stop: anyio.Event) -> None:
        """Until `stop` is set: then everything is drained and handed over. When it is cancelled, the same without
        grace. Raises GroupNotFound, EventsMissing, LogDamaged: what no repetition mends."""
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as self._tasks:
            tasks.start_soon(self._workers.run)
            tasks.start_soon(self._tick)
            tasks.start_soon(self._stop_when, stop)
            if not self._log.redis.is_cluster:
                self._listeners[-1] = Listener(self._log, lambda: list(self._owned.values()))
                tasks.start_soon(self._listeners[-1].run)
            try:
                await self._assign_on(stop)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._hand_over(self._consumer.grace_seconds if stop.is_set() else 0.0)
                    self._parked.tell_rest(at_once=True)
                    self._losses.tell()
                    tasks.cancel_scope.cancel()

    @property
    def share(self) -> float:
        """Of the partitions, that this member holds."""
        return len(self._owned) / self._log.partitions

    @property
    def replays(self) -> set[str]:
        """The replays that this member looks after: it has the first partition of each."""
        return {scope.job for scope in self._scopes.values() if scope.is_first}

    def changed(self, lease: Lease) -> None:
        """A lease was lost, or its group paused or resumed."""
        owned = self._owned.get(lease.keys.partition)
        if owned is not None and owned.lease is lease:
            if lease.lost:
                owned.lose(lease.lost)
            self._workers.ready(owned)

    # ---- the share ----

    async def _assign_on(self, stop: anyio.Event) -> None:
        while not stop.is_set():
            wait = LOOK_SECONDS
            try:
                with anyio.CancelScope() as self._round_scope:
                    wait = await self._round()
            except Unavailable as error:
                logger.warning("assignment_later", group=self.group, why=str(error))
            with anyio.move_on_after(wait):
                await self._look.wait()
            self._look.clear()

    async def _round(self) -> float:
        """One look; how long until the next."""
        if self._workers.are_stuck:
            await self._step_back()
            return LOOK_SECONDS
        self._is_away = False
        breaker: Literal["closed", "open"] = "open" if self._workers.breaker.is_open else "closed"
        why, partitions = self._workers.breaker.error, tuple(sorted(self._owned))
        handling, retrying = self._workers.in_hands
        self._info = replace(
            self._info,
            partitions=partitions,
            breaker=breaker,
            breaker_error=why,
            handling=handling,
            retrying=retrying,
        )
        members = await self._company.gather(self._info)
        self._owners = await owners_of(self._log, self._keys, self._owners, self._patience_seconds)
        ours = assign(self._log.partitions, members, self._owners, salt=self.group)
        wanted: list[GroupKeys] = []
        for partition, owner in ours.items():
            if owner == self._info.id:
                self._leaving.discard(partition)  # whoever wanted it has gone
            if owner == self._info.id and partition not in self._owned:
                wanted.append(self._keys[partition])
            elif owner != self._info.id and partition in self._owned and partition not in self._leaving:
                self._leaving.add(partition)
                self._tasks.start_soon(self._give, self._owned[partition])
        before = len(self._owned)
        are_settled = await together([partial(self._settled, keys) for keys in wanted])
        if len(self._owned) != before:
            count = f"{len(self._owned)} of {self._log.partitions}"
            logger.info("partitions_taken", group=self.group, partitions=count, members=len(members))
        return LOOK_SECONDS if all(are_settled) else SOON_SECONDS

    async def _step_back(self) -> None:
        """With no worker left it would hold its partitions and do nothing: others shall have them."""
        if not self._is_away:
            logger.error(
                "member_stuck",
                group=self.group,
                partitions=len(self._owned),
                remedy="its partitions are left to others; each of its handlers has ignored that its time was over:"
                " let asyncio.CancelledError pass, and restart this worker",
            )
        self._is_away = True
        for owned in self._owned.values():
            if owned.partition not in self._leaving:
                self._leaving.add(owned.partition)
                self._tasks.start_soon(self._drain, owned, 0.0)
        await self._company.leave(self._info)

    async def _settled(self, keys: GroupKeys) -> bool:
        """Whether a partition that should be ours is, or its master is away: that keeps us from no other. What was
        broken off may have taken the lease, which is taken again then."""
        try:
            with anyio.move_on_after(self._patience_seconds):
                return await self._take(keys)
        except Unavailable as error:
            self._losses.not_taken(keys.partition, str(error))
        return True

    async def _take(self, keys: GroupKeys) -> bool:
        asked_at = now()
        taken = await claimed(self._log, keys, self._info.id, self._renewals.lease_seconds, self._truth)
        if taken is None:
            return False
        answer, token = taken
        lease = self._renewals.hold(keys, token, asked_at=asked_at, server_ms=answer.now_ms, paused=answer.paused)
        wanted = self._deliveries.wanted if self._deliveries.is_limited else None
        scope = self._scope(keys.partition, answer.replay)
        self._losses.taken(keys.partition, scope, answer)
        owned = Owned(
            self._log,
            keys,
            Holder(answer, token, wanted, scope=scope, tells_gone=self._truth is not IN_REDIS),
            lease,
            self._deliveries,
            epochs=answer.epochs,
            bell=answer.bell,
            on_ready=self._workers.ready,
            on_head=self._relisten,
            on_out=self._on_out,
            on_refused=self._workers.refuse,
            on_parked=self._tell_parked,
            replay_pace=None if scope is None else self._pace_of(scope),
            truth=self._truth,
        )
        self._owned[keys.partition] = owned
        self._tasks.start_soon(self._live, owned)
        self._on_out(keys.partition)  # what a holder before may have left
        return True

    def _tell_parked(self, event: Delivery, failure: Failure, attempts: int) -> None:
        self._parked.tell(event, failure, attempts)
        if self._on_parked is not None:
            self._on_parked(event, failure, attempts)

    def _scope(self, partition: int, stored: str) -> Scope | None:
        """What the last replay wants of the events of a partition."""
        scope = Scope.parse(stored)
        if scope is None:
            return None
        self._scopes[partition] = scope = scope.resolved(self._log)
        return scope

    def _pace_of(self, scope: Scope) -> Pace | None:
        """One for all partitions of a replay."""
        if scope.rate is None:
            return None
        if self._paced_job != scope.job:
            self._paced_job, self._replay_pace = scope.job, Pace(per_second(scope.rate), lambda: self.share)
        return self._replay_pace

    async def _live(self, owned: Owned) -> None:
        """A partition's time with this member. A cancellation does not end it: it is drained then."""
        with anyio.CancelScope(shield=True):
            try:
                await self._live_with(owned)
            except Exception as error:
                await self._give_up(owned, cause_of(error))
                raise

    async def _live_with(self, owned: Owned) -> None:
        async with anyio.create_task_group() as tasks:
            if self._log.redis.is_cluster:
                listener = self._listeners[owned.partition] = Listener(self._log, lambda: [owned])
                tasks.start_soon(listener.run)
            self._relisten(owned)
            try:
                await owned.run()
            finally:
                self._forget(owned)
                tasks.cancel_scope.cancel()

    async def _give_up(self, owned: Owned, error: BaseException) -> None:
        """Nobody mends this by waiting: the member ends by it."""
        if not self._is_broken:
            self._is_broken = True
            logger.error(
                "partition_broken",
                group=self.group,
                partition=owned.partition,
                error=f"{type(error).__name__}: {error}",
                remedy=error.remedy if isinstance(error, EventStoreError) else None,
            )
        await let_go(self._log, owned.keys, owned.lease.token)

    def _forget(self, owned: Owned) -> None:
        if owned.lost is not None and owned.lost != GIVEN_BACK:
            self._losses.lost(owned.partition, owned.lost)
        self._renewals.drop(owned.lease)
        self._workers.interrupt(owned)
        self._leaving.discard(owned.partition)
        del self._owned[owned.partition]
        self._scopes.pop(owned.partition, None)
        self._look.set()

    async def _give(self, owned: Owned) -> None:
        """To another member, who has none of the hurry of a shutdown: a handling that has been under way for long may
        end first, while the rest goes on, and what is begun when it stops taking more is not broken off either."""
        grace, longest = self._consumer.grace_seconds, self._longest_seconds
        with anyio.move_on_after(longest):
            while owned.is_alive and self._workers.longest_in_hands(owned) > grace:  # noqa: ASYNC110 - a matter of time
                await anyio.sleep(SOON_SECONDS)
        if owned.partition in self._leaving:
            await self._drain(owned, longest)

    async def _drain(self, owned: Owned, grace_seconds: float) -> None:
        await owned.drain(grace_seconds, self._workers.interrupt)

    async def _hand_over(self, grace_seconds: float) -> None:
        owned = list(self._owned.values())
        async with anyio.create_task_group() as tasks:
            for each in owned:
                tasks.start_soon(self._drain, each, grace_seconds)
        try:
            with anyio.move_on_after(LEAVE_SECONDS) as in_time:
                await self._company.leave(self._info)
            if in_time.cancelled_caught:
                logger.warning("not_left", group=self.group, why=f"no answer within {LEAVE_SECONDS:g} s")
        except EventStoreError as error:
            logger.warning("not_left", group=self.group, why=str(error))

    # ---- small things that come with time ----

    def _relisten(self, owned: Owned) -> None:
        listener = self._listeners.get(-1) or self._listeners.get(owned.partition)
        if listener is not None:
            listener.change()

    async def _stop_when(self, stop: anyio.Event) -> None:
        await stop.wait()
        self._look.set()
        await anyio.sleep(LEAVE_SECONDS)
        self._round_scope.cancel()  # of a server that does not answer

    async def _tick(self) -> None:
        resumed_at = now()
        while True:
            await anyio.sleep(TICK_SECONDS)
            self._renewals.beat()
            self._workers.watch()
            self._parked.tell_rest()
            self._losses.tell()
            is_time = now() - resumed_at >= RESUME_SECONDS
            resumed_at = now() if is_time else resumed_at
            for owned in list(self._owned.values()):
                if not owned.is_alive:
                    continue
                if is_time:
                    owned.resume()
                if owned.holder.wants_events:  # while handlers take long, nobody else says so
                    owned.reading.turn_over()
                owned.reading.unpack_old()
                if owned.holds_back or (self._workers.breaker.is_open and self._workers.breaker.may_take):
                    self._workers.ready(owned)
                due_ms = owned.holder.next_due_ms
                if due_ms is not None and due_ms <= owned.lease.server_ms:
                    self._workers.ready(owned)
