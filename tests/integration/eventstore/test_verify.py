"""Each damage done to a real log, by raw commands, is told by exactly one finding; a healthy log has none."""

import struct
from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID, uuid4

import anyio
import pytest
from msgspec import Struct

from eventstore import audit
from eventstore.envelope import Metadata, NewEvent, Priority, Untyped
from eventstore.errors import EventsMissing
from eventstore.fold import Fold
from eventstore.jobs import running
from eventstore.log import Log
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from eventstore.verify import CHECKS, Finding, Findings, OnProgress, verify
from eventstore.verify.findings import MAX_ALIKE
from tests.support.fixtures import server_fixture
from tests.support.servers import Server
from tests.support.stores import open_store, rewrite, settings_of

pytestmark = pytest.mark.anyio

URGENT = Metadata(priority=Priority.HIGH)


class Damage:
    """A log of one partition: order-1 has versions 1, 2, 3 at positions 1, 2, 4, the last of them urgent; order-2 has
    version 1 at position 3."""

    def __init__(self, server: Server, store: EventStore) -> None:
        self.redis, self.store, self.keys = server, store, store.log.keys
        self.events, self.head, self.urgent = self.keys.events(0), self.keys.head(0), self.keys.urgent(0)

    def index(self, stream: str) -> str:
        return self.keys.index(0, stream)

    def entry(self, position: int) -> tuple[bytes, bytes]:
        """Id and value."""
        entries: Sequence[tuple[bytes, tuple[bytes, bytes]]] = self.redis.admin("XRANGE", self.events, "-", "+")
        return next((at, fields[1]) for at, fields in entries if at.endswith(b"-%d" % position))

    def entry_id(self, position: int) -> bytes:
        return self.entry(position)[0]

    def replace(self, position: int, change: Callable[[bytes], bytes]) -> None:
        rewrite(self.redis, self.events, lambda at, value: change(value) if at == position else value)

    async def findings(self) -> list[Finding]:
        return await verify(self.store.log)

    async def only(self) -> Finding:
        (finding,) = await self.findings()
        assert finding.partition == 0
        return finding


server = server_fixture(scope="module")


@pytest.fixture
async def log(server: Server) -> AsyncIterator[Damage]:
    async with open_store(server, partitions=1) as store:
        await store.append("order-1", [placed(1), placed(2)])
        await store.append("order-2", [placed(3)])
        await store.append("order-1", [placed(4)], metadata=URGENT)
        damage = Damage(server, store)
        assert await damage.findings() == []
        yield damage


class OrderPlaced(Struct, frozen=True):
    total: int


def placed(total: int, event_id: UUID | None = None, metadata: Metadata | None = None) -> NewEvent:
    return NewEvent(data=Untyped("OrderPlaced", {"total": total}), id=event_id, metadata=metadata)


def with_version(version: int) -> Callable[[bytes], bytes]:
    return lambda value: value[:9] + version.to_bytes(6, "big") + value[15:]


def with_time(change: int) -> Callable[[bytes], bytes]:
    return lambda value: value[:1] + struct.pack(">Q", struct.unpack_from(">Q", value, 1)[0] + change) + value[9:]


# ---- healthy logs ----


async def test_a_log_in_full_use_has_no_finding(server: Server) -> None:
    async with open_store(server) as store:
        receipt = await store.append("order-1", [placed(1, uuid4()), placed(2, uuid4())])
        for number in range(50):
            receipt = await store.append(f"order-{number % 7}", [placed(number)], causes=[receipt], metadata=URGENT)
        async with running(store, "import", "ada"):
            await audit.record(store, "ada", "pause")
        assert await verify(store.log) == []


async def test_an_empty_log_has_no_finding(server: Server) -> None:
    async with open_store(server) as store:
        assert await verify(store.log) == []


async def test_a_log_of_several_epochs_has_no_finding(log: Damage) -> None:
    for replid in ("another", "a third"):
        log.redis.admin("HSET", log.head, "replid", replid)  # as if another server process had written it
        await log.store.append("order-1", [placed(9)])
    assert len(log.redis.admin("HGET", log.head, "epochs").split(b",")) == 3
    assert await log.findings() == []


async def test_long_streams_and_pages_of_all_sizes_have_no_finding(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        for _ in range(25):
            await store.append("long-1", [placed(number) for number in range(1_000)], metadata=URGENT)
        await store.append("large-1", [NewEvent(data=Untyped("Large", "x" * 500_000)) for _ in range(16)])
        seen: list[tuple[int, int]] = []

        async def on_progress(done: int, total: int) -> None:
            seen.append((done, total))

        assert await verify(store.log, on_progress) == []
        assert seen == sorted(seen)
        assert seen[-1] == (25_016, 25_016)
        server.admin("LSET", store.log.keys.index(0, "long-1"), 20_000, 7)
        assert [f.detail for f in await verify(store.log)] == ["version 20000 is at position 20000, the index says 7"]


async def test_writers_beside_it_cause_no_alarm(server: Server) -> None:
    async with open_store(server, partitions=2, types=[OrderPlaced]) as store:
        writing = True

        async def write(stream: str) -> None:
            number = 0
            while writing:
                number += 1
                await store.append(
                    f"{stream}-{number % 150}", [placed(1, uuid4()), placed(2, uuid4())], metadata=URGENT
                )
                await store.snapshot(f"{stream}-{number % 7}", TOTAL)

        async with anyio.create_task_group() as tasks:
            for stream in ("a", "b", "c"):
                tasks.start_soon(write, stream)
            for _ in range(15):
                assert await verify(store.log) == []
            writing = False
        assert sum(position for _, position in (await store.heads()).places) > 100


# ---- snapshots ----

TOTAL = Fold(0, lambda state, event: state + 1)


@pytest.fixture
async def kept(log: Damage) -> Damage:
    """With snapshots of both streams; OrderPlaced is a type that the process knows."""
    log.store.log.types.add(OrderPlaced)
    assert [await log.store.snapshot(stream, TOTAL) for stream in ("order-1", "order-2")] == [3, 1]
    assert await log.findings() == []
    return log


async def test_snapshots_of_events_that_the_log_has_are_well(kept: Damage) -> None:
    await kept.store.append("order-1", [placed(5)])
    await kept.store.append("x}:snap:order-1", [placed(5)])
    await kept.store.snapshot("x}:snap:order-1", TOTAL)
    kept.redis.admin("HSET", kept.head, "replid", "another")
    await kept.store.append("order-2", [placed(6)])
    await kept.store.snapshot("order-2", TOTAL)
    assert await kept.findings() == []


@pytest.mark.parametrize(("field", "change"), [("version", 1), ("position", -1), ("position", 5), ("epoch", 1)])
async def test_a_snapshot_of_an_event_that_the_log_does_not_have_is_told(kept: Damage, field: str, change: int) -> None:
    key = kept.keys.snapshot(0, "order-1")
    kept.redis.admin("HSET", key, field, int(kept.redis.admin("HGET", key, field)) + change)
    version, epoch, position = map(int, kept.redis.admin("HMGET", key, "version", "epoch", "position"))
    said = f"its snapshot is of version {version} at {epoch}-{position}, which is not in the log: it is put aside"
    assert await kept.only() == Finding(2, 0, "order-1", said)


async def test_a_snapshot_of_a_stream_that_the_log_does_not_have_is_told(kept: Damage) -> None:
    kept.redis.admin("RENAME", kept.keys.snapshot(0, "order-1"), kept.keys.snapshot(0, "order-3"))
    assert (await kept.only()).where == "order-3"


async def test_a_snapshot_that_is_none_is_told(kept: Damage) -> None:
    kept.redis.admin("HDEL", kept.keys.snapshot(0, "order-1"), "epoch")
    kept.redis.admin("DEL", kept.keys.snapshot(0, "order-2"))
    kept.redis.admin("SET", kept.keys.snapshot(0, "order-2"), "x")
    detail = "its snapshot is damaged, so it is put aside"
    assert sorted((f.where, f.detail) for f in await kept.findings()) == [("order-1", detail), ("order-2", detail)]


# ---- positions, epochs, the head ----


async def test_a_deleted_event_is_a_hole(log: Damage) -> None:
    log.redis.admin("XDEL", log.events, log.entry_id(2))
    assert await log.only() == Finding(2, 0, "position 2", "the event at this position is not in the log")


async def test_a_log_cut_at_its_begin_lacks_positions(log: Damage) -> None:
    log.redis.admin("XTRIM", log.events, "MAXLEN", 1)
    assert await log.only() == Finding(2, 0, "positions 1 to 3", "3 events are not in the log")


async def test_a_log_cut_at_its_end_lacks_positions(log: Damage) -> None:
    log.redis.admin("XDEL", log.events, log.entry_id(4))
    assert (await log.only()).where == "position 4"


async def test_an_entry_behind_the_head_is_told(log: Damage) -> None:
    entry_id, value = log.entry(4)
    log.redis.admin("XADD", log.events, entry_id.replace(b"-4", b"-5"), "e", value)
    found = await log.findings()
    assert found[0].detail == "the head says that 4 is the last position, the log goes on to 5"


async def test_an_entry_out_of_order_is_told(log: Damage) -> None:
    epoch = int(log.entry_id(4).partition(b"-")[0]) + 1
    log.redis.admin("XADD", log.events, f"{epoch}-2", "e", log.entry(2)[1])
    found = await log.findings()
    assert f"the entry {epoch}-2 comes after position 4" in [f.detail for f in found]


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("pos", 3, "the head says that 3 is the last position, the log goes on to 4"),
        ("last", 5, "the head says that the newest event is of 5, the log has one of"),
        ("number", 1, "the head numbers in epoch 1, below the epoch"),
        ("noted", 1, "the head says that its newest entry is of epoch 1, and that the newest epoch is"),
        ("epochs", "oops", "the epochs of a partition are unreadable"),
        ("pos", "oops", "the head of this partition is missing or unreadable"),
    ],
)
async def test_a_wrong_head_is_told(log: Damage, field: str, value: str | int, detail: str) -> None:
    log.redis.admin("HSET", log.head, field, value)
    finding = await log.only()
    assert (finding.invariant, finding.where) == (2, log.head)
    assert finding.detail.startswith(detail)


async def test_epochs_that_the_log_does_not_have_are_told(log: Damage) -> None:
    epoch = log.entry_id(1).partition(b"-")[0].decode()
    log.redis.admin("HSET", log.head, "epochs", f"5:1,{epoch}:3")
    assert (
        await log.only()
    ).detail == f"the head says epoch 5 from position 1, the log has epoch {epoch} from position 1"


async def test_a_head_that_is_gone_is_told(log: Damage) -> None:
    log.redis.admin("DEL", log.head)
    assert (await log.only()).detail.startswith("the head of this partition is missing")


async def test_a_clock_that_goes_back_is_told(log: Damage) -> None:
    log.replace(3, with_time(-1_000_000_000))
    finding = await log.only()
    assert (finding.invariant, finding.where) == (2, "position 3")
    assert finding.detail.startswith("recorded_at goes back by ")


# ---- entries ----


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda value: b"nonsense", "is not an event"),
        (lambda value: b"\x09" + value[1:], "has format 9"),
        (lambda value: value[:-3], "is cut off"),
    ],
)
async def test_an_entry_that_is_no_event_is_told(log: Damage, change: Callable[[bytes], bytes], detail: str) -> None:
    log.replace(3, change)
    finding = await log.only()
    assert (finding.invariant, finding.where) == (1, "position 3")
    assert detail in finding.detail


async def test_a_foreign_entry_is_told(log: Damage) -> None:
    entries = [log.entry(position) for position in (1, 2, 3, 4)]
    log.redis.admin("DEL", log.events)
    for entry_id, value in entries:
        odd = (b"name", b"ada", b"age", b"36")
        log.redis.admin("XADD", log.events, entry_id, *(odd if entry_id.endswith(b"-3") else (b"e", value)))
    assert (await log.only()).detail == "this entry is no event: its fields are [b'name', b'age']"


async def test_data_that_is_no_json_is_told(log: Damage) -> None:
    log.replace(3, lambda value: value.replace(b'{"total":3}', b'{"total":]}'))
    assert (await log.only()).detail.startswith("OrderPlaced version 1 does not decode")


# ---- streams and their index ----


async def test_a_version_that_is_skipped_is_told(log: Damage) -> None:
    log.replace(4, with_version(4))
    finding = await log.only()
    assert (finding.invariant, finding.where) == (2, "order-1")
    assert finding.detail == "the index has version 3 at position 4, where another event or none is"


async def test_a_version_far_off_is_told(log: Damage) -> None:
    log.replace(4, with_version(10**9))
    assert (await log.only()).detail == "version 2 is followed by version 1000000000, at position 4"


async def test_a_version_that_is_there_twice_is_told(log: Damage) -> None:
    log.replace(4, with_version(2))
    assert (await log.only()).detail == "version 2 is there at position 2 and again at 4"


async def test_a_skipped_version_that_the_index_skips_too_is_told(log: Damage) -> None:
    log.replace(4, with_version(4))
    log.redis.admin("RPUSH", log.index("order-1"), 4)
    log.redis.admin("LSET", log.index("order-1"), 3, 0)
    assert (await log.only()).detail == "the index has version 3 at position 0, where another event or none is"


async def test_an_index_entry_that_points_elsewhere_is_told(log: Damage) -> None:
    log.redis.admin("LSET", log.index("order-1"), 2, 3)
    assert await log.only() == Finding(2, 0, "order-1", "version 2 is at position 2, the index says 3")


async def test_an_event_without_an_index_entry_is_told(log: Damage) -> None:
    log.redis.admin("RPOP", log.index("order-1"))
    assert await log.only() == Finding(2, 0, "order-1", "version 3, at position 4, is not in the index")


async def test_an_index_entry_without_an_event_is_told(log: Damage) -> None:
    log.redis.admin("RPUSH", log.index("order-1"), 3)
    assert (await log.only()).detail == "the index has version 4 at position 3, where another event or none is"


async def test_an_index_entry_beyond_the_head_is_told(log: Damage) -> None:
    log.redis.admin("RPUSH", log.index("order-1"), 99)
    assert (await log.only()).detail == "the index has version 4 at position 99, where another event or none is"


async def test_an_index_that_is_gone_is_told(log: Damage) -> None:
    log.redis.admin("DEL", log.index("order-2"))
    assert await log.only() == Finding(2, 0, "order-2", "version 1, at position 3, is not in the index")


async def test_an_index_of_a_stream_without_events_is_told(log: Damage) -> None:
    log.redis.admin("RPUSH", log.index("ghost-1"), 0, 2)
    assert (await log.only()).where == "ghost-1"


async def test_an_index_with_a_wrong_base_is_told(log: Damage) -> None:
    log.redis.admin("LSET", log.index("order-1"), 0, 7)
    assert (await log.only()).detail == "its index says that 7 events are archived, and none ever was"


async def test_an_index_that_is_no_list_of_positions_is_told(log: Damage) -> None:
    log.redis.admin("LSET", log.index("order-1"), 1, "x")
    assert (await log.only()).detail == "its index holds something that is no position"
    log.redis.admin("SET", log.index("order-1"), "x")
    assert (await log.only()).detail.startswith("its index cannot be read: WRONGTYPE")


async def test_a_stream_in_a_partition_that_is_not_its_own_is_told(server: Server) -> None:
    async with open_store(server, partitions=2) as store:
        here, there = (next(s for s in (f"order-{n}" for n in range(99)) if partition_of(s, 2) == p) for p in (0, 1))
        await store.append(here, [placed(1)])
        keys = store.log.keys
        rewrite(server, keys.events(0), lambda _, value: value.replace(here.encode(), there.encode()))
        server.admin("RENAME", keys.index(0, here), keys.index(0, there))
        assert await verify(store.log) == [
            Finding(2, 0, there, "this stream belongs to partition 1, and has events in 0")
        ]


# ---- urgent events, ids, causes ----


async def test_an_urgent_event_that_its_index_lacks_is_told(log: Damage) -> None:
    log.redis.admin("XTRIM", log.urgent, "MAXLEN", 0)
    detail = "this urgent event is not in the index of urgent events"
    assert await log.only() == Finding(2, 0, "position 4", detail)


async def test_an_urgent_entry_for_an_event_that_is_not_urgent_is_told(log: Damage) -> None:
    log.redis.admin("DEL", log.urgent)
    for position in (3, 4):
        log.redis.admin("XADD", log.urgent, log.entry_id(position), "p", "H")
    assert await log.only() == Finding(2, 0, "position 3", "the index of urgent events has it, and it is not urgent")


async def test_an_urgent_entry_with_another_epoch_or_priority_is_told(log: Damage) -> None:
    log.redis.admin("DEL", log.urgent)
    log.redis.admin("XADD", log.urgent, log.entry_id(4), "p", "C")
    assert "-4 C, the log as" in (await log.only()).detail
    log.redis.admin("DEL", log.urgent)
    log.redis.admin("XADD", log.urgent, "5-4", "p", "H")
    assert (await log.only()).detail.startswith("the index of urgent events has it as 5-4 H")


async def test_a_noted_id_that_points_to_another_event_is_told(log: Damage) -> None:
    event_id = uuid4()
    await log.store.append("order-1", [placed(5, event_id)])
    first, _ = log.keys.duplicates(0)
    for position in (1, 99):
        log.redis.admin("HSET", first, event_id.bytes, position)
        finding = await log.only()
        assert (finding.invariant, finding.where) == (1, first)
        assert finding.detail == f"event id {event_id} is noted for position {position}, which is not that event"


async def test_an_id_that_is_there_twice_is_told(server: Server) -> None:
    event_id = uuid4()
    async with open_store(server, partitions=2) as store:
        here, there = (next(s for s in (f"order-{n}" for n in range(99)) if partition_of(s, 2) == p) for p in (0, 1))
        for stream in (here, there):  # another partition does not know the id
            await store.append(stream, [placed(1, event_id)])
        twice = "this event id is in partition 0 at position 1, again in partition 1 at position 1"
        assert await verify(store.log) == [Finding(1, 1, str(event_id), twice)]


@pytest.mark.parametrize("cause_partition", [0, 1])
async def test_an_effect_before_its_cause_is_told(server: Server, cause_partition: int) -> None:
    async with open_store(server, partitions=2) as store:
        names = [next(s for s in (f"order-{n}" for n in range(99)) if partition_of(s, 2) == p) for p in (0, 1)]
        cause = await store.append(names[cause_partition], [placed(1)])
        await store.append(names[1 - cause_partition], [placed(2)], causes=[cause])
        rewrite(server, store.log.keys.events(1 - cause_partition), lambda _, value: with_time(-60_000_000)(value))
        (finding,) = await verify(store.log)
        assert (finding.invariant, finding.partition, finding.where) == (2, 1 - cause_partition, "position 1")
        assert f"before its cause, partition {cause_partition} position 1" in finding.detail


async def test_a_causation_id_that_is_not_in_the_log_is_no_damage(log: Damage) -> None:
    for causation_id in (str(uuid4()), "order form 7"):
        await log.store.append("order-1", [placed(5)], metadata=Metadata(causation_id=causation_id))
    assert await log.findings() == []


async def test_a_forged_audit_entry_is_told(log: Damage) -> None:
    for what in ("pause", "resume"):
        await audit.record(log.store, "ada", what)
    log.replace(5, lambda value: value.replace(b'"pause"', b'"purge"'))
    finding = await log.only()
    assert (finding.invariant, finding.where) == (1, "$audit version 1")
    assert finding.detail.startswith("the audit entry was changed after it was written")


# ---- as a whole ----


async def test_of_one_kind_twenty_are_told_and_the_others_counted(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        await store.append("order-1", [placed(number) for number in range(100)])
        for entry_id, _ in server.admin("XRANGE", store.log.keys.events(0), "-", "+")[::2]:
            server.admin("XDEL", store.log.keys.events(0), entry_id)
        found = await verify(store.log)
    assert len(found) == MAX_ALIKE + 1
    assert found[-1] == Finding(2, 0, "hole", "30 more findings of this kind")


async def test_floors_above_add_their_checks(log: Damage) -> None:
    async def check_groups(of: Log, findings: Findings, on_progress: OnProgress) -> None:
        findings.add("lease", 3, None, "mailer", f"of a log of {of.partitions} partition")

    assert await verify(log.store.log, checks=[*CHECKS, check_groups]) == [
        Finding(3, None, "mailer", "of a log of 1 partition")
    ]


async def test_types_that_the_process_knows_are_decoded_as_such(server: Server, log: Damage) -> None:
    class OrderPlaced(Struct, frozen=True):
        total: str

    same = settings_of(server, prefix=log.store.log.settings.prefix, partitions=1)
    async with EventStore.open(settings=same, types=[OrderPlaced]) as strict:
        assert {f.where for f in await verify(strict.log)} == {f"position {n}" for n in range(1, 5)}


async def test_a_failover_that_loses_events_meanwhile_is_told_as_such(log: Damage) -> None:
    async def on_progress(done: int, total: int) -> None:
        log.redis.admin("HSET", log.head, "pos", 2)  # what a replica has that is promoted too early

    with pytest.raises(EventsMissing, match=r"while it was being verified: 3 to 4"):
        await verify(log.store.log, on_progress)
