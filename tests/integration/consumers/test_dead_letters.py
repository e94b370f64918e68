"""Dead letters as operators see and deal with them, of consumers that run against a real server."""

import time
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers.consumer import consumer
from consumers.context import Context
from consumers.dead_letters import Where, cursor_of, discard, export_letters, retry, show_letter, stats
from consumers.errors import DeadLetterNotFound, GroupNotFound, InvalidRequest, OrderUnanswered
from consumers.groups import create_group, pause_group, resume_group
from consumers.keys import GroupKeys, group_keys
from consumers.lease_calls import acquire, release
from consumers.retry import Fixed, Immediate
from consumers.start import Start
from consumers.state import Stored, Token
from eventstore import EventStore, NewEvent, Untyped, event
from eventstore.jobs import WrongState
from eventstore.partitions import partition_of
from tests.support.letters import Declined, Placed, Shop, audited, listed, park, pending, until_listed
from tests.support.running import owners, running
from tests.support.servers import Server, redis_cluster, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
GROUP = "charge-cards"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed]) as one:
        yield one


async def hold(store: EventStore, stream: str, member: str, *, lease_ms: int = 60_000) -> tuple[GroupKeys, Token]:
    """Takes the lease of the stream's partition, for somebody who then does nothing."""
    keys = group_keys(store.log.keys, GROUP, partition_of(stream, store.log.partitions))
    stored = await acquire(store.log, keys, member, lease_ms)
    assert isinstance(stored, Stored)
    return keys, stored.token(member)


async def orders_of(store: EventStore, stream: str) -> int:
    """How many orders, or outcomes of some, lie in the partition of a stream."""
    orders = group_keys(store.log.keys, GROUP, partition_of(stream, store.log.partitions)).orders
    there: int = await store.log.redis.execute(orders, "HLEN", orders)
    return there - 1


# ---- the cases ----


async def test_c13_a_letter_has_the_exact_number_of_attempts_also_if_one_raises_after_its_time(
    store: EventStore,
) -> None:
    calls = []

    @consumer(GROUP, retry=Immediate(3), timeout=0.05)
    def charge(event: Placed, ctx: Context) -> None:
        calls.append(ctx.attempt)
        while ctx.attempt < 3 and time.monotonic() < ctx.deadline + 0.1:
            continue  # a thread cannot be stopped: it raises when its time is long over
        raise Declined(f"attempt {ctx.attempt}")

    await store.append("order-42", [Placed(1)])
    async with running(store, charge):
        (letter,) = await until_listed(store, 1)
        assert (letter.attempts, letter.message, letter.version) == (3, "attempt 3", 1)
        assert calls == [1, 2, 3]
        assert await pending(store) == {"parked": ["order-42@1x3"]}
    assert await listed(store) == [letter]


async def test_c14_the_letter_and_what_waits_behind_it_are_shown_and_handled_in_their_order(store: EventStore) -> None:
    shop = Shop(lambda event: event.version == 9)
    await store.append("order-42", [Placed(n) for n in range(1, 12)])
    async with running(store, shop.charging()):
        await until_listed(store, 1)
        shown = await show_letter(store, GROUP, "order-42")
        assert [each.version for each in shown.events] == [9, 10, 11]
        assert (shown.version, shown.waiting, shown.state) == (9, 2, "parked")
        shop.mend()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.append, "order-42", [Placed(12)])
            assert (await retry(store, GROUP, ["order-42"], who="ada")).done == 1
        await until(lambda: len(shop.handled) == 12)
    assert shop.handled == [("order-42", version) for version in range(1, 13)]
    assert await listed(store) == []
    assert await pending(store) == {}


@pytest.mark.parametrize("is_held", [True, False], ids=["with a member", "without"])
@pytest.mark.parametrize("other", [retry, discard], ids=lambda each: each.__name__)
async def test_c16_of_two_orders_at_once_one_wins_and_the_other_is_told_so(
    store: EventStore, is_held: bool, other: object
) -> None:
    streams = [f"order-{n}" for n in range(8)]
    await park(store, streams, events=2)
    shop = Shop()
    outcomes: dict[str, list[str]] = {stream: [] for stream in streams}

    async def send(kind: object, stream: str, who: str) -> None:
        try:
            await (retry if kind is retry else discard)(store, GROUP, [stream], who=who, why=f"{who} says so")
        except WrongState as error:
            outcomes[stream].append(error.detail)
        else:
            outcomes[stream].append("done")

    async def send_all() -> None:
        async with anyio.create_task_group() as tasks:
            for stream in streams:
                tasks.start_soon(send, retry, stream, "ada")
                tasks.start_soon(send, other, stream, "bob")

    if is_held:
        async with running(store, shop.charging()):
            async for _ in tries():
                if all(await owners(store, GROUP)):
                    break
            await send_all()
    else:
        await send_all()
        async with running(store, shop.charging()):
            await until_listed(store, len(streams))
    for stream, told in outcomes.items():
        done, late = sorted(told)
        assert (done, late.partition(":")[0]) == ("done", f"too late for {stream}")
        assert ("ada was first" in late) != ("bob was first" in late)
        assert shop.calls.count((stream, 1)) <= 1
    entries = await audited(store, "dlq-retry", "dlq-discard")
    for stream in streams:
        of_it = [who for who, _, _, facts in entries if facts["letters"] == [{"stream": stream, "version": 1}]]
        assert sorted(of_it) == ["ada", "bob"]
    assert len(await audited(store, "dlq-retry-outcome", "dlq-discard-outcome")) == 2 * len(streams)


# ---- seeing ----


async def test_a_letter_tells_why_it_fails_and_what_waits(store: EventStore) -> None:
    await park(store, ["order-42"], events=5)
    (letter,) = await listed(store)
    assert (letter.group, letter.stream, letter.version, letter.state) == (GROUP, "order-42", 1, "parked")
    assert (letter.type, letter.attempts, letter.waiting) == ("Placed", 1, 4)
    assert (letter.error, letter.message) == ("Declined", "no funds for order-42")
    assert letter.where.startswith("letters.py:")
    assert letter.parked_at == letter.failed_at == letter.first_failed_at
    assert letter.due_at is None
    detail = await show_letter(store, GROUP, "order-42", limit=2)
    assert 'raise Declined(f"no funds for {event.stream}")' in detail.traceback
    assert [(each.version, each.data) for each in detail.events] == [(1, Placed(1)), (2, Placed(2))]
    later = await show_letter(store, GROUP, "order-42", from_version=4)
    assert [each.version for each in later.events] == [4, 5]


async def test_what_waits_for_its_next_attempt_is_listed_if_wanted(store: EventStore) -> None:
    shop = Shop()
    await store.append("order-42", [Placed(1)])
    async with running(store, shop.charging(retry=Fixed("1h", immediate=1))):
        (letter,) = await until_listed(store, 1, retrying=True)
        assert await listed(store) == []
        assert (letter.state, letter.attempts, letter.parked_at) == ("retrying", 1, None)
        assert letter.due_at is not None
        assert letter.due_at > (letter.failed_at or "")
        assert (await show_letter(store, GROUP, "order-42")).state == "retrying"
        assert await pending(store) == {"retrying": ["order-42@1x1"]}
        shop.mend()
        await retry(store, GROUP, ["order-42"], who="ada")
        await until(lambda: shop.handled == [("order-42", 1)])


async def test_letters_are_chosen_by_error_type_name_and_age(store: EventStore) -> None:
    await park(store, ["order-1", "order-2", "invoice-1"])
    async with running(store, Shop(lambda event: event.stream == "order-2").charging("mailer")):
        await until_listed(store, 1, "mailer")
    names = [(each.group, each.stream) for each in await listed(store)]
    assert sorted(names[:3]) == [(GROUP, "invoice-1"), (GROUP, "order-1"), (GROUP, "order-2")]
    assert names[3:] == [("mailer", "order-2")]

    async def chosen(**where: object) -> list[str]:
        return sorted(each.stream for each in await listed(store, GROUP, Where(**where)))  # type: ignore[arg-type]

    everything = ["invoice-1", "order-1", "order-2"]
    assert await chosen(category="order") == ["order-1", "order-2"]
    assert await chosen(prefix="order-2") == ["order-2"]
    assert await chosen(error="Declined", type="Placed") == everything
    assert await chosen(error="Declined", type="Shipped") == []
    assert await chosen(error="KeyError") == []
    assert await chosen(older_than_seconds=0.0) == everything
    assert await chosen(older_than_seconds=3_600.0) == []
    with pytest.raises(GroupNotFound, match="did you mean mailer"):
        await listed(store, "mailr")


async def test_pages_go_on_behind_a_cursor_whatever_has_changed_meanwhile(store: EventStore) -> None:
    streams = [f"order-{n}" for n in range(12)]
    await park(store, streams)
    everything = await listed(store)
    assert sorted(each.stream for each in everything) == sorted(streams)
    first = await listed(store, limit=5)
    await discard(store, GROUP, [first[-1].stream, everything[7].stream], who="ada", why="gone")
    rest = await listed(store, after=cursor_of(first[-1]), limit=100)
    assert first == everything[:5]
    assert rest == [*everything[5:7], *everything[8:]]
    with pytest.raises(InvalidRequest, match="cursor"):
        await listed(store, after="neverGiven")


async def test_statistics_count_by_group_type_and_error(store: EventStore) -> None:
    await park(store, ["order-1", "order-2"], events=3)
    await create_group(store, "idle", Start("latest"), who="ada")
    shop = Shop()
    async with running(store, shop.charging("mailer", retry=Fixed("1h", immediate=1))):
        await until_listed(store, 2, "mailer", retrying=True)
    found = await stats(store)
    assert (found.parked, found.waiting, found.retrying) == (2, 4, 2)
    assert found.oldest_seconds is not None
    assert 0 <= found.oldest_seconds < 60
    assert {name: (each.parked, each.waiting, each.retrying) for name, each in found.by_group.items()} == {
        GROUP: (2, 4, 0),
        "mailer": (0, 0, 2),
    }
    assert {name: (each.parked, each.retrying) for name, each in found.by_type.items()} == {"Placed": (2, 2)}
    assert list(found.by_error) == ["Declined"]
    assert (await stats(store, "idle")).oldest_seconds is None


async def test_an_export_has_each_event_with_its_failure(store: EventStore) -> None:
    await park(store, ["order-1", "order-2"], events=2)
    lines = [msgspec.json.decode(line) async for line in export_letters(store)]
    assert sorted(line["event"]["stream"] for line in lines) == ["order-1", "order-2"]
    for line in lines:
        assert line["event"]["data"] == {"n": 1}
        assert line["event"]["id"] == line["failure"]["event_id"]
        assert "Traceback" in line["failure"]["traceback"]


async def test_an_event_that_cannot_be_decoded_is_shown_as_it_is_stored(server: Server) -> None:
    @event(name="Placed")
    class Strict(Struct, frozen=True):
        n: str

    seen = []

    @consumer(GROUP)
    async def charge(event: Strict) -> None:
        seen.append(event)

    async with (
        open_store(server, types=[], prefix="two-ways") as older,
        open_store(server, types=[Strict], prefix="two-ways") as store,
    ):
        await older.append("order-42", [NewEvent(data=Untyped("Placed", {"n": 7}))])
        async with running(store, charge):
            (letter,) = await until_listed(store, 1)
        assert (letter.type, letter.error) == ("Placed", "InvalidEvent")
        shown = await show_letter(store, GROUP, "order-42")
        assert [each.data for each in shown.events] == [{"n": 7}]
        (line,) = [msgspec.json.decode(line) async for line in export_letters(store)]
        assert line["event"]["data"] == {"n": 7}
    assert seen == []


# ---- retrying and discarding ----


async def test_a_discarded_letter_is_never_handled_and_the_stream_goes_on_behind_it(store: EventStore) -> None:
    shop = Shop(lambda event: event.version == 1)
    await store.append("order-42", [Placed(1), Placed(2)])
    async with running(store, shop.charging()):
        await until_listed(store, 1)
        done = await discard(store, GROUP, ["order-42"], who="ada", why="a test order")
        assert (done.done, done.events, done.by_holder) == (1, 2, True)
        await until(lambda: shop.handled == [("order-42", 2)])
    assert shop.calls == [("order-42", 1), ("order-42", 2)]
    assert await audited(store, "dlq-discard", "dlq-discard-outcome") == [
        ("ada", "dlq-discard", "a test order", {"group": GROUP, "letters": [{"stream": "order-42", "version": 1}]}),
        (
            "ada",
            "dlq-discard-outcome",
            None,
            {"group": GROUP, "of": 1, "done": [{"stream": "order-42", "version": 1}]},
        ),
    ]
    assert await orders_of(store, "order-42") == 0


@pytest.mark.parametrize("why", ["", "  "])
async def test_a_discard_needs_a_reason(store: EventStore, why: str) -> None:
    await park(store, ["order-42"])
    with pytest.raises(InvalidRequest) as refused:
        await discard(store, GROUP, ["order-42"], who="ada", why=why)
    assert refused.value.field == "reason"
    assert len(await listed(store)) == 1


async def test_without_a_member_the_command_carries_its_order_out_itself(store: EventStore) -> None:
    await park(store, ["order-1", "order-2", "order-3"], events=2)
    done = await retry(store, GROUP, ["order-1", "order-3"], who="ada")
    assert (done.done, done.events, done.by_holder) == (2, 4, False)
    assert await pending(store) == {"parked": ["order-2@1x1"], "retrying": ["order-1@1x0", "order-3@1x0"]}
    assert await owners(store, GROUP) == ["", "", "", ""]
    assert (await discard(store, GROUP, ["order-2"], who="ada", why="gone")).by_holder is False
    shop = Shop(lambda _: False)
    async with running(store, shop.charging()):
        await until(lambda: len(shop.handled) == 5)
    assert sorted(shop.handled) == [("order-1", 1), ("order-1", 2), ("order-2", 2), ("order-3", 1), ("order-3", 2)]


async def test_a_retry_that_fails_again_has_all_its_attempts(store: EventStore) -> None:
    shop = Shop()
    await store.append("order-42", [Placed(1)])
    async with running(store, shop.charging(retry=Immediate(3))):
        (first,) = await until_listed(store, 1)
        assert first.attempts == 3
        await retry(store, GROUP, ["order-42"], who="ada")
        await until(lambda: len(shop.calls) == 6)
        (again,) = await until_listed(store, 1)
        assert again.attempts == 3
        assert (again.parked_at or "") > (first.parked_at or "")
        await retry(store, GROUP, ["order-42"], who="ada")  # it is another one now: nobody is in the way
        await until(lambda: len(shop.calls) == 9)


async def test_what_is_not_there_and_what_has_moved_on_is_refused_before_anything_is_done(store: EventStore) -> None:
    await park(store, ["order-1", "order-2"], events=2)
    with pytest.raises(DeadLetterNotFound) as missing:
        await retry(store, GROUP, ["order-1", "order-9"], who="ada")
    assert missing.value.stream == "order-9"
    with pytest.raises(GroupNotFound):
        await discard(store, "nobody", ["order-1"], who="ada", why="gone")
    with pytest.raises(WrongState, match="order-1 has moved on in charge-cards: version 1 fails by now, not 7"):
        await discard(store, GROUP, ["order-1"], who="ada", why="gone", versions={"order-1": 7})
    with pytest.raises(InvalidRequest):
        await retry(store, GROUP, [], who="ada")
    assert len(await listed(store)) == 2
    assert await audited(store, "dlq-retry", "dlq-discard") == []


async def test_a_holder_that_does_not_answer_is_reported_and_the_order_withdrawn(store: EventStore) -> None:
    await park(store, ["order-42"])
    before = await listed(store)
    await hold(store, "order-42", "deaf")
    with pytest.raises(OrderUnanswered) as unanswered:
        await retry(store, GROUP, ["order-42"], who="ada", wait_seconds=0.3)
    assert unanswered.value.streams == ("order-42",)
    assert await orders_of(store, "order-42") == 0
    assert await listed(store) == before
    (outcome,) = await audited(store, "dlq-retry-outcome")
    assert outcome[3]["unanswered"] == [{"stream": "order-42", "version": 1}]


async def test_the_order_for_a_holder_that_has_died_is_carried_out_when_its_lease_is_over(store: EventStore) -> None:
    await park(store, ["order-42"])
    await hold(store, "order-42", "dying", lease_ms=700)
    done = await retry(store, GROUP, ["order-42"], who="ada")
    assert (done.done, done.by_holder) == (1, False)
    assert [each.state for each in await listed(store, retrying=True)] == ["retrying"]


async def test_a_holder_that_comes_while_the_command_waits_finds_the_order(store: EventStore) -> None:
    await park(store, ["order-42"])
    keys, token = await hold(store, "order-42", "leaving")
    shop = Shop(lambda _: False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: retry(store, GROUP, ["order-42"], who="ada"))
        async for _ in tries():
            if await orders_of(store, "order-42"):
                break
        assert await release(store.log, keys, token)
        async with running(store, shop.charging()):
            await until(lambda: shop.handled == [("order-42", 1)])
    assert await orders_of(store, "order-42") == 0


async def test_a_command_that_is_cancelled_leaves_no_order_behind(store: EventStore) -> None:
    await park(store, ["order-42"])
    await hold(store, "order-42", "deaf")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: retry(store, GROUP, ["order-42"], who="ada"))
        async for _ in tries():
            if await orders_of(store, "order-42"):
                break
        tasks.cancel_scope.cancel()
    assert await orders_of(store, "order-42") == 0
    assert len(await listed(store)) == 1


async def test_a_paused_group_takes_orders(store: EventStore) -> None:
    shop = Shop()
    await store.append("order-42", [Placed(1)])
    async with running(store, shop.charging()):
        await until_listed(store, 1)
        await pause_group(store, GROUP, who="ada")
        shop.mend()
        assert (await retry(store, GROUP, ["order-42"], who="ada")).by_holder
        assert shop.handled == []
        await resume_group(store, GROUP, who="ada")
        await until(lambda: shop.handled == [("order-42", 1)])


async def test_on_a_cluster_all_is_the_same() -> None:
    async with (
        redis_cluster() as nodes,
        open_store(replace(nodes[0].settings, cluster=True), types=[Placed], partitions=6) as store,
    ):
        streams = [f"order-{n}" for n in range(9)]
        await park(store, streams, events=2)
        assert sorted(each.stream for each in await listed(store)) == streams
        assert (await stats(store)).waiting == 9
        assert [each.version for each in (await show_letter(store, GROUP, "order-3")).events] == [1, 2]
        assert (await retry(store, GROUP, streams[:5], who="ada")).by_holder is False
        shop = Shop(lambda _: False)
        async with running(store, shop.charging()):
            await until(lambda: len(shop.handled) == 10)
            assert (await retry(store, GROUP, streams[5:], who="ada")).done == 4
            await until(lambda: len(shop.handled) == 18)
        assert await listed(store, retrying=True) == []
