"""Groups as operators see and change them, on a real server."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from consumers import lease_calls
from consumers.commit_call import commit
from consumers.errors import GroupNotFound
from consumers.groups import (
    create_group,
    delete_group,
    describe_group,
    list_groups,
    pause_group,
    resume_group,
)
from consumers.keys import GroupKeys, effect_key, group_keys, home_of
from consumers.membership import Members, new_member
from consumers.start import Start, parse_start
from consumers.state import Commit, Row, RowState
from eventstore import audit
from eventstore.errors import InvalidRequest
from eventstore.jobs import WrongState
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from eventstore.wire import rfc3339
from tests.support.groups import failure_of, take
from tests.support.monitor import monitored
from tests.support.servers import Server, redis_cluster, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
EARLIEST, LATEST = Start("earliest"), Start("latest")
GROUP = "mailer"
ADA = new_member(1_795_600_215_640_217)


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one


async def filled(store: EventStore, streams: int = 12, events: int = 2) -> None:
    for number in range(streams):
        await store.append(f"order-{number}", [Noted(n) for n in range(events)])


def keys_of(store: EventStore, partition: int) -> GroupKeys:
    return group_keys(store.log.keys, GROUP, partition)


async def positions(store: EventStore) -> list[int]:
    return [position for _, position in (await store.heads()).places]


async def audited(store: EventStore) -> list[tuple[str, str, str | None, dict[str, object]]]:
    """(who, what, why, facts) of each entry."""
    return [(e.data.who, e.data.what, e.data.why, e.data.facts) async for e in audit.entries(store)]


# ---- create ----


async def test_a_group_begins_at_the_first_event_or_behind_the_last(store: EventStore) -> None:
    await filled(store)
    first = await create_group(store, GROUP, EARLIEST, who="ada")
    last = await create_group(store, "totals", LATEST, who="ada", why="only what is new")
    assert (first.lag, last.lag) == (24, 0)
    assert [each.offset for each in first.partitions] == [0, 0, 0, 0]
    assert [each.offset for each in last.partitions] == [each.head for each in last.partitions]


async def test_a_group_begins_with_what_was_recorded_at_a_time(store: EventStore) -> None:
    await filled(store, streams=3)
    moment = (await store.append("order-9", [Noted(9)])).recorded_at
    await filled(store, streams=3)
    expected = len([1 async for event in store.read_all() if event.recorded_at >= moment])
    assert (await create_group(store, GROUP, parse_start(rfc3339(moment)), who="ada")).lag == expected == 7
    assert (await create_group(store, "all", parse_start("-15m"), who="ada")).lag == 14, (
        "with the entry of the other's making"
    )


async def test_a_group_begins_behind_a_cursor(store: EventStore) -> None:
    await filled(store, streams=3)
    cursor = await store.heads()
    await filled(store, streams=3)
    assert (await create_group(store, GROUP, cursor, who="ada")).lag == 6


async def test_who_makes_a_group_is_in_the_audit_stream(store: EventStore) -> None:
    await create_group(store, GROUP, LATEST, who="ada", why="new")
    await create_group(store, "charge-cards", parse_start("2026-11-23T08:00:00Z"), who="bob")
    assert await audited(store) == [
        ("ada", "group-create", "new", {"group": GROUP, "start": "latest"}),
        ("bob", "group-create", None, {"group": "charge-cards", "start": "2026-11-23T08:00:00.000000Z"}),
    ]


async def test_a_group_that_is_there_is_not_made_again(store: EventStore) -> None:
    await filled(store)
    await create_group(store, GROUP, EARLIEST, who="ada")
    with pytest.raises(WrongState, match="there is a group mailer already"):
        await create_group(store, GROUP, LATEST, who="bob")
    assert {each.offset for each in (await describe_group(store, GROUP)).partitions} == {0}
    assert [who for who, *_ in await audited(store)] == ["ada"]


async def test_a_name_that_no_group_may_have_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidRequest, match="'no blanks' is not usable"):
        await create_group(store, "no blanks", EARLIEST, who="ada")


# ---- look ----


async def test_lag_is_exact_in_each_partition_and_in_time(store: EventStore) -> None:
    await filled(store)
    await create_group(store, GROUP, EARLIEST, who="ada")
    events = [event async for event in store.read_partition(0)]
    _, token = await take(store, GROUP, 0, ADA.id)
    place = (events[1].epoch, events[1].position)
    await commit(store.log, keys_of(store, 0), Commit(token, 1, place))
    shape = await describe_group(store, GROUP)
    heads = await positions(store)
    assert [(each.offset, each.head) for each in shape.partitions] == [
        (2, heads[0]),
        *((0, head) for head in heads[1:]),
    ]
    assert [each.lag for each in shape.partitions] == [heads[0] - 2, *heads[1:]]
    assert shape.lag == sum(heads) - 2
    seconds, microseconds = await store.log.redis.execute(store.log.keys.head(0), "TIME")
    now_us = int(seconds) * 1_000_000 + int(microseconds)
    waiting = (now_us - events[2].recorded_at) / 1e6
    assert waiting - 5 < shape.partitions[0].behind_seconds <= waiting
    assert shape.behind_seconds == max(each.behind_seconds for each in shape.partitions)


async def test_a_group_that_has_finished_everything_is_not_behind(store: EventStore) -> None:
    await filled(store)
    shape = await create_group(store, GROUP, LATEST, who="ada")
    assert (shape.lag, shape.behind_seconds, shape.state, shape.held) == (0, 0.0, "idle", 0)


async def test_leases_and_members_are_shown(store: EventStore) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    stored, _ = await take(store, GROUP, 1, ADA.id)
    member = replace(ADA, partitions=(1,), breaker="open")
    await Members(store.log, GROUP).heartbeat(member)
    shape = await describe_group(store, GROUP)
    assert (shape.state, shape.held) == ("running", 1)
    held = shape.partitions[1]
    assert (held.owner, held.term) == (ADA.id, stored.term)
    assert held.until == rfc3339((stored.now_ms + 60_000) * 1_000)
    assert [each.owner for each in shape.partitions] == [None, ADA.id, None, None]
    (seen,) = shape.members
    assert (seen.id, seen.partitions, seen.breaker, seen.started_at) == (
        ADA.id,
        (1,),
        "open",
        rfc3339(ADA.started_us),
    )


async def test_a_lease_whose_time_is_over_is_nobodys(store: EventStore, server: Server) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    await lease_calls.acquire(store.log, keys_of(store, 2), ADA.id, 60_000)
    server.admin("HSET", keys_of(store, 2).control, "until", 1)
    shape = await describe_group(store, GROUP)
    assert (shape.partitions[2].owner, shape.partitions[2].until, shape.state) == (None, None, "idle")


async def test_failures_are_counted_and_the_oldest_dead_letter_is_found(store: EventStore) -> None:
    await filled(store)
    await create_group(store, GROUP, EARLIEST, who="ada")
    partition = partition_of("order-0", store.log.partitions)
    events = [event async for event in store.read_partition(partition) if event.version == 1]
    *parked, retrying = events
    assert len(parked) >= 2
    _, token = await take(store, GROUP, partition, ADA.id)
    rows, failures = {}, {}
    for number, event in enumerate(parked):
        rows[event.stream] = Row(1, RowState.PARKED, 8, 0, 0, f"{event.epoch}-{event.position}")
        failed_us = 1_795_600_000_000_000 - number
        text = '"failed_us":1,"parked":true'  # within a message it tells nothing
        failures[event.stream] = failure_of(event, failed_us, parked=True, message=text)
    rows[retrying.stream] = Row(1, RowState.RETRYING, 3, 9_999, 0, f"{retrying.epoch}-{retrying.position}")
    failures[retrying.stream] = failure_of(retrying, 5, parked=True)  # it is retried by order
    place = (events[-1].epoch, events[-1].position)
    await commit(store.log, keys_of(store, partition), Commit(token, 1, place, rows, failures))
    shape = await describe_group(store, GROUP)
    assert (shape.retrying, shape.parked) == (1, len(parked))
    assert shape.partitions[partition].detached == len(parked) + 1
    assert shape.oldest_parked_at == rfc3339(1_795_600_000_000_000 - len(parked) + 1)


async def test_a_group_that_is_not_there_is_said_with_those_that_are_called_alike(store: EventStore) -> None:
    with pytest.raises(GroupNotFound) as missing:
        await describe_group(store, GROUP)
    assert missing.value.detail == "there is no group mailer"
    await create_group(store, GROUP, EARLIEST, who="ada")
    with pytest.raises(GroupNotFound, match=r"there is no group mialer, did you mean mailer\?"):
        await describe_group(store, "mialer")
    for change in (pause_group, resume_group, delete_group):
        with pytest.raises(GroupNotFound, match="did you mean mailer"):
            await change(store, "mailers", who="ada")


async def test_groups_are_listed_by_name_without_those_of_strangers(store: EventStore, server: Server) -> None:
    assert await list_groups(store) == []
    for name in ("totals", GROUP, "charge-cards"):
        await create_group(store, name, EARLIEST, who="ada")
    server.admin("XGROUP", "CREATE", store.log.keys.events(0), "a-stranger", "0")
    server.admin("XGROUP", "DESTROY", store.log.keys.events(1), "totals")
    assert [each.group for each in await list_groups(store)] == ["charge-cards", GROUP, "totals"]


# ---- pause, resume ----


async def test_a_pause_says_who_and_why_until_it_ends(store: EventStore, server: Server) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    paused = await pause_group(store, GROUP, who="bob", why="the bank is down")
    assert paused.state == "paused"
    assert paused.paused is not None
    assert (paused.paused.who, paused.paused.why) == ("bob", "the bank is down")
    assert paused.paused.at is not None
    for partition in range(store.log.partitions):
        assert server.admin("HGET", keys_of(store, partition).control, "paused") != b""
        assert server.admin("XREVRANGE", keys_of(store, partition).bell, "+", "-", "COUNT", 1)[0][1][1] == b"paused"
    resumed = await resume_group(store, GROUP, who="ada", why="it is back")
    assert (resumed.state, resumed.paused) == ("idle", None)
    entries = (await audited(store))[1:]
    assert [entry[:3] for entry in entries] == [
        ("bob", "group-pause", "the bank is down"),
        ("ada", "group-resume", "it is back"),
    ]
    assert entries[1][3]["paused_by"] == "bob"


async def test_to_resume_a_group_that_runs_changes_and_records_nothing(store: EventStore) -> None:
    await create_group(store, GROUP, LATEST, who="ada")
    assert (await resume_group(store, GROUP, who="ada")).state == "idle"
    assert len(await audited(store)) == 1


async def test_a_pause_by_other_hands_is_shown_as_it_is(store: EventStore, server: Server) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    server.admin("HSET", keys_of(store, 3).control, "paused", "lunch")
    shape = await describe_group(store, GROUP)
    assert shape.paused is not None
    assert (shape.state, shape.paused.who, shape.paused.why) == ("paused", "somebody", "lunch")


# ---- delete ----


async def test_a_deleted_group_leaves_nothing_but_what_its_handlers_kept(store: EventStore, server: Server) -> None:
    await filled(store)
    await create_group(store, GROUP, EARLIEST, who="ada")
    await Members(store.log, GROUP).heartbeat(ADA)
    await Members(store.log, GROUP).leave(ADA)
    kept = effect_key(store.log.keys, GROUP, 0, "totals")
    server.admin("SET", kept, 7)
    was = await delete_group(store, GROUP, who="ada", why="replaced")
    lag = 24 + 1  # the entry of its own making
    assert was.lag == lag
    prefix = store.log.settings.prefix
    assert server.admin("KEYS", f"{prefix}:*g:{GROUP}*") == []
    assert server.admin("GET", kept) == b"7"
    assert [server.admin("XINFO", "GROUPS", store.log.keys.events(p)) for p in range(4)] == [[], [], [], []]
    assert len([1 async for _ in store.read_all()]) == 24, "the log stays as it is"
    with pytest.raises(GroupNotFound):
        await describe_group(store, GROUP)
    who, what, why, facts = (await audited(store))[-1]
    assert (who, what, why) == ("ada", "group-delete", "replaced")
    assert facts == {"group": GROUP, "lag": lag, "retrying": 0, "parked": 0, "forced": False}


async def test_a_group_with_a_member_is_deleted_only_by_force(store: EventStore) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    await Members(store.log, GROUP).heartbeat(ADA)
    with pytest.raises(WrongState, match=f"group mailer has 1 member: {ADA.id}"):
        await delete_group(store, GROUP, who="ada")
    assert (await describe_group(store, GROUP)).missing == ()
    await delete_group(store, GROUP, who="ada", force=True)
    with pytest.raises(GroupNotFound):
        await Members(store.log, GROUP).heartbeat(ADA)


async def test_a_group_whose_lease_somebody_holds_is_deleted_only_by_force(store: EventStore) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    await take(store, GROUP, 2, "a-member-that-is-not-listed")
    with pytest.raises(WrongState, match="a-member-that-is-not-listed"):
        await delete_group(store, GROUP, who="ada")
    await delete_group(store, GROUP, who="ada", force=True)


async def test_a_group_that_was_half_deleted_is_seen_and_deleted_not_completed(
    store: EventStore, server: Server
) -> None:
    await filled(store)
    await create_group(store, GROUP, EARLIEST, who="ada")
    home = home_of(GROUP, store.log.partitions)
    lost = next(p for p in range(store.log.partitions) if p != home)
    server.admin("DEL", *keys_of(store, lost).all)
    shape = await describe_group(store, GROUP)
    assert (shape.state, shape.missing) == ("incomplete", (lost,))
    with pytest.raises(GroupNotFound, match="has lost its part"):
        await create_group(store, GROUP, LATEST, who="ada")
    await delete_group(store, GROUP, who="ada")
    assert (await create_group(store, GROUP, LATEST, who="ada")).lag == 0


async def test_the_part_of_the_home_partition_goes_last(store: EventStore, server: Server) -> None:
    await create_group(store, GROUP, EARLIEST, who="ada")
    with monitored(server) as monitor:
        await delete_group(store, GROUP, who="ada")
        deletions = [call for call in monitor.calls() if any(words[0] == b"UNLINK" for words in call.inner)]
    home = keys_of(store, home_of(GROUP, store.log.partitions))
    assert [home.control.encode() in call.declared for call in deletions] == [False, False, False, True]
    assert all(call.touched <= call.declared for call in deletions)


# ---- elsewhere ----


async def test_groups_of_a_cluster_are_made_seen_paused_and_deleted_alike() -> None:
    async with redis_cluster() as nodes:
        where = replace(nodes[0].settings, cluster=True)
        async with open_store(where, partitions=6) as store:
            await filled(store)
            assert (await create_group(store, GROUP, EARLIEST, who="ada")).lag == 24
            await take(store, GROUP, 4, ADA.id)
            assert [each.held for each in await list_groups(store)] == [1]
            assert (await pause_group(store, GROUP, who="ada")).state == "paused"
            assert (await resume_group(store, GROUP, who="ada")).state == "running"
            await delete_group(store, GROUP, who="ada", force=True)
            assert await list_groups(store) == []
        assert [key for node in nodes for key in node.admin("KEYS", "*g:*")] == []
