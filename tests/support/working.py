"""A group as it is in use: a worker, and an operator who deals with what it could not handle."""

from consumers import Context, To, consumer
from consumers.dead_letters import retry
from consumers.groups import delete_group, describe_group
from consumers.retry import Immediate
from consumers.verify import check_groups
from eventstore import EventStore, RecordedEvent
from eventstore.verify import CHECKS, verify
from tests.support.letters import until_listed
from tests.support.running import counted, running, until_lag
from tests.support.servers import Server, tries
from tests.support.stores import Noted


async def a_worker_and_its_operator(_: Server, store: EventStore) -> None:
    """On the events 1 to 6 of order-1: the first is parked, and retried when the handler is mended; each counts, and is
    returned to mail-1. Then the group is deleted."""
    broken = True

    @consumer("careful", retry=Immediate(attempts=1))
    async def handle(event: RecordedEvent, ctx: Context) -> To | None:
        ctx.effects.hincrby("handled", event.stream)
        if broken and event.stream == "order-1":
            raise ValueError("no")
        return To("mail-1", Noted(event.version)) if event.stream == "order-1" else None

    async with running(store, handle):
        assert len(await until_listed(store, 1, "careful")) == 1
        assert (await describe_group(store, "careful")).members
        broken = False
        await retry(store, "careful", ["order-1"], who="ada")
        async for _try in tries():
            if await store.version("mail-1") == 6:
                break
        await until_lag(store, "careful")
    assert await counted(store, "careful", "handled") == {"order-1": 6, "mail-1": 6}
    assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
    await delete_group(store, "careful", who="ada")
