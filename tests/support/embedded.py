"""What tests of the embedded server share."""

import fcntl
from pathlib import Path

from infrastructure.connect import connect
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings


async def value(url: str, *command: str) -> object:
    """The reply to one command, on a connection of its own."""
    async with connect(RedisSettings(url=SecretUrl(url))) as redis:
        return await redis.execute("k", *command)


def lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def holds_lock(folder: Path) -> bool:
    """Whether a server lives in the folder or below."""

    for lock in folder.rglob("lock") if folder.is_dir() else ():
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
