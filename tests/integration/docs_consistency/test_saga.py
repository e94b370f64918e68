"""The documentation saga on real checkouts: completed, taken back where the checkout is broken, gone on with."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventstore import EventStore
from examples.docs_consistency.documents import Documents
from examples.docs_consistency.events import TYPES
from examples.docs_consistency.home import FILE
from tests.integration.docs_consistency.test_command import Command, changes_in, settings_of
from tests.integration.docs_consistency.test_git_history import as_tree
from tests.support.checkouts import Checkout, long_checkout
from tests.support.servers import tries

pytestmark = pytest.mark.anyio


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "here")


@pytest.fixture
async def store(command: Command) -> AsyncIterator[EventStore]:
    async with EventStore.open(types=TYPES, settings=settings_of(command)) as opened:
        yield opened


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "the docs")
    made.write("a.md", "# A\n\n[b](b.md)\n")
    made.commit()
    return made


def break_blob(made: Checkout, path: str) -> Path:
    """Takes a content out of the checkout; where it is then."""
    blob = made.git("rev-parse", f"HEAD:{path}").decode().strip()
    file = made.folder / ".git" / "objects" / blob[:2] / blob[2:]
    return Path(shutil.move(file, made.folder.parent / blob))


def mend_blob(made: Checkout, taken: Path) -> None:
    shutil.move(taken, made.folder / ".git" / "objects" / taken.name[:2] / taken.name[2:])


async def facts_of(store: EventStore, made: Checkout, suffix: str = "") -> list[str]:
    """The types in the stream of the saga of the present commit."""
    stream = f"saga-docs-the_docs.{made.head()[:12]}{suffix}"
    return [event.type.removeprefix("saga.") async for event in store.read(stream)]


async def told_of(store: EventStore) -> list[str]:
    return [event.type async for event in store.read("source-the_docs")]


async def test_a_source_is_seen_through_once_for_each_commit(
    command: Command, made: Checkout, store: EventStore
) -> None:
    _, said = command.run(made.folder)
    assert re.findall(r"^  (\w+) +succeeded", said, re.MULTILINE) == ["ingest", "store", "analyse", "report"]
    page = re.findall(r"report +succeeded .*s  (.*)$", said, re.MULTILINE)[0]
    assert (command.folder / page).read_text().endswith("</html>\n")
    first = await facts_of(store, made)
    assert (first[0], first[-1], first.count("step_started")) == ("started", "completed", 4)
    heads = await store.heads()
    assert "has completed before: nothing is new" in command.run(made.folder)[1]
    assert await store.heads() == heads
    assert await told_of(store) == ["SourceStored", "SourceAnalysed", "SourceReported"]
    made.write("b.md", "# B\n")
    made.commit()
    command.run(made.folder)
    assert (await facts_of(store, made))[-1] == "completed"
    assert await told_of(store) == 2 * ["SourceStored", "SourceAnalysed", "SourceReported"]


async def test_a_broken_checkout_is_taken_back_and_told_of(command: Command, made: Checkout, store: EventStore) -> None:
    command.run(made.folder)
    before = made.tree()
    made.write("a.md", "# A\n")
    made.write("b.md", "# B\n")
    made.commit()
    taken = break_blob(made, "b.md")
    _, said = command.run(made.folder, code=1)
    assert re.findall(r"^  (take back \w+) +succeeded", said, re.MULTILINE) == ["take back store", "take back ingest"]
    assert re.search(r"analyse +failed +3 attempts  SourceError: git has no content for 'b.md'", said)
    assert "error: taken-back: analyse failed" in said
    with Documents.open(command.folder / ".eventstore" / FILE) as rows:
        assert as_tree(rows.files()) == before
    assert (await told_of(store))[-2:] == ["SourceStored", "SourceWithdrawn"]
    assert (await facts_of(store, made))[-1] == "compensated"

    mend_blob(made, taken)
    command.run(made.folder)
    assert (await facts_of(store, made, ".2"))[-1] == "completed"
    assert command.run(made.folder, "--tree")[0] == made.tree()


async def test_a_first_commit_that_is_broken_leaves_no_document(
    command: Command, made: Checkout, store: EventStore
) -> None:
    break_blob(made, "a.md")
    command.run(made.folder, code=1)
    assert [event.type for event in await changes_in(store)] == ["DocumentAdded", "DocumentRemoved"]


async def test_a_commit_that_comes_back_is_seen_through_again(
    command: Command, made: Checkout, store: EventStore
) -> None:
    made.write("b.md", "# B\n")
    made.commit()
    for revision in ("HEAD", "HEAD~1", "HEAD"):
        assert command.run(made.folder, "--rev", revision, "--tree")[0] == made.tree(revision)
    assert (await facts_of(store, made, ".2"))[-1] == "completed"


async def test_two_places_of_one_name_and_commit_have_sagas_of_their_own(
    command: Command, made: Checkout, store: EventStore
) -> None:
    command.run(made.folder, "--data-dir", ".eventstore")
    moved = made.folder.parent / "elsewhere" / made.folder.name
    shutil.move(made.folder, moved)
    made.folder = moved
    command.run(moved, "--data-dir", ".eventstore")
    assert (await facts_of(store, made, ".2"))[-1] == "completed"
    assert len(await changes_in(store)) == 1


async def test_a_run_that_is_killed_is_gone_on_with_by_the_same_saga(
    command: Command, tmp_path: Path, store: EventStore
) -> None:
    made, changes = long_checkout(tmp_path / "the docs", 300)
    process = command.start(made.folder)
    async for _ in tries():
        if len(await changes_in(store)) > changes // 3:
            break
    process.kill()
    process.communicate()
    assert command.run(made.folder, "--tree")[0] == made.tree()
    facts = await facts_of(store, made)
    assert (facts.count("started"), facts.count("step_started"), facts[-1]) == (1, 4, "completed")
    assert len(await changes_in(store)) == changes
    assert await told_of(store) == ["SourceStored", "SourceAnalysed", "SourceReported"]
