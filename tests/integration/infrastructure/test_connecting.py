"""Each way in which connecting can fail says which one it was, what to do, and never a password."""

import os
import signal
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from psutil import net_connections

from infrastructure.connect import connect
from infrastructure.errors import Unavailable
from infrastructure.secrets import Secret, SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.authority import Authority
from tests.support.black_holes import silence
from tests.support.servers import Server, free_port, redis_server, until

pytestmark = pytest.mark.anyio

PASSWORD = "correct-horse"
WRONG = "battery-staple"


async def refused(settings: RedisSettings) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        async with connect(settings):
            pass
    error = caught.value
    assert error.maybe_ran is False
    assert error.remedy
    for secret in (PASSWORD, WRONG):
        assert secret not in f"{error!r} {error} {error.detail} {error.remedy} {error.facts}"
        assert secret not in "".join(traceback.format_exception(error))
    return error


@pytest.fixture
async def guarded() -> AsyncIterator[Server]:
    async with redis_server(args=["--requirepass", PASSWORD]) as server:
        server.admin("AUTH", PASSWORD)
        yield server


def as_user(server: Server, user: str | None, password: str | None) -> RedisSettings:
    secret = Secret(password) if password else None
    return RedisSettings(host="127.0.0.1", port=server.port, username=user, password=secret)


async def test_a_password_from_the_settings_or_from_the_url(guarded: Server) -> None:
    for settings in (
        as_user(guarded, None, PASSWORD),
        RedisSettings(url=SecretUrl(f"redis://:{PASSWORD}@127.0.0.1:{guarded.port}")),
        RedisSettings(url=SecretUrl(guarded.url), password=Secret(PASSWORD)),
    ):
        async with connect(settings) as redis:
            assert await redis.execute("k", "PING") == b"PONG"


async def test_a_wrong_password(guarded: Server) -> None:
    error = await refused(as_user(guarded, None, WRONG))
    assert error.reason == "authentication"
    assert guarded.address in error.detail


async def test_no_password_where_one_is_wanted(guarded: Server) -> None:
    assert (await refused(as_user(guarded, None, None))).reason == "authentication"


async def test_a_password_where_none_is_set() -> None:
    async with redis_server() as server:
        error = await refused(as_user(server, None, WRONG))
    assert error.reason == "authentication"
    assert "remove redis.password" in str(error.remedy)


@pytest.mark.parametrize("user", [None, "alice"])
async def test_a_server_whose_auth_was_renamed_repeats_the_password_and_we_do_not(user: str | None) -> None:
    async with redis_server(args=["--rename-command", "AUTH", ""]) as server:
        error = await refused(as_user(server, user, WRONG))
    assert "unknown command 'AUTH'" in error.detail


async def test_an_acl_user_with_the_rights_it_needs(guarded: Server) -> None:
    guarded.admin("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~es:*", "+ping", "+get")
    async with connect(as_user(guarded, "app", PASSWORD)) as redis:
        assert await redis.execute("es:k", "GET", "es:k") is None
        with pytest.raises(Unavailable) as caught:
            await redis.execute("es:k", "SET", "es:k", "1")
        assert (caught.value.reason, caught.value.maybe_ran) == ("permission", False)
        with pytest.raises(Unavailable) as caught:
            await redis.execute("other", "GET", "other")
        assert caught.value.reason == "permission"


async def test_an_acl_user_that_may_not_even_ping(guarded: Server) -> None:
    guarded.admin("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~es:*", "+get")
    error = await refused(as_user(guarded, "app", PASSWORD))
    assert error.reason == "permission"
    assert "ping" in error.detail


async def test_a_user_that_does_not_exist(guarded: Server) -> None:
    assert (await refused(as_user(guarded, "nobody", WRONG))).reason == "authentication"


async def test_nothing_listens() -> None:
    error = await refused(RedisSettings(host="127.0.0.1", port=free_port()))
    assert error.reason == "unreachable"
    assert "nothing listens" in error.detail


async def test_nothing_listens_at_any_address_of_a_name() -> None:
    error = await refused(RedisSettings(host="localhost", port=free_port()))
    assert "nothing listens" in error.detail


async def test_no_such_socket(tmp_path: Path) -> None:
    error = await refused(RedisSettings(url=SecretUrl(f"unix://{tmp_path}/none.sock")))
    assert error.reason == "unreachable"
    assert "none.sock" in error.detail


async def test_a_name_that_cannot_be_resolved() -> None:
    error = await refused(RedisSettings(host="no-such-host.invalid"))
    assert error.reason == "dns"


async def test_a_server_that_accepts_but_never_answers() -> None:
    async with redis_server() as server:
        server.admin("CLIENT", "PAUSE", 400, "ALL")
        error = await refused(replace(server.settings, connect_timeout_seconds=0.1, socket_timeout_seconds=0.1))
    assert error.reason == "timeout"


async def test_a_database_that_the_server_does_not_have() -> None:
    async with redis_server() as server:
        error = await refused(replace(server.settings, db=99))
    assert error.reason == "unsupported"


async def test_cluster_mode_on_a_server_that_is_none() -> None:
    async with redis_server() as server:
        error = await refused(replace(server.settings, cluster=True))
    assert error.reason == "unsupported"
    assert "redis.cluster" in str(error.remedy)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(args: list[str], ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> RedisSettings:
    url = SecretUrl(f"rediss://localhost:{args[1]}")
    return RedisSettings(url=url, tls_ca_file=ca, tls_cert_file=cert, tls_key_file=key)


async def test_tls_with_an_authority_of_ones_own(authority: Authority) -> None:
    args = authority.server("no")
    async with redis_server(args=args, port=int(args[1])), connect(tls(args, ca=authority.ca)) as redis:
        assert await redis.run("k", ("SET", "k", "x" * 100_000), ("STRLEN", "k")) == [b"OK", 100_000]
    async with redis_server(args=args, port=int(args[1])):
        by_host = RedisSettings(host="localhost", port=int(args[1]), tls_ca_file=authority.ca)
        async with connect(by_host) as redis:
            assert await redis.execute("k", "PING") == b"PONG"


async def test_a_certificate_that_is_not_trusted(authority: Authority) -> None:
    args = authority.server("no")
    async with redis_server(args=args, port=int(args[1])):
        error = await refused(tls(args))
    assert error.reason == "tls"
    assert "tls_ca_file" in str(error.remedy)


async def test_a_server_that_wants_a_certificate_from_its_clients(authority: Authority) -> None:
    args = authority.server("yes")
    async with redis_server(args=args, port=int(args[1])):
        mine = tls(args, ca=authority.ca, cert=authority.cert, key=authority.key)
        async with connect(mine) as redis:
            assert await redis.execute("k", "PING") == b"PONG"
        error = await refused(tls(args, ca=authority.ca))
    assert error.reason in ("tls", "unreachable"), "with TLS 1.3 the refusal may be the end of the connection"


@pytest.mark.parametrize("args", [[], ["--requirepass", PASSWORD]])
async def test_tls_to_a_port_that_does_not_speak_it_is_told_soon(args: list[str]) -> None:
    """Redis waits for the end of what it takes for a command, unless the handshake happens to have one."""
    async with redis_server(args=args) as server:
        settings = RedisSettings(url=SecretUrl(f"rediss://:{PASSWORD}@127.0.0.1:{server.port}"))
        for _ in range(5):
            with anyio.fail_after(settings.connect_timeout_seconds / 2):
                error = await refused(settings)
            assert error.reason == "tls"
            assert error.detail == f"{server.address} speaks no TLS: it answers without"
            assert "redis:// for rediss://" in str(error.remedy)


async def test_tls_to_a_server_that_says_nothing_is_a_timeout() -> None:
    port = free_port()
    with silence(port):
        error = await refused(RedisSettings(url=SecretUrl(f"rediss://127.0.0.1:{port}"), connect_timeout_seconds=0.8))
    assert error.reason == "timeout"


async def test_a_slow_handshake_is_waited_for(authority: Authority) -> None:
    """The question without TLS that is asked meanwhile disturbs neither the server nor the answer."""
    args = authority.server("no")
    async with redis_server(args=args, port=int(args[1])) as server, anyio.create_task_group() as tasks:
        os.kill(server.process.pid, signal.SIGSTOP)
        tasks.start_soon(_let_go_on, server)
        async with connect(tls(args, ca=authority.ca)) as redis:
            assert await redis.execute("k", "PING") == b"PONG"


async def _let_go_on(server: Server) -> None:
    """Once both wait: the handshake, and the question."""
    port = server.port

    def waiting() -> int:
        return sum(getattr(c.laddr, "port", 0) == port and c.status == "ESTABLISHED" for c in net_connections("tcp"))

    await until(lambda: waiting() >= 2)
    os.kill(server.process.pid, signal.SIGCONT)


async def test_an_authority_file_that_is_not_there_or_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    for file in (tmp_path / "none", tmp_path / "junk"):
        error = await refused(RedisSettings(url=SecretUrl("rediss://127.0.0.1:1"), tls_ca_file=file))
        assert error.reason == "tls"
        assert str(file) in error.detail
