from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from eventstore import EventStore, RecordedEvent
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.home import FILE
from examples.docs_consistency.ingest import Ingested, ingest
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.source import FileState
from examples.docs_consistency.stop import Stop
from infrastructure.settings import LogSettings, Settings


class Done(Struct, frozen=True):
    """What one run left behind."""

    ingested: Ingested
    files: dict[str, FileState]
    events: list[RecordedEvent]


Runner = Callable[..., Coroutine[Any, Any, Done]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A log of its own on the embedded server."""
    return Settings(eventstore=LogSettings(data_dir=tmp_path / "data", partitions=4))


@pytest.fixture
def run_once(settings: Settings) -> Runner:
    """Ingests a folder and lets the read model follow, as one run of the application does."""

    async def run(folder: Path, revision: str = "HEAD", stop: Stop | None = None) -> Done:
        stop = stop or Stop()
        source = (await open_source(folder, revision)).source
        async with EventStore.open(types=TYPES, settings=settings) as store:
            with Documents.open(settings.eventstore.data_dir / FILE) as documents:
                await catch_up(store, documents, source, Stop())
                done = await ingest(store, source, documents.rows(), stop)
                await catch_up(store, documents, source, Stop())
                files = documents.files()
            events = [event async for event in store.read_all(order="total")]
        return Done(done, files, events)

    return run
