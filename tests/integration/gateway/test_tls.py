"""A log over TLS with an authority of its own: by the API, and by commands of `eventstore`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import anyio.from_thread
import pytest

from eventstore import EventStore, Unavailable
from infrastructure.secrets import SecretUrl
from infrastructure.settings import LogSettings, RedisSettings, Settings
from tests.support.authority import Authority
from tests.support.command import Command
from tests.support.servers import redis_server
from tests.support.stores import Noted


@asynccontextmanager
async def tls_server(authority: Authority, clients: str) -> AsyncIterator[str]:
    """Its URL. Nothing but TLS is spoken there."""
    args = authority.server(clients)
    async with redis_server(args=[*args, "--maxmemory", "500mb"], port=int(args[1])):
        yield f"rediss://localhost:{args[1]}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["no", "yes"], ids=["any client", "clients with a certificate"])
def url(request: pytest.FixtureRequest, authority: Authority) -> Iterator[str]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(tls_server(authority, request.param)) as url,
    ):
        yield url


def settings_of(url: str, trusted: Authority, own: Authority | None) -> Settings:
    mine = (own.cert, own.key) if own else (None, None)
    where = RedisSettings(url=SecretUrl(url), tls_ca_file=trusted.ca, tls_cert_file=mine[0], tls_key_file=mine[1])
    return Settings(redis=where, eventstore=LogSettings(partitions=2))


@pytest.mark.anyio
async def test_appends_reads_and_subscriptions_go_over_tls(url: str, authority: Authority) -> None:
    big = "x" * 200_000
    async with EventStore.open(settings=settings_of(url, authority, authority), types=[Noted]) as store:
        async with aclosing(store.subscribe(order="total")) as following:
            for n in (1, 2):
                await store.append("order-1", [Noted(n, big)], expected=n - 1)
                with anyio.fail_after(10):
                    event = await anext(following)
                assert event.data == Noted(n, big)
        assert [event.data.n async for event in store.read("order-1")] == [1, 2]


def test_commands_go_over_tls(url: str, authority: Authority, tmp_path: Path) -> None:
    cli = Command(
        tmp_path,
        REDIS_URL=url,
        REDIS_TLS_CA_FILE=str(authority.ca),
        REDIS_TLS_CERT_FILE=str(authority.cert),
        REDIS_TLS_KEY_FILE=str(authority.key),
        EVENTSTORE_PREFIX="cli",
    )
    assert cli.ok("--json", "publish", "order-42", "OrderPlaced", '{"total": 99}').json["version"] == 1
    assert "FAIL" not in cli.ok("doctor").out
    assert cli.ok("--json", "read", "order-42").items[0]["data"] == {"total": 99}


@pytest.mark.parametrize("trusted", ["nobody", "another"])
def test_a_server_that_is_not_trusted_is_not_spoken_to(url: str, tmp_path: Path, trusted: str) -> None:
    another = Authority(tmp_path / "another")
    files = {"REDIS_TLS_CA_FILE": str(another.ca)} if trusted == "another" else {}
    done = Command(tmp_path, REDIS_URL=url, **files).run("--json", "publish", "order-42", "OrderPlaced", "{}")
    assert done.code == 5
    assert done.problem["reason"] == "tls"
    assert "is not trusted" in done.problem["detail"]
    assert url.removeprefix("rediss://") in done.problem["detail"]
    assert "redis.tls_ca_file" in done.problem["remedy"]


@pytest.mark.anyio
async def test_a_certificate_for_another_host_is_refused_with_the_name_that_was_wanted(tmp_path: Path) -> None:
    elsewhere = Authority(tmp_path, "redis.example")
    async with tls_server(elsewhere, "no") as url:
        with pytest.raises(Unavailable, match="not valid for 'localhost'") as caught:
            async with EventStore.open(settings=settings_of(url, elsewhere, None)):
                pass
    assert (caught.value.reason, caught.value.maybe_ran) == ("tls", False)
    assert "host is one the certificate names" in str(caught.value.remedy)


@pytest.mark.anyio
@pytest.mark.parametrize("own", ["none", "of another authority"])
async def test_a_client_that_the_server_does_not_trust_is_told_so(
    authority: Authority, tmp_path: Path, own: str
) -> None:
    stranger = Authority(tmp_path) if own == "of another authority" else None
    async with tls_server(authority, "yes") as url:
        with pytest.raises(Unavailable) as caught:
            async with EventStore.open(settings=settings_of(url, authority, stranger)):
                pass
    assert caught.value.reason in ("tls", "unreachable"), "it may end the connection without a word"
    assert "redis.tls_cert_file" in str(caught.value.remedy)
