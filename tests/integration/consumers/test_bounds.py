"""What a member keeps in memory is bounded: large events, many that wait, and an offset that stands still."""

from collections.abc import AsyncIterator

import anyio
import pytest
from msgspec import Struct

from consumers import holder
from consumers.consumer import consumer
from consumers.context import Context
from consumers.dead_letters import retry
from consumers.listen import BYTES_PER_CALL, EVENTS_PER_CALL
from consumers.retry import Park
from eventstore import EventStore, RecordedEvent
from tests.support.letters import until_listed
from tests.support.monitor import monitored
from tests.support.running import control, counted, running, until_lag
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
MIB = 1 << 20


class Placed(Struct, frozen=True):
    n: int


class Scanned(Struct, frozen=True):
    page: str


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Placed, Scanned], partitions=1) as one:
        yield one


def sent_by(server: Server) -> int:
    """Bytes, to all its clients."""
    return int(server.admin("INFO", "stats").split(b"total_net_output_bytes:")[1].split()[0])


async def test_no_more_large_events_are_read_than_there_is_room_for(server: Server, store: EventStore) -> None:
    begun: list[str] = []
    may_end = anyio.Event()

    @consumer("scans", concurrency=2)
    async def handle(event: RecordedEvent) -> None:
        begun.append(event.stream)
        await may_end.wait()

    for i in range(64):
        await store.append(f"scan-{i}", [Scanned("x" * (MIB - 1_000))])
    before = sent_by(server)
    async with running(store, handle):
        await until(lambda: len(begun) == 2)
        async for _ in tries():  # both are slow, and leave the main pass, which goes on as far as it has room
            if int((await control(store, "scans", 0))["offset"].partition("-")[2]) == 2:
                break
        most = sent_by(server) - before
        may_end.set()
        await until_lag(store, "scans")
    assert most < 16 * MIB
    assert len(begun) == 64


async def test_at_the_bound_of_failing_streams_a_partition_halts_visibly_and_goes_on_when_they_are_mended(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(holder, "BOUND", 1)
    monkeypatch.setattr(holder, "AHEAD_EVENTS", 500)
    calls: list[str] = []
    is_out = True

    @consumer("halts", retry=Park())
    async def handle(event: Placed, ctx: Context) -> None:
        calls.append(ctx.event.stream)
        if is_out and event.n < 0:
            raise ValueError("no")
        ctx.effects.hincrby("handled", "n")

    for i in range(2):
        await store.append(f"broken-{i}", [Placed(-1)])
    for i in range(8):
        await store.append(f"order-{i}", [Placed(n) for n in range(1_000)])
    async with running(store, handle):
        await until(lambda: calls.count("broken-0") + calls.count("broken-1") == 4)  # one of them once a second
        assert 500 < len(calls) < 4_000
        assert "partition_halts" in capsys.readouterr().out
        is_out = False
        await until_lag(store, "halts")
        await retry(store, "halts", [(await until_listed(store, 1, "halts"))[0].stream], who="ada")
        async for _ in tries():
            if (await counted(store, "halts", "handled")) == {"n": 8_002}:
                break


async def test_what_is_listened_for_is_bounded_by_the_bytes_of_the_largest_event(
    server: Server, store: EventStore
) -> None:
    seen: list[int] = []

    @consumer("listening")
    async def handle(event: RecordedEvent) -> None:
        seen.append(event.position)

    async def counts_asked_for() -> set[int]:
        with monitored(server) as monitor:
            before = len(seen)
            await store.append("order-1", [Placed(1)])
            await until(lambda: len(seen) > before)
            await until_lag(store, "listening")
            async for _ in tries():  # the call after that
                asked = [call.words for call in monitor.calls() if call.words[:2] == [b"XREAD", b"COUNT"]]
                if asked:
                    return {int(words[2]) for words in asked}
        raise AssertionError

    async with running(store, handle):
        assert max(await counts_asked_for()) == EVENTS_PER_CALL
        await store.append("scan-1", [Scanned("x" * (MIB - 1_000))])
        await until(lambda: len(seen) == 2)
        await until_lag(store, "listening")
        await counts_asked_for()  # the call under way still has the bound of before
        assert max(await counts_asked_for()) == BYTES_PER_CALL // MIB
        many = [Scanned("x" * (MIB - 1_000)) for _ in range(7)]
        await store.append("scan-2", many, expected=0)
        await until_lag(store, "listening")
    assert seen == list(range(1, 12))
