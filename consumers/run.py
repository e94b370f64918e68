"""run(store, [...]): the consumers of this process, from joining their groups to leaving them.

    resources opened -> leases' thread, relay, timekeeper
    -> per consumer: group made, member joins, handles, drains, leaves
    -> the relay carries on what is left -> all closed

Each consumer is a member of its own group. What one of them dies of ends all, for a process that goes on with half of
its work is noticed by nobody.
"""

from collections.abc import Iterable, Sequence

import anyio

from consumers.consumer import Consumer
from consumers.lease import LEASE_SECONDS, renewals
from consumers.relay import relaying
from consumers.resources import Resource, opened
from consumers.runnable import Runnable, RunsItself, called_by, checked
from consumers.sagas.groups import groups_of
from consumers.sagas.known import refuse_unknown_versions
from consumers.sagas.saga import Saga
from consumers.timers.timekeeper import keeping_time
from consumers.worker import Worker
from eventstore.arguments import must_be
from eventstore.store import EventStore
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
            elif isinstance(value, Consumer):
                groups.append(value)
        longest = max(
            (each.timeout_seconds for value in (*runnable, *groups) for each in called_by(value)), default=0.0
        )
        worker = Worker(store, values, stop or anyio.Event())
        async with (
            renewals(
                store.log.redis.settings,
                worker.changed,
                lease_seconds=lease_seconds,
                hung_after_seconds=longest + lease_seconds,
            ) as running,
            relaying(store.log) as relay,
            keeping_time(store.log, lease_seconds=lease_seconds),
        ):
            worker.share(running, relay)
            await _run(worker, groups, [each for each in runnable if isinstance(each, RunsItself)])


async def _run(worker: Worker, groups: Sequence[Consumer], others: Sequence[RunsItself]) -> None:
    members = [await worker.member(group) for group in groups]
    with plain_errors():
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(worker.run_member, member, worker.stop)
            for other in others:
                tasks.start_soon(other.run_in, worker)
