"""One connection to one server: commands go out once, replies come back in order, and a doubt ends it.

redis-py opens the connection and shakes hands; its retries, health checks and maintenance notifications are turned
off, because a command that is sent again behind the caller's back is an event that is written twice.
"""

import asyncio
import select
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import anyio
import hiredis
from msgspec import Struct
from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from infrastructure.errors import Unavailable
from infrastructure.plain_server import connected_by_tls
from infrastructure.refusals import lost, refusal

if TYPE_CHECKING:
    from infrastructure.settings import RedisSettings

_PEER_ENDED = getattr(select, "POLLRDHUP", 0)  # elsewhere than on Linux the end comes as POLLHUP, which needs no asking

Command = tuple[str | bytes | int | float, ...]
Reply = Any  # bytes, int, list or None, in the shapes of RESP2; a refused command's ResponseError


def pack(commands: Sequence[Command]) -> bytes:
    """Commands as bytes of the protocol. Each word is its own item: `("CONFIG", "GET", "maxmemory")`."""
    return b"".join(map(_pack, commands))


_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # its stub wants a tuple of one


class Wire:
    """A connection in use by one task at a time. Made by `Dial`; any failure or cancellation must end in `abort`."""

    def __init__(self, raw: "_RawTcp | _RawTls | _RawUnix", address: str, open_seconds: float) -> None:
        self._raw: Any = raw  # redis-py's connection methods carry no types
        self._open_seconds = open_seconds
        self.address = address
        self._answered = False

    async def open(self) -> None:
        """Connect, authenticate, choose the database. Raises Unavailable; nothing of a caller's has been sent."""
        try:
            with anyio.fail_after(self._open_seconds):
                await self._connect()
            self._raw.hold()
        except ResponseError as error:
            self.abort()
            raise refusal(error, self.address) from None  # the server's own text may hold the password
        except (RedisError, OSError) as error:
            self.abort()
            raise lost(error, self.address, maybe_ran=False, unanswered_tls=self.unanswered_tls) from error
        except BaseException:
            self.abort()
            raise

    async def _connect(self) -> None:
        if isinstance(self._raw, _RawTls):
            await connected_by_tls(self._raw.connect, self._raw.host, self._raw.port, self.address)
        else:
            await self._raw.connect()

    async def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """Send, then read `count` replies. Raises redis-py's errors and OSError when the connection fails."""
        await self._raw.send_packed_command(packed, check_health=False)
        return await self.replies(count)

    async def replies(self, count: int) -> list[Reply]:
        """Read so many replies to what was sent."""
        replies = [await self._reply() for _ in range(count)]
        self._answered = True
        return replies

    @property
    def unanswered_tls(self) -> bool:
        """Whether this speaks TLS, and nothing was answered on it yet."""
        return isinstance(self._raw, _RawTls) and not self._answered

    async def _reply(self) -> Reply:
        try:
            return await self._raw.read_response(disconnect_on_error=False)
        except ResponseError as error:
            return error

    async def usable(self) -> bool:
        """Whether an idle connection may be used: still open, and nothing came that nobody asked for."""
        try:
            return self._raw.sound() and not await self._raw.can_read()
        except RedisError:
            return False

    def abort(self) -> None:
        """End at once and forget what is still unsent. Never waits, so that it also works in a cancelled task."""
        self._raw.abort()


class Dial(Struct, frozen=True):
    """How to reach the servers of one log: everything that their connections have in common."""

    seed: str
    make: Callable[[str], Wire]


def dial(settings: "RedisSettings", *, sentinels: bool = False) -> Dial:
    """Read the settings once. `seed` is the address that they name: `host:port`, or the path of a unix socket.

    With `sentinels` the way to these: they have their own users, and no databases.
    """
    url = settings.url.reveal() if settings.url else ""
    named: dict[str, Any] = dict(parse_url(url)) if url else {}
    common: dict[str, Any] = {
        **(_sentinel_login(settings) if sentinels else _login(settings, named)),
        "protocol": 2,
        "decode_responses": False,
        "parser_class": _Replies,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "socket_timeout": None,  # one deadline around the whole exchange instead: see connect.py
        "socket_connect_timeout": settings.connect_timeout_seconds,
        "driver_info": None,  # CLIENT SETINFO would need a right of its own
    }
    context = _tls_context(settings) if _wants_tls(settings, url) else None

    def make(address: str) -> Wire:
        return Wire(_raw(address, context, common), address, settings.connect_timeout_seconds)

    host, port = named.get("host") or settings.host or "localhost", named.get("port", settings.port)
    return Dial(named.get("path") or f"{host}:{port}", make)


def host_and_port(address: str) -> tuple[str, int]:
    """`localhost:6379` and `[::1]:6379` in two."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _login(settings: "RedisSettings", named: dict[str, Any]) -> dict[str, Any]:
    return {
        "username": named.get("username") or settings.username,
        "password": named.get("password") or (settings.password.reveal() if settings.password else None),
        "db": named.get("db", settings.db),
    }


def _sentinel_login(settings: "RedisSettings") -> dict[str, Any]:
    password = settings.sentinel_password
    return {"username": settings.sentinel_username, "password": password.reveal() if password else None}


class _Replies(_AsyncHiredisParser):
    """Gives every error reply as a ResponseError.

    redis-py makes "connection lost" of some (LOADING, NOAUTH), and would drop the replies behind them.
    """

    EXCEPTION_CLASSES = {  # noqa: RUF012 - the parent's attribute, read by its classmethod
        code: kind if isinstance(kind, type) and issubclass(kind, ResponseError) else ResponseError
        for code, kind in _AsyncHiredisParser.EXCEPTION_CLASSES.items()
    }


class _Raw(AbstractConnection):
    """What redis-py's connections lack: to end without waiting, and to tell a connection that broke while idle."""

    _transport: asyncio.WriteTransport | None = None
    _ended: "select.poll | None" = None

    def abort(self) -> None:
        # Its own disconnect() lets the transport send the rest first, which a stalled server may take for ever.
        transport = self._writer.transport if self._writer else self._transport
        if transport is not None:
            transport.abort()
        parser: Any = self._parser
        parser.on_disconnect()
        self._reader = self._writer = None

    def sound(self) -> bool:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None or writer.is_closing() or reader.exception() is not None:
            return False
        # The system may know of an end that the event loop has not come to read. Costs a microsecond, and makes of
        # most calls after a server's restart ones that have surely not been sent.
        return self._ended is None or not self._ended.poll(0)

    def hold(self) -> None:
        """Remember the transport: after a failed write redis-py has forgotten it, with bytes still on their way. Raises
        OSError if the other end has closed it by now."""
        self._transport = self._writer.transport if self._writer else None
        if self._transport is not None:
            if self._transport.is_closing():
                raise (self._reader and self._reader.exception()) or ConnectionResetError("closed by the other end")
            self._ended = select.poll()
            self._ended.register(self._transport.get_extra_info("socket"), _PEER_ENDED)


class _RawTcp(_Raw, Connection):
    pass


class _RawTls(_Raw, SSLConnection):
    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _RawUnix(_Raw, UnixDomainSocketConnection):
    async def _connect(self) -> None:
        # The parent's also shakes hands here, and then its caller does so again.
        self._reader, self._writer = await asyncio.open_unix_connection(self.path)


def _raw(address: str, context: ssl.SSLContext | None, common: dict[str, Any]) -> _RawTcp | _RawTls | _RawUnix:
    if address.startswith("/"):
        return _RawUnix(path=address, **common)
    host, port = host_and_port(address)
    if context:
        return _RawTls(context, host=host, port=port, **common)
    return _RawTcp(host=host, port=port, **common)


def _wants_tls(settings: "RedisSettings", url: str) -> bool:
    if url:
        return urlsplit(url).scheme == "rediss"
    return bool(settings.tls_ca_file or settings.tls_cert_file)


def _tls_context(settings: "RedisSettings") -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file)
        if settings.tls_cert_file:
            context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except OSError as error:
        files = [str(f) for f in (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file) if f]
        raise Unavailable(
            f"the TLS files cannot be used ({', '.join(files)}): {error.strerror or error}",
            reason="tls",
            remedy="check redis.tls_ca_file, redis.tls_cert_file and redis.tls_key_file",
        ) from error
    return context
