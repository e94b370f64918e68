"""How often each contender syncs a file per append: counted by strace, at its server, or in this process for SQLite.

A group commit shows as less than 1 where 50 append at once. It is counted in runs of its own, since tracing slows down.
"""

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from msgspec import Struct

from benchmarks.contender import Contender
from benchmarks.drive import warm, write
from benchmarks.load import Load

TITLE = "syncs of a file per append"
LOADS = (Load(1, 1, 100), Load(50, 1, 20))
_CALLS = "fsync,fdatasync,sync_file_range,msync"
_ATTACHED_SECONDS = 10.0


class Syncs(Struct, frozen=True):
    """Per append, for each load of LOADS. None: it could not be traced."""

    name: str
    per_append: Sequence[float | None]


class NotTraced(Exception):
    """There is no strace, or it may not trace."""


async def counted(contenders: Sequence[Contender]) -> list[Syncs]:
    return [Syncs(one.name, [await _per_append(one, load) for load in LOADS]) for one in contenders]


async def _per_append(contender: Contender, load: Load) -> float | None:
    load = load.shortened(max(contender.calls, 0.2))
    try:
        async with contender.empty() as ready, ready.open(load) as append:
            await warm(append, load, contender.threads, 0)
            async with _traced(ready.pids) as counts:
                await write(append, load, contender.threads, "order")
        return sum(counts) / (load.tasks * load.calls)
    except NotTraced:
        return None


@asynccontextmanager
async def _traced(pids: Callable[[], list[int]]) -> AsyncIterator[list[int]]:
    """The list is filled when the block has ended."""
    program = shutil.which("strace")
    if not program:
        raise NotTraced
    counts: list[int] = []
    with tempfile.TemporaryDirectory(prefix="strace-") as folder:
        summary = Path(folder, "summary")
        where = [word for pid in pids() for word in ("-p", str(pid))]
        command = [program, "-f", "-c", "-e", f"trace={_CALLS}", "-o", str(summary), *where]
        async with await anyio.open_process(command, stdin=None, stdout=None) as strace:
            await _until_attached(strace, len(where) // 2)
            yield counts
            strace.send_signal(signal.SIGINT)
            await strace.wait()
        counts += _calls(await anyio.Path(summary).read_text())


async def _until_attached(strace: anyio.abc.Process, processes: int) -> None:
    said = ""
    with anyio.move_on_after(_ATTACHED_SECONDS):
        while said.count(" attached") < processes:
            try:
                said += (await strace.stderr.receive()).decode() if strace.stderr else ""
            except anyio.EndOfStream:
                break
    if said.count(" attached") < processes:
        raise NotTraced


def _calls(summary: str) -> list[int]:
    """Its columns: share, seconds, microseconds a call, calls, errors if there were any, the name."""
    rows = [line.split() for line in summary.splitlines()]
    return [int(row[3]) for row in rows if row and row[-1] in _CALLS.split(",")]
