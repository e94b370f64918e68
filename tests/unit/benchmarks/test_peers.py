"""Each peer of `make bench` is asked for what the tables say, and every event of it is counted."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.contender import Absent
from benchmarks.drive import drive
from benchmarks.field import PEERS, Peer, field
from benchmarks.load import Load
from benchmarks.measure import CountWrong
from benchmarks.own_server import BenchServer, Level, own_server
from benchmarks.postgres_programs import programs
from benchmarks.processes import Team, WriterEnded, team
from infrastructure.server_program import find_program

pytestmark = pytest.mark.anyio
STORES = [name for name in PEERS if name not in {"redis-py", "redis-benchmark"}]


@pytest.fixture
def place() -> Iterator[Path]:
    """Also PostgreSQL may enter it, which does not run as root; pytest's folders are its user's."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        assert list(path.iterdir()) == []  # a server's data go with it


@pytest.fixture(scope="module")
def writers() -> Iterator[Team]:
    with team("asyncio") as members:
        yield members


@pytest.fixture
async def server(place: Path) -> AsyncIterator[BenchServer]:
    async with own_server(find_program(), "fsync", place) as server:
        yield server


@pytest.mark.parametrize("peer", STORES)
async def test_a_peer_holds_what_was_appended_and_reads_it(peer: str, server: BenchServer, place: Path) -> None:
    _needs(peer)
    async with field(server, place, [peer]) as entered:
        assert entered.missing == []
        theirs = [contender for contender in entered.contenders if not contender.ours]
        for contender in theirs:
            for load in (Load(2, 1, 3), Load(2, 5, 2)):
                sample = await drive(contender, load, Team("asyncio"))
                assert sample.latency is not None
                assert sample.events == load.shortened(contender.calls).events
    readers = [contender.name for contender in theirs if contender.reads]
    assert bool(readers) == (peer != "faststream")


@pytest.mark.parametrize("peer", STORES)
async def test_several_processes_write_to_a_peer(peer: str, server: BenchServer, place: Path, writers: Team) -> None:
    _needs(peer)
    async with field(server, place, [peer]) as entered:
        ours, theirs = entered.contenders[0], entered.contenders[-1]
        for contender in (ours, theirs):
            sample = await drive(contender, Load(2, 1, 3, processes=4), writers)
            assert sample.client_cpu_seconds > 0
            assert sample.events % 8 == 0


@pytest.mark.parametrize("peer", ["umadb", "eventsourcing-sqlite"])
async def test_a_peer_reads_what_it_holds(peer: str, server: BenchServer, place: Path) -> None:
    _needs(peer)
    async with field(server, place, [peer]) as entered:
        contender = next(contender for contender in entered.contenders if contender.reads)
        async with contender.empty() as ready, ready.open(Load(1, 5, 1)) as append:
            append("order-1", 0, 5)
            append("order-2", 0, 1)
            assert ready.read is not None
            assert await ready.read() == await ready.count() == 6


async def test_a_writer_that_dies_ends_the_run(server: BenchServer, place: Path) -> None:
    async with field(server, place, ["redis-py"]) as entered:
        redis_py = entered.contenders[-1]
        async with redis_py.empty() as ready:
            nowhere = replace(ready, open=partial(ready.open, Load(1, 1, 1)))  # one argument too many
            dying = replace(redis_py, empty=lambda: nullcontext(nowhere))
            with team("asyncio") as members, pytest.raises(WriterEnded):
                await drive(dying, Load(1, 1, 1, processes=2), members)


async def test_a_lost_event_is_noticed(server: BenchServer, place: Path) -> None:
    async with field(server, place, ["redis-py"]) as entered:
        redis_py = next(contender for contender in entered.contenders if not contender.ours)
        async with redis_py.empty() as ready:
            async with ready.open(Load(1, 1, 1)) as append:
                await append("order", 0, 1)
            await server.admin.delete("plain")
            assert await ready.count() == 0
        await server.admin.xadd("plain", {"e": "left behind"})
        with pytest.raises(CountWrong, match="redis-py, bare XADD"):
            await drive(redis_py, Load(1, 1, 1), Team("asyncio"))


async def test_a_peer_that_is_not_installed_is_named(
    server: BenchServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "umadb", Peer("umadb", "no_such_package"))
    async with field(server, place, ["umadb"]) as entered:
        assert [contender.ours for contender in entered.contenders] == [True, True, True]
        assert [(each.peer, each.why) for each in entered.missing] == [
            ("umadb", "no_such_package is not installed: pip install '.[bench]'")
        ]


@pytest.mark.parametrize("level", ["memory"])
async def test_a_peer_without_the_mode_is_named(level: Level, place: Path) -> None:
    _needs("umadb")
    async with own_server(find_program(), level, place) as server, field(server, place, ["umadb"]) as entered:
        assert [(each.peer, each.level) for each in entered.missing] == [("umadb", "memory")]


def _needs(peer: str) -> None:
    """Tests do without the packages of the peers: `make bench` installs them."""
    if find_spec(PEERS[peer].package) is None:
        pytest.skip(f"not applicable: {PEERS[peer].package} is not installed")
    if peer == "eventsourcing-postgres":
        try:
            programs()
        except Absent as absent:
            pytest.skip(f"not applicable: {absent}")


async def test_a_clean_server_has_freed_everything(place: Path) -> None:
    async with own_server(find_program(), "memory", place) as server:
        empty = (await server.admin.info("memory"))["used_memory"]
        for key in range(100):
            await server.admin.hset(f"hash-{key}", mapping={str(field): "x" * 100 for field in range(2_000)})
        await server.clean()
        assert (await server.admin.info("memory"))["used_memory"] - empty < 1_000_000
