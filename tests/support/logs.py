"""What tests of readers share: a log on a real server, streams of a chosen partition, a failover that loses events."""

import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import count

from eventstore import EventStore, Receipt, RecordedEvent
from eventstore.partitions import partition_of
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted


def debuggable_server(*args: str, port: int | None = None) -> AbstractAsyncContextManager[Server]:
    """A server that can be told to forget (`Failover`)."""
    return redis_server(args=["--enable-debug-command", "yes", *args], port=port)


def stream_in(partition: int, partitions: int, category: str = "order") -> str:
    """A stream that lies in that partition."""
    return next(name for i in count() if partition_of(name := f"{category}-{i}", partitions) == partition)


async def fill(store: EventStore, stream: str, n: int, *, first: int = 1, batch: int = 500) -> Receipt:
    """Appends n events that carry first, first + 1, ..."""
    numbers = range(first, first + n)
    for start in range(0, n, batch):
        receipt = await store.append(stream, [Noted(i) for i in numbers[start : start + batch]])
    return receipt


class Failover:
    """On a lone server, what readers see of a failover to a replica that has less: the data of an earlier moment, and
    another replication id."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def replicated(self) -> None:
        """What is stored now will survive."""
        self._server.admin("SAVE")

    def happen(self) -> None:
        self._server.admin("DEBUG", "RELOAD", "NOSAVE")
        self.restart()

    def restart(self) -> None:
        """Another process, nothing lost."""
        self._server.admin("DEBUG", "CHANGE-REPL-ID")


async def attach(replica: Server, primary: Server) -> None:
    """Until the replica has the data of the primary and gets what is written there. Both ends must say so: Redis begins
    to send only some time after it counts the replica as online, Valkey 9.1 counts one that has not loaded its copy."""
    replica.admin("REPLICAOF", "127.0.0.1", primary.port)
    await until(lambda: b"master_link_status:up" in replica.admin("INFO", "replication"))
    await until(lambda: _arrives(primary))


def _arrives(primary: Server) -> bool:
    replicas = primary.admin("ROLE")[2]
    primary.admin("PUBLISH", "nobody", "hears")  # which is replicated, and leaves no key
    return bool(replicas) and primary.admin("WAIT", len(replicas), 100) == len(replicas)


async def all_replicated(master: Server, replica: Server) -> None:
    """Until the replica has all that the master has. (WAIT on a connection that wrote nothing waits for nothing.)"""
    await until(lambda: _offset(replica) >= _offset(master))


def _offset(server: Server) -> int:
    return int(re.findall(rb"master_repl_offset:(\d+)", server.admin("INFO", "replication"))[0])


def restart_process(server: Server) -> None:
    """A real restart, on the data that the server has on disk. Sent once: the client of the tests would repeat it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"DEBUG RESTART\r\n")
        while connection.recv(100):
            pass


def blocked_clients(server: Server) -> int:
    """How many clients wait at the server for something to happen."""
    return int(re.findall(rb"blocked_clients:(\d+)", server.admin("INFO", "clients"))[0])


def connections_made(server: Server) -> int:
    return int(re.findall(rb"total_connections_received:(\d+)", server.admin("INFO", "stats"))[0])


async def collect(reading: AsyncIterator[RecordedEvent], found: list[RecordedEvent]) -> None:
    """Reads to the end; what was read before an error is in `found`."""
    async for event in reading:
        found.append(event)  # noqa: PERF401 - a comprehension would lose it


def numbers(events: Sequence[RecordedEvent]) -> list[int]:
    return [event.data.n for event in events]
