"""Consumers of a log over TLS: their handling, renewals, which have connections of their own, and the relay."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.authority import Authority
from tests.support.consumer_contract import CONTRACT, TYPES, Promise, holds
from tests.support.servers import LIVE, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def where(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisSettings]:
    """A server that speaks nothing but TLS, to clients with a certificate."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    args = authority.server("yes")
    async with redis_server(args=args, port=int(args[1])) as server:
        LIVE.remove(server)  # whose keys are looked at without TLS
        yield RedisSettings(
            url=SecretUrl(f"rediss://localhost:{args[1]}"),
            tls_ca_file=authority.ca,
            tls_cert_file=authority.cert,
            tls_key_file=authority.key,
        )


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_consumers_keep_their_promise_over_tls(where: RedisSettings, promise: Promise) -> None:
    async with open_store(where, types=TYPES, prefix=f"t-{uuid4().hex[:8]}") as store:
        await holds(promise, store)
