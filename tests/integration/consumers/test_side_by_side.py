"""Groups beside each other, and logs beside each other in one Redis: what happens to one does not concern the other."""

import pytest

from consumers import Context, To, consumer
from consumers.groups import delete_group, describe_group, list_groups, pause_group
from consumers.retry import Park
from consumers.verify import check_groups
from eventstore import EventStore, RecordedEvent
from eventstore.verify import CHECKS, verify
from tests.support.fixtures import server_fixture
from tests.support.letters import until_listed
from tests.support.running import counted, running, until_lag
from tests.support.servers import Server, tries, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
server = server_fixture(scope="module")


async def fill(store: EventStore, streams: int, events: int, first: int = 0) -> None:
    for i in range(streams):
        await store.append(f"order-{i}", [Noted(first + n, store.log.settings.prefix) for n in range(events)])


async def test_two_groups_of_a_log(server: Server) -> None:
    """One fails, is paused and deleted; the other has every event once, and what it keeps."""
    seen: list[RecordedEvent] = []

    @consumer("failing", retry=Park())
    async def fail(event: RecordedEvent, ctx: Context) -> None:
        ctx.effects.hincrby("n", event.stream)
        if event.stream in ("order-1", "order-2"):
            raise ValueError("poison")

    @consumer("failing.too")  # whose keys begin as those of the other
    async def handle(event: RecordedEvent, ctx: Context) -> None:
        ctx.effects.hincrby("n", event.stream)
        seen.append(event)

    async with open_store(server) as store:
        await fill(store, 6, 5)
        async with running(store, fail, handle):
            await until_listed(store, 2, "failing")
            await until(lambda: len(seen) == 30)
            await pause_group(store, "failing", who="ada")
            await fill(store, 6, 5)
            await until(lambda: len(seen) == 60)
            await until_lag(store, "failing.too")
            assert (await describe_group(store, "failing.too")).paused is None
        assert await counted(store, "failing.too", "n") == {f"order-{i}": 10 for i in range(6)}
        assert await counted(store, "failing", "n") == {f"order-{i}": 5 for i in (0, 3, 4, 5)}
        await delete_group(store, "failing", who="ada")
        async with running(store, handle):
            await fill(store, 6, 1)
            await until(lambda: len(seen) == 66)
            await until_lag(store, "failing.too")
        assert [group.group for group in await list_groups(store)] == ["failing.too"]
        assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
    for i in range(6):
        assert [event.version for event in seen if event.stream == f"order-{i}"] == list(range(1, 12))


@pytest.mark.parametrize(("one", "other"), [("es", "es:x"), ("a", "b"), ("es", "es:g:same")])
async def test_groups_of_one_name_in_two_logs(server: Server, one: str, other: str) -> None:
    seen: dict[str, list[RecordedEvent]] = {one: [], other: []}

    @consumer("same", retry=Park())
    async def handle(event: RecordedEvent, ctx: Context) -> To | None:
        ctx.effects.hincrby("n", event.stream)
        seen[event.data.text].append(event)
        if (event.stream, event.data.text) == ("order-1", one):
            raise ValueError("poison in one of them")
        return None if event.stream.startswith("mail-") else To("mail-1", event.data)

    async with open_store(server, prefix=one) as first, open_store(server, prefix=other, partitions=3) as second:
        await fill(first, 3, 4)
        await fill(second, 4, 3)
        async with running(first, handle), running(second, handle):
            await until_listed(first, 1, "same")
            async for _ in tries():
                if (await first.version("mail-1"), await second.version("mail-1")) == (8, 12):
                    break
            for store in (first, second):
                await until_lag(store, "same")
            assert [len((await describe_group(store, "same")).members) for store in (first, second)] == [1, 1]
        assert await counted(first, "same", "n") == {"order-0": 4, "order-2": 4, "mail-1": 8}
        assert await counted(second, "same", "n") == {**{f"order-{i}": 3 for i in range(4)}, "mail-1": 12}
        for store in (first, second):
            assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
        before = {key: server.admin("DUMP", key) for key in server.admin("KEYS", f"{other}:{{*")}
        await delete_group(first, "same", who="ada")
        assert {key: server.admin("DUMP", key) for key in before} == before
        assert [(g.group, g.parked) for g in await list_groups(second)] == [("same", 0)]
    assert len(seen[one]) == 4 + 4 + 8 + 1
    assert len(seen[other]) == 12 + 12
