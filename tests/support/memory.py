"""How much memory a process has used, and how much a server holds for its clients."""

import re
from pathlib import Path

from tests.support.servers import Server

MIB = 1 << 20
CAN_TELL = Path("/proc/self/status").exists()
"""Whether this system tells of the memory of a process."""


def peak_bytes(pid: int) -> int:
    """The most that a process has ever had in memory. `getrusage` would count what its parent had before it began."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, f"process {pid} has ended"
    return int(found[1]) * 1024


def for_clients(server: Server) -> list[tuple[int, int]]:
    """For each connection: bytes that wait for the client to take them, and all that is kept for it."""
    facts = [dict(fact.split(b"=", 1) for fact in line.split() if b"=" in fact) for line in server.clients()]
    return [(int(each[b"omem"]), int(each[b"tot-mem"])) for each in facts]
