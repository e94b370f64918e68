"""What a server was asked, scripts' own calls included: its MONITOR, as data."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from msgspec import Struct

from tests.support.servers import Server

_LINE = re.compile(rb"^\+?[\d.]+ \[\d+ ([^\]]+)\] (.*)$")
# Valkey 8.1 tells quotes within a word unescaped: only a quote before a blank and another one, or at the end, ends it.
_WORD = re.compile(rb'"((?:[^"\\]|\\.|"(?! "|$))*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
_KEYS_BEHIND_SUBCOMMAND = {b"XGROUP", b"XINFO", b"MEMORY", b"OBJECT"}
_WITHOUT_KEYS = {b"INFO", b"SCAN", b"TIME"}


class Call(Struct, frozen=True):
    """A command of a client; of a script, also what it called in its turn."""

    words: list[bytes]
    inner: list[list[bytes]]

    @property
    def name(self) -> bytes:
        return self.words[0].upper()

    @property
    def is_script(self) -> bool:
        return self.name in {b"EVAL", b"EVALSHA"}

    @property
    def declared(self) -> set[bytes]:
        """The keys that a script says it will touch."""
        return set(self.words[3 : 3 + int(self.words[2])]) if self.is_script else set()

    @property
    def touched(self) -> set[bytes]:
        """The keys that the calls of a script name."""
        return {key for words in self.inner for key in _key_of(words)}


class Monitor:
    """What clients have asked since it was made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        server.admin("PING")  # its client introduces itself before, not in between
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self._unread = b""
        self._socket.sendall(b"MONITOR\r\n")
        assert self._line() == b"+OK"

    def calls(self) -> list[Call]:
        """Everything up to now, in the order in which the server did it. What this asks itself is not among it."""
        mark = uuid4().hex.encode()
        self._server.admin("ECHO", mark)
        calls: list[Call] = []
        while True:
            found = _LINE.match(self._line())
            assert found, "MONITOR says something else"
            words = [_ESCAPE.sub(_unescaped, word) for word in _WORD.findall(found[2])]
            if mark in words:
                return calls
            if found[1] == b"lua":
                calls[-1].inner.append(words)
            else:
                calls.append(Call(words, []))

    def close(self) -> None:
        self._socket.close()

    def _line(self) -> bytes:
        while b"\r\n" not in self._unread:
            self._unread += self._socket.recv(1 << 16)
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line


@contextmanager
def monitored(server: Server) -> Iterator[Monitor]:
    monitor = Monitor(server)
    try:
        yield monitor
    finally:
        monitor.close()


def _key_of(words: list[bytes]) -> list[bytes]:
    """Our scripts call commands of one key each."""
    name = words[0].upper()
    if name in _WITHOUT_KEYS:
        return []
    return words[2:3] if name in _KEYS_BEHIND_SUBCOMMAND else words[1:2]


def _unescaped(found: "re.Match[bytes]") -> bytes:
    text = found[1]
    return bytes.fromhex(text[1:].decode()) if text[:1] == b"x" and len(text) == 3 else _LETTERS.get(text, text)
