"""Ports of loopback for servers that a benchmark starts."""

import random
import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """One that was free just now."""
    for _ in range(200):
        port = random.randint(20_000, 30_000)  # below the range from which the system gives ports to clients
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port was found")
