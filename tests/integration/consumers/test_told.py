"""What a worker's log tells its operator, and what it spares him."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers import replay
from consumers.consumer import consumer
from consumers.errors import GroupNotFound
from consumers.groups import create_group, describe_group
from consumers.keys import group_keys
from consumers.lease_calls import acquire
from consumers.retry import Immediate
from consumers.start import Start
from consumers.state import Stored
from eventstore import EventStore, RecordedEvent
from eventstore.errors import EventsMissing
from tests.support.handling import work
from tests.support.replays import executed, until_lag_is, until_over
from tests.support.running import owners, running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


async def test_that_an_event_was_parked_is_told_once_with_what_to_look_at(store: EventStore) -> None:
    @consumer("telling", retry=Immediate(attempts=4))
    async def handle(event: RecordedEvent) -> None:
        if event.version == 2:
            raise ValueError("no money")

    await store.append("order-42", [Noted(1), Noted(2), Noted(3)])
    with capture_logs() as logs:
        async with running(store, handle):
            await until(lambda: any(each["event"] == "event_parked" for each in logs))
    (told,) = [each for each in logs if each["event"] == "event_parked"]
    assert told["error"].startswith("ValueError: no money at test_told.py:")
    assert {name: told[name] for name in ("log_level", "group", "at", "type", "attempts", "remedy")} == {
        "log_level": "warning",
        "group": "telling",
        "at": "order-42@2",
        "type": "Noted",
        "attempts": 4,
        "remedy": "eventstore dlq show telling order-42",
    }


async def test_a_replay_and_its_cancel_are_told_in_one_line_each_and_alarm_nobody(store: EventStore) -> None:
    @consumer("g")
    async def handle(event: RecordedEvent) -> None: ...

    for i in range(16):
        await store.append(f"order-{i}", [Noted(i)])
    with capture_logs() as logs:
        async with running(store, handle):
            await until_lag_is(store, 0)
            first = await executed(store, "earliest")
            await until_over(store, first.job.id)
            second = await executed(store, "earliest", rate=1)
            await replay.cancel(store, second.job.id, who="ada")
            await until_over(store, second.job.id)
            await until(lambda: sum(each["event"] == "partitions_moved" for each in logs) == 3)
    told = [(each["log_level"], each["why"]) for each in logs if each["event"] == "partitions_moved"]
    assert told == [
        ("info", f"taken by replay {first.job.id}"),
        ("info", f"taken by replay {second.job.id}"),
        ("info", f"taken by the cancel of replay {second.job.id}"),
    ]
    assert [each for each in logs if each["log_level"] in ("warning", "error")] == []


async def test_what_somebody_else_took_is_told_as_a_loss(store: EventStore) -> None:
    @consumer("robbed")
    async def handle(event: RecordedEvent) -> None: ...

    with capture_logs() as logs:
        async with running(store, handle):
            async for _ in tries():
                if all(await owners(store, "robbed")):
                    break
            for partition in range(store.log.partitions):
                keys = group_keys(store.log.keys, "robbed", partition)
                await acquire(store.log, keys, "bob", 60_000, force=True)
            await until(lambda: len(told(logs)) == store.log.partitions)
    assert sorted(told(logs)) == list(range(store.log.partitions))


def told(logs: list[Any]) -> list[int]:
    lines = [each for each in logs if each["event"] == "partitions_lost"]
    assert {each["why"] for each in lines} <= {"bob has it now"}
    return [partition for each in lines for partition in each["partitions"]]


async def test_a_partition_whose_log_is_broken_is_told_once_and_left_to_nobody(
    store: EventStore, server: Server
) -> None:
    @consumer("stranded")
    async def handle(event: RecordedEvent) -> None: ...

    for i in range(16):
        await store.append(f"order-{i}", [Noted(n) for n in range(4)])
    broken = (await store.append("order-1", [Noted(5)])).partition
    ids = [entry_id for entry_id, _ in server.admin("XRANGE", store.log.keys.events(broken), "-", "+")]
    server.admin("XDEL", store.log.keys.events(broken), ids[3])
    with capture_logs() as logs, pytest.raises(EventsMissing):
        async with running(store, handle) as stop:
            await stop.wait()
    (line,) = [each for each in logs if each["event"] == "partition_broken"]
    assert line["partition"] == broken
    assert line["error"].startswith("EventsMissing: ")
    assert line["remedy"]
    assert await owners(store, "stranded") == [""] * store.log.partitions


async def test_what_is_tried_again_at_once_is_shown_as_in_hand(store: EventStore) -> None:
    is_mended = False

    @consumer("hurried", retry=Immediate(attempts=1_000_000))
    async def handle(event: RecordedEvent) -> None:
        if event.stream == "order-1" and not is_mended:
            await work(0.01)
            raise ValueError("no money")
        if event.stream == "order-2":
            await until(lambda: is_mended)

    for stream in ("order-1", "order-2", "order-3"):
        await store.append(stream, [Noted(1)])
    async with running(store, handle):
        async for _ in tries():
            with suppress(GroupNotFound):
                shape = await describe_group(store, "hurried")
                if [(each.handling, each.retrying) for each in shape.members] == [(2, 1)]:
                    break
        assert (shape.retrying, shape.parked) == (0, 0)
        is_mended = True
        async for _ in tries():
            (member,) = (await describe_group(store, "hurried")).members
            if (member.handling, member.retrying) == (0, 0):
                break


async def test_workers_that_die_one_after_the_other_are_told_of(store: EventStore) -> None:
    @consumer("deadly")
    async def handle(event: RecordedEvent) -> None: ...

    await create_group(store, "deadly", Start("earliest"), who="ada")
    for member in ("ada", "bob", "cyd"):
        async for _ in tries():
            if isinstance(await acquire(store.log, group_keys(store.log.keys, "deadly", 2), member, 1), Stored):
                break
    with capture_logs() as logs:
        async with running(store, handle):
            await until(lambda: any(each["event"] == "workers_die" for each in logs))
    (line,) = [each for each in logs if each["event"] == "workers_die"]
    assert (line["in_a_row"], line["behind"]) == (3, ["2:0"])
