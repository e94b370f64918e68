"""What one process runs of groups: each as a member of its own, with what all of them share."""

from collections.abc import Callable

import anyio
from msgspec.structs import replace

from consumers.consumer import Consumer
from consumers.context import Context
from consumers.creation import ensure_group
from consumers.deliveries import Deliveries
from consumers.handle import Handling
from consumers.lease import Lease, Renewals
from consumers.member import Member
from consumers.membership import new_member
from consumers.pace import Pace
from consumers.parked import OnParked
from consumers.relay import Relay
from consumers.replay.watch import look_after
from consumers.truth import IN_REDIS, Truth
from consumers.workers import Workers
from eventstore.store import EventStore
from infrastructure.patience import replies


class Worker:
    """Made by `run`. `stop` is set when the process is to end in good order."""

    def __init__(self, store: EventStore, values: dict[object, object], stop: anyio.Event) -> None:
        self.store, self.stop = store, stop
        self._values = values
        self._members: dict[str, Member] = {}
        self._renewals: Renewals
        self._relay: Relay

    def share(self, renewals: Renewals, relay: Relay) -> None:
        """What all members use."""
        self._renewals, self._relay = renewals, relay

    def changed(self, lease: Lease) -> None:
        """A lease was lost, or its group paused or resumed."""
        member = self._members.get(lease.keys.group)
        if member is not None:
            member.changed(lease)

    async def run_group(
        self,
        consumer: Consumer,
        *,
        truth: Truth = IN_REDIS,
        context: Callable[..., Context] = Context,
        stop: anyio.Event | None = None,
        on_parked: OnParked | None = None,
    ) -> None:
        """Until `stop` is set, by default the worker's own: then the group is drained and left. `truth` is where it
        keeps how far it is; `context` makes what handlers get; `on_parked` is told of each event that is about to be
        parked. Raises what `run` does."""
        member = await self.member(consumer, truth=truth, context=context, on_parked=on_parked)
        await self.run_member(member, stop or self.stop)

    async def member(
        self,
        consumer: Consumer,
        *,
        truth: Truth = IN_REDIS,
        context: Callable[..., Context] = Context,
        on_parked: OnParked | None = None,
    ) -> Member:
        """Of a group, which is made if it is not there."""
        log, relay = self.store.log, self._relay
        ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
        info = replace(
            new_member(int(seconds) * 1_000_000 + int(microseconds)),
            handlers={handler.name: handler.on_replay for handler in consumer.handlers},
            rate=None if consumer.rate is None else consumer.rate.calls / consumer.rate.per_seconds,
        )
        handling = Handling(consumer, log, self._values, info.id, context=context)
        await ensure_group(log, consumer.name, consumer.start)
        deliveries = Deliveries(log, handling.types, frozenset(consumer.categories), system=consumer.system)
        pace = None if consumer.rate is None else Pace(consumer.rate, lambda: member.share)
        workers = Workers(handling, self._renewals, pace)
        member = Member(log, consumer, info, deliveries, workers, self._renewals, relay.notify, truth, on_parked)
        self._members[consumer.name] = member
        return member

    async def run_member(self, member: Member, stop: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_after, self.store, member)
            await member.run(stop)
            tasks.cancel_scope.cancel()
