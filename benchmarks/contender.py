"""What takes part in the append cases: how it is made ready, and how one process of it writes."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from msgspec import Struct

from benchmarks.load import Load

Append = Callable[[str, int, int], Any]
"""Appends to a stream that is at a version so many events. A coroutine function, or a plain one for threads."""
Open = Callable[[Load], AbstractAsyncContextManager[Append]]
"""Connects a process for such a load. To be pickled: other processes call it, too."""


class Meter(Protocol):
    """Who tells the processor time that a server has used, in all its threads and processes."""

    async def cpu_seconds(self) -> float: ...


class NoServer:
    """Of a contender that works in the process of its caller."""

    async def cpu_seconds(self) -> float:
        return 0.0


class Ready(Struct, frozen=True):
    """An empty place to write to."""

    open: Open
    meter: Meter
    count: Callable[[], Awaitable[int]]
    """How many events it holds, by other means than those that wrote them where there are any."""
    pids: Callable[[], list[int]]
    """The processes that sync, once it is opened: of the server, or this one."""
    read: Callable[[], Awaitable[int]] | None = None
    """Reads everything, decodes each event's data into its Struct, tells how many there were."""


class Contender(Struct, frozen=True):
    """One line of a table. `empty` makes ready and clears away; `calls` is the share of a load's calls that it is
    given: what does 300 events a second would take an hour over the work of what does 100,000."""

    name: str
    empty: Callable[[], AbstractAsyncContextManager[Ready]]
    threads: bool = False
    ours: bool = False
    calls: float = 1.0
    processes: bool = True
    """Whether several processes can write to it."""
    reads: bool = False
    """Whether it is to be read, too."""


class Absent(Exception):
    """A peer cannot be had on this machine, or not in this mode. The message says why."""
