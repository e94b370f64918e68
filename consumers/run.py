"""run(store, [...]): the consumers of this process, from joining their groups to leaving them.

    resources opened -> leases' thread, relay, timekeeper
    -> per consumer: group made, member joins, handles, drains, leaves
    -> the relay carries on what is left -> all closed

Each consumer is a member of its own group. What one of them dies of ends all, for a process that goes on with half of
its work is noticed by nobody.
"""

from collections.abc import Iterable, Sequence

import anyio
from msgspec.structs import replace

from consumers.consumer import Consumer
from consumers.creation import ensure_group
from consumers.deliveries import Deliveries
from consumers.handle import Handling
from consumers.lease import LEASE_SECONDS, Lease, Renewals, renewals
from consumers.member import Member
from consumers.membership import new_member
from consumers.pace import Pace
from consumers.relay import Relay, relaying
from consumers.replay.watch import look_after
from consumers.resources import Resource, opened
from consumers.runnable import Runnable, checked
from consumers.sagas.groups import groups_of
from consumers.sagas.known import refuse_unknown_versions
from consumers.sagas.saga import Saga
from consumers.timers.timekeeper import keeping_time
from consumers.workers import Workers
from eventstore.arguments import must_be
from eventstore.log import Log
from eventstore.store import EventStore
from infrastructure.patience import replies
from infrastructure.tasks import owned_tasks, plain_errors


async def run(
    store: EventStore,
    consumers: Sequence[Runnable],
    *,
    resources: Iterable[Resource] = (),
    stop: anyio.Event | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Runs consumers and sagas until `stop` is set, as by a handler of SIGTERM (docs/how-to.md): running handlers then
    get the `grace` of their group, what is finished is committed, and the partitions are handed over. Cancelled, it
    does the same without grace.

    As many processes as you like may run the same consumers: partitions are shared out evenly, and move when processes
    come and go. A group that does not exist is made, to begin at its `start`. `resources` are opened once and given to
    handlers by type. A member that falls silent for `lease_seconds` loses its partitions to others. Raises
    InvalidConsumer, GroupNotFound, EventsMissing, LogDamaged, and whatever opening a resource raises; while the server
    cannot be reached it waits."""
    must_be(EventStore, "run(store, [charge])", store=store)
    runnable, wanted = checked(consumers, resources)
    async with opened(wanted) as values, owned_tasks() as spawn:
        groups: list[Consumer] = []
        for value in runnable:
            if isinstance(value, Saga):
                await refuse_unknown_versions(store.log, value)
                groups += groups_of(store, value, values, spawn)
            else:
                groups.append(value)
        await _run(store, groups, values, stop or anyio.Event(), lease_seconds)


async def _run(
    store: EventStore, groups: Sequence[Consumer], values: dict[object, object], stop: anyio.Event, lease_seconds: float
) -> None:
    longest = max(handler.timeout_seconds for group in groups for handler in group.handlers)
    members: dict[str, Member] = {}

    def changed(lease: Lease) -> None:
        if lease.keys.group in members:
            members[lease.keys.group].changed(lease)

    async with (
        renewals(
            store.log.redis.settings, changed, lease_seconds=lease_seconds, hung_after_seconds=longest + lease_seconds
        ) as running,
        relaying(store.log) as relay,
        keeping_time(store.log, lease_seconds=lease_seconds),
    ):
        for group in groups:
            members[group.name] = await _member(store.log, group, values, running, relay)
        with plain_errors():
            async with anyio.create_task_group() as tasks:
                for member in members.values():
                    tasks.start_soon(_handle, store, member, stop)


async def _handle(store: EventStore, member: Member, stop: anyio.Event) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look_after, store, member)
        await member.run(stop)
        tasks.cancel_scope.cancel()


async def _member(
    log: Log, consumer: Consumer, values: dict[object, object], running: Renewals, relay: Relay
) -> Member:
    ((seconds, microseconds),) = await replies(log.redis, log.keys.head(0), ("TIME",))
    info = replace(
        new_member(int(seconds) * 1_000_000 + int(microseconds)),
        handlers={handler.name: handler.on_replay for handler in consumer.handlers},
        rate=None if consumer.rate is None else consumer.rate.calls / consumer.rate.per_seconds,
    )
    handling = Handling(consumer, log, values, info.id)
    await ensure_group(log, consumer.name, consumer.start)
    deliveries = Deliveries(log, handling.types, frozenset(consumer.categories), system=consumer.system)
    pace = None if consumer.rate is None else Pace(consumer.rate, lambda: member.share)
    member = Member(log, consumer, info, deliveries, Workers(handling, running, pace), running, relay.notify)
    return member
