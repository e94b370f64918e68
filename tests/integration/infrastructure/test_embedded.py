"""The embedded server and the processes that share it; every process and every server here is a real one."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from infrastructure.embedded import embedded
from infrastructure.errors import SettingsError
from tests.support.embedded import lives, value
from tests.support.servers import until

pytestmark = pytest.mark.anyio


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
        assert await value(url, "PING") == b"PONG"
        await second.leave()
    assert not lives(pid)


async def test_a_server_that_was_killed_starts_again_with_its_data(folder: Path) -> None:
    async with user(folder) as one:
        pid, url = await one.told()
        await value(url, "SET", "k", "kept")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not lives(pid))
        again, _ = await one.restart()
        assert again != pid
        assert await value(url, "GET", "k") == b"kept"
        await one.leave()


async def test_data_outlive_a_stop_in_good_order(folder: Path) -> None:
    for expected in range(1, 4):
        async with embedded(folder) as server:
            assert await value(server.url, "INCR", "n") == expected


async def test_a_newcomer_starts_the_server_that_was_killed_and_the_others_go_on_with_it(folder: Path) -> None:
    async with user(folder) as one:
        pid, url = await one.told()
        await value(url, "SET", "k", "kept")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not lives(pid))
        async with user(folder) as two:
            again, _ = await two.told()
            assert await one.restart() == (again, url)
            assert await value(url, "GET", "k") == b"kept"
            await two.leave()
            assert await value(url, "GET", "k") == b"kept"
        await one.leave()


async def test_ctrl_c_ends_the_launcher_and_not_the_server_that_another_uses(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, url = await launcher.told()
        async with user(folder) as other:
            await other.told()
            os.killpg(launcher.process.pid, signal.SIGINT)
            assert await launcher.process.wait() != 0
            assert await value(url, "PING") == b"PONG"
            await other.leave()
        assert not lives(pid)


async def test_ctrl_c_of_the_only_user_stops_the_server_in_good_order(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, url = await launcher.told()
        await value(url, "SET", "k", "kept")
        os.killpg(launcher.process.pid, signal.SIGINT)
        await launcher.process.wait()
    assert not lives(pid)
    assert "ready to exit" in (folder / "server.log").read_text()


async def test_the_server_outlives_a_launcher_that_was_killed_and_the_next_user_stops_it(folder: Path) -> None:
    async with user(folder) as launcher:
        pid, _ = await launcher.told()
        launcher.process.kill()
        await launcher.process.wait()
    assert lives(pid)
    async with user(folder) as heir:
        assert (await heir.told())[0] == pid
        await heir.leave()
    assert not lives(pid)


async def test_eight_processes_that_start_at_once_get_one_server(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        users = [await stack.enter_async_context(user(folder)) for _ in range(8)]
        told = {await each.told() for each in users}
        assert len(told) == 1
        assert (folder / "server.log").read_text().count("Server initialized") == 1
        async with anyio.create_task_group() as group:
            for each in users:
                group.start_soon(each.leave)
    assert not any(lives(pid) for pid, _ in told)


async def test_users_that_come_and_go_all_the_time_always_find_a_server(folder: Path) -> None:
    async def come_and_go() -> None:
        for _ in range(8):
            async with embedded(folder) as server:
                await value(server.url, "INCR", "n")

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(come_and_go)
    async with embedded(folder) as server:
        assert await value(server.url, "GET", "n") == b"32"


async def test_several_stores_of_one_process_count_each_for_itself(folder: Path) -> None:
    async with embedded(folder) as outer:
        async with embedded(folder) as inner:
            assert inner.pid == outer.pid
        assert await value(outer.url, "PING") == b"PONG"
    assert not lives(outer.pid)


FORKS = """
import os, sys
from pathlib import Path
import anyio
from infrastructure.embedded import embedded

async def main():
    async with embedded(Path(sys.argv[1])):
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)

anyio.run(main)
"""


async def test_a_forked_child_that_outlives_the_user_does_not_keep_others_out(folder: Path) -> None:
    """It inherits the descriptors, and with them the locks."""
    async with await anyio.open_process([sys.executable, "-c", FORKS, str(folder)], stdin=subprocess.PIPE) as process:
        assert process.stdin
        with anyio.fail_after(20):
            assert await process.wait() == 0
            async with embedded(folder) as server:
                assert await value(server.url, "PING") == b"PONG"
        await process.stdin.aclose()


@pytest.mark.parametrize("name", ["lock", "users"])
async def test_a_file_of_ours_that_cannot_be_opened_is_named_with_the_remedy(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)  # what root cannot open either
    with pytest.raises(
        SettingsError, match=rf"{name} of the embedded server cannot be opened: Is a directory"
    ) as caught:
        async with embedded(folder):
            pass
    assert caught.value.field == "eventstore.data_dir"
    assert caught.value.remedy is not None
    (folder / name).rmdir()


async def test_a_cancelled_user_leaves_in_good_order(folder: Path) -> None:
    with anyio.CancelScope() as scope:
        async with embedded(folder) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert not lives(server.pid)


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
