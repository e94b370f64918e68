from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.embedded import holds_lock


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place for an embedded server; none may live there when the test ends."""
    folder = tmp_path / ".eventstore"
    yield folder
    assert not holds_lock(folder), "a server has been left behind"
