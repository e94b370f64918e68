"""A real documentation project: 2,370 commits, 6,311 file changes."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from eventstore import EventStore, RecordedEvent
from examples.docs_consistency.events import TYPES, DocumentRemoved
from examples.docs_consistency.read_models import tree
from examples.docs_consistency.source import FileState
from projections.at import file_of, project_at
from tests.integration.docs_consistency.test_command import Command, changes_in, settings_of
from tests.integration.docs_consistency.test_git_history import as_tree
from tests.support.checkouts import Checkout, corpus

pytestmark = pytest.mark.anyio

_COMPARED_EVERY = 10
_PROJECTED_EVERY = 300


async def test_the_read_model_equals_the_tree_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    made = corpus(tmp_path / "corpus")
    command = Command(tmp_path / "here")
    first = command.report(made.folder)
    assert first["new_events"] > 6_000
    again = command.report(made.folder)
    assert again["new_events"] == 0
    assert again["findings"] == first["findings"]
    assert command.run(made.folder, "--tree")[0] == made.tree()
    async with EventStore.open(types=TYPES, settings=settings_of(command)) as store:
        files: dict[str, FileState] = {}
        events = await changes_in(store)
        await the_projection_equals_the_tree_of_any_commit(store, events, made, tmp_path)
    assert len(events) == first["new_events"]
    commits = [(commit or "", list(some)) for commit, some in groupby(events, lambda e: e.metadata.correlation_id)]
    for place, (commit, some) in enumerate(commits):
        for event in some:
            if isinstance(event.data, DocumentRemoved):
                del files[event.data.path]
            else:
                files[event.data.path] = FileState(event.data.blob, event.data.mode)
        if place % _COMPARED_EVERY == 0 or place == len(commits) - 1:
            assert as_tree(files) == made.tree(commit)


async def the_projection_equals_the_tree_of_any_commit(
    store: EventStore, events: Sequence[RecordedEvent], made: Checkout, folder: Path
) -> None:
    """As of the moment of a commit's last event."""
    last = {event.metadata.correlation_id or "": event for event in events}  # in the order of the commits
    commits = list(last)
    for commit in (*commits[::_PROJECTED_EVERY], commits[-1]):
        moment = await store.position_at(last[commit].recorded_at)
        file = folder / f"{commit}.sqlite"
        async for done, total in project_at(store, tree, moment, file_of(file)):
            assert done <= total
        with closing(sqlite3.connect(file)) as database:
            rows = database.execute("SELECT path, blob, mode FROM files").fetchall()
        assert as_tree({path: FileState(blob, mode) for path, blob, mode in rows}) == made.tree(commit)
