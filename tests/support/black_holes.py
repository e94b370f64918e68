"""Servers that say nothing: for what a client knows of a call whose answer it waits for in vain."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_QUEUE = 16


@contextmanager
def silence(port: int) -> Iterator[None]:
    """Connections to the port are made, and whatever comes over them is never answered."""
    with _listener(port, _QUEUE):
        yield


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """No connection to the port is made, and none is refused: packets to it vanish."""
    with ExitStack() as stack:
        stack.enter_context(_listener(port, 0))
        for _ in range(_QUEUE):  # the kernel takes one or two, and drops what comes when its queue is full
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            raise RuntimeError("the queue of connections did not fill")
        yield


def _listener(port: int, queue: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(queue)
    except OSError:
        listener.close()
        raise
    return listener
