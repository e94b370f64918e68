"""Import and export: every line exactly once, whatever interrupts."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from eventstore import EventStore, EventStoreError, Filter, IdConflict, InvalidEvent, Untyped, WrongExpectedVersion
from eventstore.audit import entries
from eventstore.jobs import JobCancelled, list_jobs
from eventstore.transfer import Imported, export_events, import_events, lines
from eventstore.transfer.checkpoints import Checkpoints, ImportRunning
from infrastructure.settings import LogSettings, Settings
from tests.support.fixtures import debuggable_fixture
from tests.support.logs import Failover
from tests.support.servers import Server
from tests.support.stores import forget_ids

pytestmark = pytest.mark.anyio


server = debuggable_fixture()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    """Its duplicate window is over at once, so that nothing but what import itself keeps prevents doubles."""
    async with opened(server) as store:
        yield store


def opened(server: Server, prefix: str = "es") -> Any:
    log = LogSettings(prefix=prefix, partitions=4, durability="memory")
    return EventStore.open(settings=Settings(redis=server.settings, eventstore=log))


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstore.transfer.lines.WINDOW_LINES", 10)
    monkeypatch.setattr("eventstore.transfer.checkpoints.WINDOW_LINES", 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


def put(file: Path, *parts: str | bytes) -> None:
    file.write_bytes(b"".join(part.encode() if isinstance(part, str) else part for part in parts))


def get(file: Path) -> bytes:
    return file.read_bytes()


def write(file: Path, count: int, *, first: int = 0, streams: int = 7, mode: str = "w", **more: Any) -> None:
    with file.open(mode) as out:
        for n in range(first, first + count):
            out.write(json.dumps({"type": "Noted", "stream": f"note-{n % streams}", "data": {"n": n}, **more}) + "\n")


async def contents(store: EventStore) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    async for event in store.read_all():
        found.setdefault(event.stream, []).append(event.data["n"])
    return found


def expected(count: int, streams: int = 7) -> dict[str, list[int]]:
    return {f"note-{s}": list(range(s, count, streams)) for s in range(min(streams, count))}


async def load(store: EventStore, file: Path, **more: Any) -> Imported:
    return await import_events(store, file, who="ada", **more)


async def exported(store: EventStore, **more: Any) -> list[bytes]:
    return [line async for line in export_events(store, **more)]


async def test_every_line_is_imported_in_order(store: EventStore, file: Path) -> None:
    write(file, 95)
    done = await load(store, file)
    assert (done.lines, done.events, done.appended, done.already) == (95, 95, 95, 0)
    assert await contents(store) == expected(95)


async def test_an_import_that_was_done_adds_nothing(store: EventStore, file: Path) -> None:
    write(file, 30)
    await load(store, file)
    await forget_ids(store)
    again = await load(store, file)
    assert (again.appended, again.already) == (0, 30)
    assert await contents(store) == expected(30)


async def test_lines_added_at_the_end_are_imported_alone(store: EventStore, file: Path) -> None:
    write(file, 33)
    put(file, get(file).removesuffix(b"\n"))
    await load(store, file)
    put(file, get(file) + b"\n")
    write(file, 20, first=33, mode="a")
    again = await load(store, file)
    assert (again.appended, again.already) == (20, 33)
    assert await contents(store) == expected(53)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("when", ["before the checkpoint", "after the checkpoint"])
async def test_killed_at_any_window_it_goes_on_and_doubles_nothing(
    store: EventStore, file: Path, monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    write(file, 55)
    add, windows = Checkpoints.add, 0

    async def dying(self: Checkpoints, *arguments: Any) -> None:
        nonlocal windows
        windows += 1
        if windows == at and when == "before the checkpoint":
            raise Killed
        await add(self, *arguments)
        if windows == at:
            raise Killed

    monkeypatch.setattr(Checkpoints, "add", dying)
    with pytest.raises(Killed):
        await load(store, file)
    monkeypatch.setattr(Checkpoints, "add", add)
    await forget_ids(store)  # beyond the duplicate window, the log alone would write the rest again
    await store.append("note-0", [Untyped("Other", {"n": -1})])
    await load(store, file)
    found = await contents(store)
    found["note-0"].remove(-1)
    assert found == expected(55)


async def test_killed_in_the_middle_of_a_window_the_rest_of_it_is_appended(
    store: EventStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, 30)
    append, left = EventStore.append, 14

    async def dying(self: EventStore, *arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return await append(self, *arguments, **more)

    monkeypatch.setattr(EventStore, "append", dying)
    with pytest.raises((Killed, BaseExceptionGroup)):
        await load(store, file)
    monkeypatch.setattr(EventStore, "append", append)
    await forget_ids(store)
    assert sum(map(len, (await contents(store)).values())) not in {0, 30}
    await load(store, file)
    assert await contents(store) == expected(30)


async def test_where_a_failover_lost_events_they_are_imported_again(
    server: Server, store: EventStore, file: Path
) -> None:
    write(file, 25)
    failover = Failover(server)
    stopped = 0

    def stop() -> bool:
        nonlocal stopped
        stopped += 1
        if stopped == 1:
            failover.replicated()
        return stopped == 2

    with pytest.raises(JobCancelled):
        await load(store, file, stop_requested=stop)
    failover.happen()
    await forget_ids(store)
    await load(store, file)
    assert await contents(store) == expected(25)


async def test_stopped_at_a_safe_point_it_is_a_cancelled_job_and_goes_on(store: EventStore, file: Path) -> None:
    write(file, 40)
    with pytest.raises(JobCancelled, match="stopped after line 10 of 40"):
        await load(store, file, stop_requested=lambda: True)
    assert sum(map(len, (await contents(store)).values())) == 10
    (job,) = await list_jobs(store)
    assert (job.kind, job.state, job.done, job.total) == ("import", "cancelled", 10, 40)
    again = await load(store, file)
    assert (again.appended, again.already) == (30, 10)
    assert await contents(store) == expected(40)


async def test_an_import_is_recorded_with_who_and_why(store: EventStore, file: Path) -> None:
    write(file, 3)
    done = await load(store, file, why="first load")
    (entry,) = [each.data async for each in entries(store)]
    assert (entry.who, entry.what, entry.why) == ("ada", "import", "first load")
    assert entry.facts == {"file": "events.ndjson", "lines": 3, "job": done.job}


async def test_progress_counts_lines(store: EventStore, file: Path) -> None:
    write(file, 25)
    told: list[tuple[int, int | None]] = []
    await load(store, file, on_progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 25)
    assert told[-1] == (25, 25)
    assert sorted(told) == told


async def test_of_two_imports_of_one_file_at_once_one_goes_on(store: EventStore, file: Path) -> None:
    write(file, 60)
    failures: list[EventStoreError] = []

    async def one() -> None:
        try:
            await load(store, file)
        except EventStoreError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert [type(each) for each in failures] == [ImportRunning]


# ---- what export writes ----


async def kept(store: EventStore, stream: str) -> list[Any]:
    return [(e.id, e.version, e.type, e.schema_version, e.data, e.metadata) async for e in store.read(stream)]


async def fill(store: EventStore) -> None:
    for n in range(40):
        await store.append(f"note-{n % 7}", [Untyped("Noted", {"n": n})])


async def test_an_export_imports_into_another_log_as_it_was(server: Server, store: EventStore, file: Path) -> None:
    await fill(store)
    put(file, b"".join(await exported(store)))
    async with opened(server, "copy") as copy:
        await load(copy, file)
        for s in range(7):
            assert await kept(copy, f"note-{s}") == await kept(store, f"note-{s}") != []


async def test_cloud_events_do_the_same(server: Server, store: EventStore, file: Path) -> None:
    await fill(store)
    put(file, b"".join(await exported(store, cloud_events=True)))
    async with opened(server, "copy") as copy:
        await load(copy, file)
        assert await contents(copy) == await contents(store)
        assert [e.id async for e in copy.read("note-3")] == [e.id async for e in store.read("note-3")]


async def test_lines_with_versions_are_repeated_without_limit(server: Server, store: EventStore, file: Path) -> None:
    await fill(store)
    rows = await exported(store)
    put(file, b"".join(rows))
    async with opened(server, "copy") as copy:
        await load(copy, file)
        await forget_ids(copy)
        other = file.with_name("other.ndjson")
        put(other, b"\n" + b"".join(rows) + b"\n\n")  # another file, whose lines stand elsewhere
        done = await load(copy, other)
        assert (done.lines, done.events, done.appended, done.already) == (43, 40, 0, 40)
        assert await contents(copy) == await contents(store)


async def test_an_export_that_goes_further_is_imported_from_where_the_log_is(
    server: Server, store: EventStore, file: Path
) -> None:
    await fill(store)
    rows = await exported(store, where=Filter(categories=("note",)))
    async with opened(server, "copy") as copy:
        put(file, b"".join(rows[:23]))
        await load(copy, file)
        put(file, b"\n" + b"".join(rows))
        done = await load(copy, file)
        assert (done.appended, done.already) == (17, 23)
        assert await contents(copy) == await contents(store)


async def test_an_export_ends_at_the_heads_of_its_start(store: EventStore) -> None:
    await fill(store)
    count = 0
    async for _ in export_events(store):
        count += 1
        await store.append("late-1", [Untyped("Noted", {"n": count})])
    assert count == 40


async def test_an_export_has_a_total_order_and_its_filters(store: EventStore) -> None:
    await fill(store)
    times = [json.loads(line)["recorded_at"] for line in await exported(store)]
    assert times == sorted(times)
    await store.append("other-1", [Untyped("Changed", {"n": 0})])
    assert [json.loads(line)["type"] for line in await exported(store, where=Filter(types=("Changed",)))] == ["Changed"]


# ---- what is wrong with a file ----


async def test_a_line_at_fault_is_named_and_those_before_it_stay(store: EventStore, file: Path) -> None:
    write(file, 14)
    good = get(file).decode()
    put(file, good + '{"type": "Noted", "stream": "note-1"}\n' + good)
    with pytest.raises(InvalidEvent) as caught:
        await load(store, file)
    assert caught.value.detail.startswith("line 15: ")
    assert caught.value.facts["line"] == 15
    assert await contents(store) == expected(14)
    put(file, good)
    write(file, 3, first=14, mode="a")
    await load(store, file)
    assert await contents(store) == expected(17)


@pytest.mark.parametrize(
    ("line", "says", "field"),
    [
        ("nonsense", "this is not JSON", "line"),
        ("[1]", "Expected `object`, got `array`", "line"),
        ("\xff", "this is not UTF-8", "line"),
        ("[" * 100_000, "nested too deeply", "line"),
        ('{"type": "T", "data": 1e999, "stream": "s"}', "larger than any number", "line"),
        ('{"type": "T", "stream": "s"}', "missing required field `data`", "data"),
        ('{"type": "T", "data": 1, "stream": "s", "x": 1}', "unknown field `x`", "x"),
        ('{"type": "T", "data": 1, "stream": "s", "metadata": {"x": 1}}', "unknown field `x`", "metadata.x"),
        ('{"type": "T", "data": 1, "stream": "s", "id": "x"}', "Invalid UUID", "id"),
        ('{"type": "T", "data": 1, "stream": "s", "metadata": {"priority": "X"}}', "Invalid enum", "metadata.priority"),
        ('{"type": "T", "data": 1}', "names no stream", "stream"),
        ('{"type": "T", "data": 1, "stream": "$audit"}', "system stream", "stream"),
        ('{"type": "T T", "data": 1, "stream": "s"}', "event type 'T T' is not usable", "event type"),
        ('{"type": "T", "data": 1, "stream": "s", "schema_version": 0}', "schema version 0", "type"),
        ('{"type": "T", "data": NaN, "stream": "s"}', "NaN is not a JSON number", "line"),
        ('{"type": "T", "data": 1, "data": 2, "stream": "s"}', "'data' stands twice", "line"),
        ('{"type": "T", "data": 1, "stream": "s", "version": 7}', "s is at version 0, expected 6", "version"),
        ('{"type": "T", "data": "' + "x" * (1 << 20) + '", "stream": "s"}', "size in bytes", "events"),
        ('{"specversion": "1.0", "type": "T", "source": "/x"}', "must have id", "id"),
        ('{"specversion": "0.3"}', "version '0.3' is not read", "specversion"),
        ('{"specversion": "1.0", "type": "T", "source": "/x", "id": "1", "x": []}', "extension x must be", "x"),
        (
            '{"specversion": "1.0", "type": "T", "source": "/x", "id": "1", "data_base64": "%"}',
            "this is not base64",
            "data_base64",
        ),
    ],
    ids=lambda value: value[:40],
)
async def test_what_is_wrong_with_a_line_is_said_with_its_number_its_member_and_the_remedy(
    store: EventStore, file: Path, line: str, says: str, field: str
) -> None:
    write(file, 2)
    put(file, get(file), line.encode("latin-1"), b"\n")
    with pytest.raises(EventStoreError) as caught:
        await load(store, file)
    assert "line 3: " in caught.value.detail
    assert says in caught.value.detail
    assert caught.value.field == field
    assert caught.value.remedy
    (job,) = await list_jobs(store)
    assert (job.state, job.done, job.total) == ("failed", 2, 3)


async def test_other_streams_of_a_window_are_not_held_up_by_one(store: EventStore, file: Path) -> None:
    write(file, 1, stream="a")
    write(file, 1, stream="b", version=9, mode="a")
    write(file, 1, stream="c", mode="a")
    with pytest.raises(WrongExpectedVersion) as caught:
        await load(store, file)
    assert caught.value.facts["line"] == 2
    assert set(await contents(store)) == {"a", "c"}
    (job,) = await list_jobs(store)
    assert (job.state, job.done, job.total) == ("failed", 2, 3)


async def test_an_id_that_stands_elsewhere_is_named_with_its_line(server: Server, file: Path) -> None:
    settings = Settings(redis=server.settings, eventstore=LogSettings(partitions=1, durability="memory"))
    async with EventStore.open(settings=settings) as store:
        write(file, 1, id=str(uuid4()))
        write(file, 1, id=json.loads(get(file))["id"], stream="elsewhere", mode="a")
        with pytest.raises(IdConflict) as caught:
            await load(store, file)
        assert caught.value.facts["line"] == 2


async def test_lines_without_a_stream_go_to_the_one_named(store: EventStore, file: Path) -> None:
    put(file, "\ufeff" + '{"type": "T", "data": {"n": 1}}\n\n  \n{"type": "T", "data": {"n": 2}}')
    done = await load(store, file, stream="named-1")
    assert (done.lines, done.events) == (4, 2)
    assert await contents(store) == {"named-1": [1, 2]}
    await load(store, file, stream="named-2")
    assert await contents(store) == {"named-1": [1, 2], "named-2": [1, 2]}


async def test_an_empty_file_holds_nothing(store: EventStore, file: Path) -> None:
    put(file, "")
    assert (await load(store, file)).events == 0


async def test_equal_lines_are_different_events(store: EventStore, file: Path) -> None:
    put(file, '{"type": "T", "stream": "s", "data": {"n": 1}}\n' * 25)
    await load(store, file)
    assert await contents(store) == {"s": [1] * 25}


def test_a_window_is_bounded_by_bytes_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "WINDOW_BYTES", 200)
    write(file, 30)
    with lines.LineFile(file, None) as opened_file:
        assert [len(window.lines) for window in opened_file.windows(after=0)][:2] == [4, 4]


async def test_lines_without_a_correlation_id_are_each_their_own_transaction(store: EventStore, file: Path) -> None:
    """Although they travel in one append."""
    put(file, *['{"type":"T","stream":"a-1","data":1}\n'] * 3, '{"type":"T","stream":"a-1","data":1,')
    put(file, get(file), '"metadata":{"correlation_id":"order-7"}}\n')
    await import_events(store, file, who="ada")
    events = [event async for event in store.read("a-1")]
    assert [e.metadata.correlation_id for e in events] == [*(str(e.id) for e in events[:3]), "order-7"]
