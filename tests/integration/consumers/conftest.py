"""After each test of consumers: no key is left that neither a log nor a group of it has."""

from collections.abc import Iterator

import pytest

from tests.support.servers import LIVE
from tests.support.stores import strange_keys


@pytest.fixture(autouse=True)
def no_strange_key() -> Iterator[None]:
    yield
    for server in LIVE:
        if server.process.poll() is None and server.admin("ROLE")[0] == b"master":
            assert strange_keys(server) == [], "keys that no log has were left behind"
