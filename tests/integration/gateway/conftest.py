"""The command against a redis-server of this folder's tests, each test under a prefix of its own; and embedded."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio.from_thread
import pytest

from tests.support.command import Command
from tests.support.here import Here, in_this_process
from tests.support.servers import Server, redis_server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(redis_server(args=["--maxmemory", "500mb"])) as server,
    ):
        yield server


@pytest.fixture
def cli(server: Server, tmp_path: Path) -> Iterator[Command]:
    """On the redis-server. Afterwards no key is left that is not under the prefix of the test."""
    prefix = f"t{uuid4().hex[:8]}"
    yield Command(tmp_path, REDIS_URL=server.url, EVENTSTORE_PREFIX=prefix, EVENTSTORE_PARTITIONS="4")
    keys = server.admin("KEYS", "*")
    server.admin("FLUSHALL")
    assert [key for key in keys if not key.startswith(prefix.encode() + b":")] == []


@pytest.fixture
def here(cli: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """As `cli`, but in the process of the test."""
    with in_this_process(cli, monkeypatch, capsys) as here:
        yield here


@pytest.fixture
def embedded(tmp_path: Path) -> Command:
    """Where no server is configured."""
    return Command(tmp_path, EVENTSTORE_PARTITIONS="4")


@pytest.fixture(params=["redis-server", "embedded"])
def either(request: pytest.FixtureRequest) -> Command:
    """On both kinds of server, one after the other."""
    found: Command = request.getfixturevalue("cli" if request.param == "redis-server" else "embedded")
    return found
