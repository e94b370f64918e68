"""Processes that write at the same time. They are started once for a run, since a start takes longer than the work."""

import asyncio
import multiprocessing
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from benchmarks.logs import keep_off_stdout
from benchmarks.loops import loop_factory

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

Work = Callable[[], Awaitable[Any]]
Job = Callable[[int], AbstractAsyncContextManager[Work]]
"""Given the number of its process, makes it ready; what the work returns goes back to the caller. To be pickled."""

_GO, _END = "go", "end"


class WriterEnded(Exception):
    """A process of a team died; its traceback is on standard error."""


class Go:
    """Awaited once, all processes begin; it returns when all are done."""

    def __init__(self, members: "list[Connection[Any, Any]]") -> None:
        self.results: list[Any] = []
        self.cpu_seconds = 0.0
        self._members = members

    async def __call__(self) -> None:
        for member in self._members:
            member.send(_GO)
        for member in self._members:
            result, cpu_seconds = await _received(member)
            self.results.append(result)
            self.cpu_seconds += cpu_seconds


class Team:
    """As many processes as were asked for at once, kept for the next job."""

    def __init__(self, loop: str) -> None:
        self._loop = loop
        self._members: list[tuple[BaseProcess, Connection[Any, Any]]] = []

    @asynccontextmanager
    async def at_work(self, job: Job, processes: int) -> AsyncIterator[Go]:
        """All are ready in the block; after it they have closed what they opened. Raises WriterEnded."""
        while len(self._members) < processes:
            self._members.append(_started(self._loop))
        members = [connection for _, connection in self._members[:processes]]
        for number, member in enumerate(members):
            member.send((job, number))
        for member in members:
            await _received(member)
        yield Go(members)
        for member in members:
            member.send(_END)
        for member in members:
            await _received(member)

    def end(self) -> None:
        for process, connection in self._members:
            connection.close()
            process.kill()
            process.join()


@contextmanager
def team(loop: str) -> Iterator[Team]:
    """No process of it is left when the block ends."""
    members = Team(loop)
    try:
        yield members
    finally:
        members.end()


def _started(loop: str) -> "tuple[BaseProcess, Connection[Any, Any]]":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, loop), daemon=True)
    process.start()
    theirs.close()  # or its death would not be seen
    return process, ours


async def _received(member: "Connection[Any, Any]") -> Any:
    try:
        return await anyio.to_thread.run_sync(member.recv)
    except EOFError:
        raise WriterEnded("a writing process ended; its traceback is above") from None


def _serve(connection: "Connection[Any, Any]", loop: str) -> None:
    keep_off_stdout()
    while True:
        try:
            job, number = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
            runner.run(_do(job, number, connection))


async def _do(job: Job, number: int, connection: "Connection[Any, Any]") -> None:
    async with job(number) as work:
        connection.send("ready")
        await anyio.to_thread.run_sync(connection.recv)
        used = _cpu_seconds()
        result = await work()
        connection.send((result, _cpu_seconds() - used))
        await anyio.to_thread.run_sync(connection.recv)
    connection.send("ended")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
