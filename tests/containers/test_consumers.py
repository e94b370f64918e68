"""What consumers promise, on each server that they promise to run on, in a container."""

from uuid import uuid4

import pytest

from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.consumer_contract import CONTRACT, TYPES, Promise, holds
from tests.support.stores import open_store

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


@pytest.mark.parametrize("promise", CONTRACT, ids=lambda promise: promise.__name__)
async def test_consumers_keep_their_promise(any_server: str, promise: Promise) -> None:
    where = RedisSettings(url=SecretUrl(any_server))
    async with open_store(where, types=TYPES, prefix=f"t-{uuid4().hex[:8]}") as store:
        await holds(promise, store)
