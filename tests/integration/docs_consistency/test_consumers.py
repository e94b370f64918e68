"""The read model and the outlines, kept by consumers: by a run, by workers beside it, after crashes."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.groups import list_groups
from eventstore import EventStore
from examples.docs_consistency.catch_up import catch_up
from examples.docs_consistency.checks import Outlines, is_markdown
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.errors import ReadModelDamaged, ReadModelUnusable
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.home import FILE
from examples.docs_consistency.ingest import ingest
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.stop import Stop
from infrastructure.settings import Settings
from tests.integration.docs_consistency.conftest import Runner
from tests.integration.docs_consistency.test_command import Command as Application
from tests.integration.docs_consistency.test_command import head_of, settings_of
from tests.integration.docs_consistency.test_git_history import as_tree
from tests.support.checkouts import Checkout, eventful_checkout, long_checkout
from tests.support.command import Command, interrupt, wait_for_line
from tests.support.servers import tries

pytestmark = pytest.mark.anyio


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return eventful_checkout(tmp_path / "checkout")


@pytest.fixture
def file(settings: Settings) -> Path:
    return settings.eventstore.data_dir / FILE


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[EventStore]:
    async with EventStore.open(types=TYPES, settings=settings) as opened:
        yield opened


def without_outline(rows: Documents) -> list[str]:
    kept = Outlines(rows)
    found = rows.files().items()
    return [path for path, state in found if is_markdown(path, state) and kept.kept(state.blob) is None]


async def test_at_the_end_of_a_run_no_group_is_behind_and_every_document_has_its_outline(
    made: Checkout, run_once: Runner, store: EventStore, file: Path
) -> None:
    await run_once(made.folder)
    groups = await list_groups(store)
    assert [(g.group, g.state, g.lag, g.retrying, g.parked) for g in groups] == [
        ("documents", "idle", 0, 0, 0),
        ("outlines", "idle", 0, 0, 0),
    ]
    with Documents.open(file) as rows:
        assert without_outline(rows) == []


async def test_contents_that_were_replaced_in_the_same_history_are_not_parsed(
    tmp_path: Path, run_once: Runner, file: Path
) -> None:
    made, _ = long_checkout(tmp_path / "long", 50)
    await run_once(made.folder)
    with Documents.open(file) as rows:
        (outlines,) = rows.database.execute("SELECT count(*) FROM outlines").fetchone()
        assert outlines == len({state.blob for state in rows.files().values()})


async def test_rows_that_a_crash_of_the_machine_took_back_are_made_again(
    made: Checkout, run_once: Runner, file: Path, tmp_path: Path
) -> None:
    await run_once(made.folder, "HEAD~6")
    shutil.copy(file, tmp_path / "as_it_was")
    await run_once(made.folder)
    for left in file.parent.glob(f"{FILE}*"):
        left.unlink()
    shutil.copy(tmp_path / "as_it_was", file)
    done = await run_once(made.folder)
    assert (done.ingested.events, as_tree(done.files)) == (0, made.tree())


async def test_a_document_that_does_not_follow_its_row_is_parked_and_told_of(
    made: Checkout, store: EventStore, file: Path
) -> None:
    first, second = [(await open_source(made.folder, revision)).source for revision in ("HEAD~6", "HEAD")]
    with Documents.open(file) as rows:
        await ingest(store, first, {}, Stop())
        await catch_up(store, rows, first, Stop())
        await ingest(store, second, rows.rows(), Stop())
        rows.database.execute("UPDATE documents SET version = version - 1 WHERE path = 'a.md'")
        with pytest.raises(ReadModelDamaged, match="1 of them wait") as raised:
            await catch_up(store, rows, second, Stop())
    assert raised.value.remedy == "eventstore dlq list documents says why"


async def test_a_file_that_cannot_be_written_ends_the_run(made: Checkout, store: EventStore, file: Path) -> None:
    source = (await open_source(made.folder)).source
    await ingest(store, source, {}, Stop())
    with Documents.open(file) as rows:
        Outlines(rows)
        rows.database.execute("PRAGMA query_only = 1")
        with pytest.raises(ReadModelUnusable, match="readonly"):
            await catch_up(store, rows, source, Stop())
        rows.database.execute("PRAGMA query_only = 0")
        await catch_up(store, rows, source, Stop())
        assert as_tree(rows.files()) == made.tree()


async def test_a_run_that_is_killed_as_its_consumers_work_is_gone_on_with(tmp_path: Path) -> None:
    application = Application(tmp_path / "here")
    made, changes = long_checkout(tmp_path / "long", 400)
    async with EventStore.open(types=TYPES, settings=settings_of(application)) as store:
        process = application.start(made.folder)
        while await head_of(store) < changes:
            assert process.poll() is None
        async for _ in tries():
            if any(each.lag < changes for each in await list_groups(store)):
                break
        process.kill()
        process.communicate()
        assert application.run(made.folder, "--tree")[0] == made.tree()
        assert all(each.lag == 0 for each in await list_groups(store))
        assert await head_of(store) == changes


async def test_a_worker_keeps_rows_and_outlines_as_events_and_commits_come(
    made: Checkout, store: EventStore, settings: Settings, file: Path, tmp_path: Path
) -> None:
    eventstore = Command(tmp_path, DOCS=str(made.folder), EVENTSTORE_DATA_DIR=str(settings.eventstore.data_dir))
    worker = eventstore.start("work", "--app", "examples.docs_consistency.consumers")
    wait_for_line(worker, "working for documents, outlines")
    with Documents.open(file) as rows:
        for text in ("# one", "# two"):
            made.write("new.md", text)
            made.commit()
            await ingest(store, (await open_source(made.folder)).source, rows.rows(), Stop())
            async for _ in tries():
                if as_tree(rows.files()) == made.tree() and not without_outline(rows):
                    break
    assert interrupt(worker)[0] == 0
