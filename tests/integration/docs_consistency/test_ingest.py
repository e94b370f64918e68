"""From revisions to events to rows, on the embedded server."""

from itertools import cycle, groupby, pairwise
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from eventstore import EventStore, Receipt, RecordedEvent
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.events import TYPES, DocumentAdded, DocumentRemoved
from examples.docs_consistency.home import FILE
from examples.docs_consistency.ingest import ingest
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.paths import stream_of
from examples.docs_consistency.source import FileState
from examples.docs_consistency.stop import Stop
from infrastructure.settings import Settings
from tests.integration.docs_consistency.conftest import Runner
from tests.integration.docs_consistency.test_git_history import as_tree
from tests.support.checkouts import Checkout, eventful_checkout, long_checkout

pytestmark = pytest.mark.anyio


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return eventful_checkout(tmp_path / "checkout")


class StopAfter(Stop):
    """Asks to stop when it has been looked at so often."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left < 0


class Crash(Exception):
    """What a killed process does not live to see."""


class CrashingStore:
    """Appends so many events, then dies."""

    def __init__(self, store: EventStore, lives: int) -> None:
        self._store, self._lives = store, lives

    async def append(self, *arguments: Any, **options: Any) -> Receipt:
        self._lives -= 1
        if self._lives < 0:
            raise Crash
        return await self._store.append(*arguments, **options)


def fold(events: list[RecordedEvent], files: dict[str, FileState]) -> None:
    for event in events:
        if isinstance(event.data, DocumentRemoved):
            del files[event.data.path]
        else:
            files[event.data.path] = FileState(event.data.blob, event.data.mode)


async def test_the_read_model_equals_the_tree(made: Checkout, run_once: Runner) -> None:
    done = await run_once(made.folder)
    assert as_tree(done.files) == made.tree()


async def test_the_log_in_total_order_gives_the_tree_of_every_commit(made: Checkout, run_once: Runner) -> None:
    done = await run_once(made.folder)
    files: dict[str, FileState] = {}
    seen = []
    for commit, events in groupby(done.events, key=lambda event: event.metadata.correlation_id):
        fold(list(events), files)
        assert as_tree(files) == made.tree(commit or "")
        seen.append(commit)
    assert seen == [commit for commit in made.commits() if commit != made.head()]  # the last one changed nothing


async def test_a_strange_name_is_a_stream_byte_for_byte(made: Checkout, run_once: Runner) -> None:
    streams = {event.stream for event in (await run_once(made.folder)).events}
    assert {"document-docs/naïve café.md", "document-docs/two words.md", 'document-docs/quo"te\\back.md'} <= streams
    assert streams == {stream_of(path) for path in (await run_once(made.folder)).files} | {
        "document-a.md",
        "document-folder/b.md",
        "document-docs/two words.md",
    }


async def test_every_commit_is_caused_by_the_last_event_of_the_one_before(made: Checkout, run_once: Runner) -> None:
    events = (await run_once(made.folder)).events
    commits = [list(some) for _, some in groupby(events, key=lambda event: event.metadata.correlation_id)]
    assert {event.metadata.causation_id for event in commits[0]} == {None}
    for before, after in pairwise(commits):
        assert {event.metadata.causation_id for event in after} == {str(before[-1].id)}
        assert min(event.recorded_at for event in after) > before[-1].recorded_at


async def test_the_second_run_adds_nothing(made: Checkout, run_once: Runner) -> None:
    first = await run_once(made.folder)
    second = await run_once(made.folder)
    assert (second.ingested.events, second.events, second.files) == (0, first.events, first.files)


async def test_new_commits_are_all_that_is_added(made: Checkout, run_once: Runner) -> None:
    first = await run_once(made.folder)
    made.write("new.md", "x")
    made.write("README.md", "y")
    head = made.commit()
    second = await run_once(made.folder)
    added = second.events[len(first.events) :]
    assert sorted(event.type for event in added) == ["DocumentAdded", "DocumentChanged"]
    assert {event.metadata.correlation_id for event in added} == {head}
    assert {event.metadata.causation_id for event in added} == {str(first.events[-1].id)}


async def test_a_rewritten_history_is_settled_by_the_difference(made: Checkout, run_once: Runner) -> None:
    first = await run_once(made.folder)
    made.git("reset", "--quiet", "--hard", "HEAD~3")
    made.write("instead.md", "x")
    made.commit()
    second = await run_once(made.folder)
    assert second.ingested.rewritten
    assert as_tree(second.files) == made.tree()
    assert len(second.events) - len(first.events) == second.ingested.events < 10
    assert (await run_once(made.folder)).ingested.events == 0


async def test_an_older_revision_and_back(made: Checkout, run_once: Runner) -> None:
    for revision in ("HEAD~4", "HEAD", made.commits()[0], "HEAD", "side", "HEAD"):
        assert as_tree((await run_once(made.folder, revision)).files) == made.tree(revision)


async def test_a_run_that_is_stopped_anywhere_is_gone_on_with(made: Checkout, run_once: Runner) -> None:
    wanted = None
    total = 0
    for looks in range(1, 40):
        done = await run_once(made.folder, stop=StopAfter(looks))
        total += done.ingested.events
        assert len(done.events) == total
        wanted = done
    assert wanted is not None
    assert as_tree(wanted.files) == made.tree()
    assert (await run_once(made.folder)).ingested.events == 0


async def test_a_run_that_dies_between_any_two_events_is_gone_on_with(
    made: Checkout, run_once: Runner, settings: Settings
) -> None:
    source = (await open_source(made.folder)).source
    async with EventStore.open(types=TYPES, settings=settings) as store:
        with Documents.open(settings.eventstore.data_dir / FILE) as documents:
            for lives in cycle((1, 2, 3)):
                try:
                    await ingest(cast("EventStore", CrashingStore(store, lives)), source, documents.rows(), Stop())
                    break
                except Crash:
                    await catch_up(store, documents, source, Stop())
        done = await run_once(made.folder)
        assert as_tree(done.files) == made.tree()
        # Nothing twice, and nothing undone and done again: as many events as the history has changes.
        async with source.history(None) as history:
            assert history is not None
            assert len(done.events) == sum([len(revision.changes) async for revision in history.revisions])


async def test_a_read_model_that_was_lost_is_made_again(made: Checkout, run_once: Runner, settings: Settings) -> None:
    first = await run_once(made.folder)
    (settings.eventstore.data_dir / FILE).unlink()
    second = await run_once(made.folder)
    assert (second.ingested.events, second.files) == (0, first.files)


async def test_a_read_model_of_another_log_is_made_again(
    made: Checkout, run_once: Runner, settings: Settings, tmp_path: Path
) -> None:
    await run_once(made.folder)
    (settings.eventstore.data_dir / FILE).rename(tmp_path / "kept")
    for left in settings.eventstore.data_dir.rglob("*"):
        if left.is_file():
            left.unlink()
    (tmp_path / "kept").rename(settings.eventstore.data_dir / FILE)
    done = await run_once(made.folder)
    assert done.ingested.events == len(done.events) > 0
    assert as_tree(done.files) == made.tree()


async def test_two_runs_at_once_write_every_event_once(made: Checkout, run_once: Runner, settings: Settings) -> None:
    source = (await open_source(made.folder)).source
    async with EventStore.open(types=TYPES, settings=settings) as store, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ingest, store, source, {}, Stop())
    done = await run_once(made.folder)
    assert done.ingested.events == 0
    assert len({event.id for event in done.events}) == len(done.events)
    assert as_tree(done.files) == made.tree()


async def test_a_folder_is_compared_with_the_rows(tmp_path: Path, run_once: Runner) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.md", "b.md", "sub/c.md"):
        (folder / name).write_text(name)
    assert [event.type for event in (await run_once(folder)).events] == ["DocumentAdded"] * 3
    (folder / "a.md").write_text("changed")
    (folder / "b.md").unlink()
    second = await run_once(folder)
    assert sorted(event.type for event in second.events[3:]) == ["DocumentChanged", "DocumentRemoved"]
    assert len({event.metadata.correlation_id for event in second.events[3:]}) == 1
    assert set(second.files) == {"a.md", "sub/c.md"}
    assert (await run_once(folder)).ingested.events == 0


async def test_a_folder_that_becomes_a_checkout_keeps_its_history(tmp_path: Path, run_once: Runner) -> None:
    made = Checkout(tmp_path / "folder")
    made.write("a.md", "a")
    assert (await run_once(made.folder)).ingested.events == 1
    made.commit()
    assert (await run_once(made.folder)).ingested.events == 0
    made.write("b.md", "b")
    made.commit()
    done = await run_once(made.folder)
    assert as_tree(done.files) == made.tree()


async def test_a_log_that_holds_other_things_is_left_alone(
    made: Checkout, run_once: Runner, settings: Settings
) -> None:
    async with EventStore.open(types=TYPES, settings=settings) as store:
        await store.append("order-1", [DocumentAdded("x", "y", "z")])
    done = await run_once(made.folder)
    assert as_tree(done.files) == made.tree()


async def test_thousands_of_changes_are_written_once(tmp_path: Path, run_once: Runner, settings: Settings) -> None:
    made, changes = long_checkout(tmp_path / "long", 300)
    done = await run_once(made.folder)
    assert len(done.events) == done.ingested.events == changes
    with Documents.open(settings.eventstore.data_dir / FILE) as documents:
        assert sum(row.version for row in documents.rows().values()) == changes
