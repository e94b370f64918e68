"""Names for completion in a shell: from a server that runs, within 300 ms, or none and no word about it."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from infrastructure.settings import Settings

WITHIN_SECONDS = 0.3
MOST = 200
_SAGA = "saga-"


def stream_names(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a stream."""
    return sorted(_names(context.incomplete, "i", "list"))


def group_names(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a consumer group."""
    return sorted({name.partition(":")[0] for name in _names(context.incomplete, "g", "hash")})


def saga_names(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a saga: the name of its stream."""
    beginning = context.incomplete if context.incomplete.startswith(_SAGA) else _SAGA
    return sorted(name for name in _names(beginning, "i", "list") if name.startswith(context.incomplete))


def saga_types(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a saga's type: by the groups that follow them."""
    names = {name.partition(":")[0] for name in _names(f"saga.{context.incomplete}", "g", "hash")}
    return sorted(name[len("saga.") : -len(".react")] for name in names if name.endswith(".react"))


def projection_names(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a projection: by the groups that fill its generations."""
    names = {name.partition(":")[0] for name in _names(f"projection.{context.incomplete}", "g", "hash")}
    return sorted({name[len("projection.") :].rpartition(".")[0] for name in names})


def categories(context: Any) -> list[str]:
    """For `Parameter(completer=...)` of a category."""
    return sorted({name.partition("-")[0] for name in _names(context.incomplete, "i", "list")})


def _names(beginning: str, kind: str, of_type: str) -> set[str]:
    """What stands behind `kind` in the keys of a type: `i` in lists are streams, `g` in hashes groups. The real client
    takes longer to import than may be waited here, so this one speaks for itself: a few commands, written and parsed by
    hiredis."""
    found: set[str] = set()
    with suppress(Exception):  # whatever it is: there is nobody to tell in the middle of a command line
        for name in _asked(beginning, kind, of_type):
            found.add(name)
            if len(found) >= MOST:
                break
    return found


def _asked(beginning: str, kind: str, of_type: str) -> Iterator[str]:
    from infrastructure.settings import load_settings

    until = time.monotonic() + WITHIN_SECONDS
    settings = load_settings()
    pattern = f"{settings.eventstore.prefix}:{{log.*}}:{kind}:{_quoted(beginning)}*"
    with _Line(settings, until) as line:
        cursor = b"0"
        while True:
            cursor, keys = line.ask("SCAN", cursor, "MATCH", pattern, "COUNT", "1000", "TYPE", of_type)
            for key in keys:
                name = key.decode().split(f"}}:{kind}:", 1)[1]
                if not name.startswith("$"):
                    yield name
            if cursor == b"0":
                return


def _quoted(text: str) -> str:
    return "".join("\\" + letter if letter in "*?[]^\\" else letter for letter in text)


class _Line:
    """One connection, with a time by which all must be over."""

    def __init__(self, settings: "Settings", until: float) -> None:
        import hiredis

        self._until, self._replies, self._pack = until, hiredis.Reader(), hiredis.pack_command
        self._socket, login = _connected(settings, until - time.monotonic())
        if login:
            self.ask("AUTH", *login)

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *command: str | bytes) -> Any:
        self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
        self._socket.sendall(self._pack(command))  # type: ignore[arg-type] # its stub wants a tuple of one
        while not self._replies.has_data():
            self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
            part = self._socket.recv(1 << 16)
            if not part:
                raise ConnectionError("closed")
            self._replies.feed(part)
        reply = self._replies.gets()
        if isinstance(reply, Exception):
            raise reply
        return reply


def _connected(settings: "Settings", seconds: float) -> tuple[socket.socket, list[str]]:
    """The connection, and what AUTH wants. Sentinels are not asked: no names there."""
    redis = settings.redis
    if not redis.configured:
        from infrastructure.embedded import EmbeddedServer

        return _unix(str(EmbeddedServer(settings.eventstore.data_dir.resolve()).socket), seconds), []
    url = redis.url.reveal() if redis.url else f"redis://{redis.host or ''}:{redis.port}"
    parts = urlsplit(url)
    password = unquote(parts.password) if parts.password else redis.password and redis.password.reveal()
    user = unquote(parts.username) if parts.username else redis.username
    login = [each for each in (user, password) if each] if password else []
    if parts.scheme == "unix":
        return _unix(unquote(parts.path), seconds), login
    plain = socket.create_connection((parts.hostname or "", parts.port or 6379), timeout=seconds)
    if parts.scheme != "rediss":
        return plain, login
    context = ssl.create_default_context(cafile=redis.tls_ca_file)
    if redis.tls_cert_file:
        context.load_cert_chain(redis.tls_cert_file, redis.tls_key_file)
    return context.wrap_socket(plain, server_hostname=parts.hostname), login


def _unix(path: str, seconds: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(seconds)
    found.connect(path)
    return found
