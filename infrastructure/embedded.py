"""Our own server for a folder: started by the first process that needs it, shared by all, stopped by the last one out.

Two files in the folder are locked with flock, which the kernel lets go when a process ends in whatever way:

`lock`   held by the server process itself, which inherits the descriptor. Taken = a server lives on this folder. A
         second server would write into the same append-only file: two servers on one folder both start, Redis has no
         lock of its own.
`users`  held *shared* by everyone who uses the server. Whoever leaves tries to turn it into an exclusive lock. That
         succeeds for one only, when no other user is left; it stops the server and then lets go. A newcomer who comes
         meanwhile waits for `users`, and then starts a server anew.

State of the folder          `lock`   what a user does
no server                    free     takes it and starts a server that inherits it
a server is starting         taken    waits until the server answers
a server lives               taken    adopts it
the server was killed        free     the same as with no server: the data are in the append-only file
a user was killed            -        nothing: its share of `users` is gone with it
all users were killed        taken    the next user adopts the server, and stops it when it leaves

An flock belongs to an open file description: every user opens the files anew, also several in one process.
"""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import quote

import anyio
import anyio.to_thread
import hiredis

from infrastructure.errors import SettingsError, Unavailable
from infrastructure.server_program import find_program, log_tail, spawn
from infrastructure.tasks import to_the_end

_SOCKET_PATH_BYTES = 100  # the system's limit is 104 on macOS, 108 on Linux
_TEMPORARY_PREFIX = "eventstore-"
_TURN_SECONDS = 30.0  # for another process to stop its server
_START_SECONDS = 30.0  # without a sign of life
_LOAD_SECONDS = 600.0  # while it says that it reads its data
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 1.0
_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.002, 0.1


@asynccontextmanager
async def embedded(data_dir: Path) -> AsyncIterator["EmbeddedServer"]:
    """The server of `data_dir`, adopted or started; stopped on leaving if nobody else uses it.

    Raises SettingsError if the folder cannot be used, Unavailable if no server can be found or started. Every write
    that it acknowledges has been synced to disk.
    """
    folder = _prepared(data_dir)
    with _opened(folder / "users") as users:
        await _become_user(users, folder)
        server = EmbeddedServer(folder)
        try:
            await server.restart_if_dead()
            yield server
        finally:
            # If others are left, trying costs us our share: flock lets go before it takes. We leave anyway.
            if _flock(users, fcntl.LOCK_EX):
                await to_the_end(server.stop)
            _flock(users, fcntl.LOCK_UN)  # closing is not enough: a forked child may still have the descriptor


class EmbeddedServer:
    """The server of one folder, as long as the block of `embedded` lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = folder / "lock"
        self._log = folder / "server.log"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return _recorded_socket(self._folder) or self._folder / "server.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int:
        """The process of the server that was started last; 0 while one is being started."""
        return int(self._lock.read_text() or 0)

    async def restart_if_dead(self) -> None:
        """Return once the server answers; if none lives, start one on the same data. May be called by all at once.

        Raises Unavailable if it does not come up; the end of its log is in the text.
        """
        started, patience = False, _Patience(_START_SECONDS, _LOAD_SECONDS)
        while True:
            with _opened(self._lock) as lock:
                if _flock(lock, fcntl.LOCK_EX):
                    if started:
                        raise self._failed("ended as it started")
                    await self._start(lock)
                    started = True
            answer = await _ask(self.socket, "PING")
            if answer == b"PONG":
                return
            if not await patience.goes_on(alive=answer is not None):  # such as LOADING
                raise self._failed(f"(process {self.pid}) does not answer")

    async def stop(self) -> None:
        """Stop the server, whoever uses it, and return once it has gone. For `embedded`, as the last one out."""
        patience = _Patience(_STOP_SECONDS)
        while not self._is_dead():
            await _ask(self.socket, "SHUTDOWN", "NOSAVE")  # nothing to save: the append-only file has been synced
            if not await patience.goes_on():
                self._kill()
                break
        _remove_temporary_socket(self._folder)

    def _kill(self) -> None:
        if pid := self.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_dead(self) -> bool:
        with _opened(self._lock) as lock:
            return _flock(lock, fcntl.LOCK_EX)

    async def _start(self, lock: int) -> None:
        program = find_program()
        socket = await _place_socket(self._folder)
        # Left half done, it would start a server that nobody stops, with a descriptor that is not the lock's any more.
        await to_the_end(partial(anyio.to_thread.run_sync, spawn, program, self._folder, socket, self._log, lock))

    def _failed(self, how: str) -> Unavailable:
        return Unavailable(
            f"the server of {self._folder} {how}; the end of its log:\n{log_tail(self._log)}",
            reason="unreachable",
            remedy=f"read {self._log}; free disk space; files that a newer server wrote need that one again "
            "(pip install 'redis-eventstore[embedded]'); copy the folder before redis-check-aof mends anything",
        )


async def _become_user(users: int, folder: Path) -> None:
    patience = _Patience(_TURN_SECONDS)
    while not _flock(users, fcntl.LOCK_SH):
        if not await patience.goes_on():
            raise Unavailable(
                f"another process has been stopping the server of {folder} for {_TURN_SECONDS:g} s", reason="timeout"
            )


class _Patience:
    """Pauses that grow, until `seconds` without a sign of life have passed, or `at_most` with them."""

    def __init__(self, seconds: float, at_most: float = 0.0) -> None:
        self._seconds = seconds
        self._end = anyio.current_time() + seconds
        self._last = anyio.current_time() + at_most
        self._pause = _FIRST_POLL_SECONDS

    async def goes_on(self, *, alive: bool = False) -> bool:
        """Pause; false once it is over."""
        now = anyio.current_time()
        if alive:
            self._end = min(now + self._seconds, self._last)
        if now >= self._end:
            return False
        await anyio.sleep(self._pause)
        self._pause = min(self._pause * 1.2, _LAST_POLL_SECONDS)
        return True


_pack = cast("Callable[[tuple[str, ...]], bytes]", hiredis.pack_command)  # its stub wants a tuple of one


async def _ask(socket: Path, *command: str) -> object:
    """The reply of the server at `socket`, an error reply as an instance of hiredis.ReplyError; None if none came."""
    replies = hiredis.Reader()
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            async with await anyio.connect_unix(socket) as stream:
                await stream.send(_pack(command))
                while not replies.has_data():
                    replies.feed(await stream.receive())
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
        return None
    return replies.gets()


def _prepared(data_dir: Path) -> Path:
    folder = data_dir.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "users").touch(mode=0o600)
    except OSError as error:
        raise SettingsError(
            f"the folder {folder} cannot be used for the embedded server: {error.strerror}",
            field="eventstore.data_dir",
            remedy="choose a folder on a local disk that you may write to, with EVENTSTORE_DATA_DIR",
        ) from error
    return folder


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"{path} of the embedded server cannot be opened: {error.strerror}",
            field="eventstore.data_dir",
            remedy="run as the user whom the folder belongs to, or choose another one with EVENTSTORE_DATA_DIR",
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _place_socket(folder: Path) -> Path:
    """Where the server that is about to start shall listen: in the folder, or elsewhere if the path is too long."""
    socket = folder / "server.sock"
    if _fits(socket):
        return socket
    recorded = _recorded_socket(folder)
    if recorded and recorded.parent.is_dir() and await _ask(recorded, "PING") is None:
        return recorded  # the same as before a crash, so that clients find it again; unless the folder is a copy
    socket = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=_short_base()), "s")
    record = folder / "socket.new"
    record.write_bytes(os.fsencode(socket))
    record.replace(folder / "socket")
    return socket


def _short_base() -> str:
    usual = tempfile.gettempdir()
    if _fits(Path(usual, f"{_TEMPORARY_PREFIX}12345678", "s")):
        return usual
    return "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own in it


def _recorded_socket(folder: Path) -> Path | None:
    if _fits(folder / "server.sock"):
        return None
    try:
        return Path(os.fsdecode((folder / "socket").read_bytes()))
    except FileNotFoundError:
        return None


def _remove_temporary_socket(folder: Path) -> None:
    recorded = _recorded_socket(folder)
    if recorded and recorded.parent.name.startswith(_TEMPORARY_PREFIX):
        shutil.rmtree(recorded.parent, ignore_errors=True)
        (folder / "socket").unlink()


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= _SOCKET_PATH_BYTES
