"""How a store is opened; what needs no server."""

import pytest

from eventstore import EventStore, InvalidRequest
from infrastructure.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_url_beside_settings_is_refused_for_one_of_them_would_not_count() -> None:
    with pytest.raises(InvalidRequest) as caught:
        async with EventStore.open("redis://127.0.0.1:1", settings=Settings()):
            pass
    assert caught.value.field == "url"
