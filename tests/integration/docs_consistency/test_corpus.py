"""A real documentation project: 2,370 commits, 6,311 file changes."""

import time
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from eventstore import EventStore
from examples.docs_consistency.events import TYPES, DocumentRemoved
from examples.docs_consistency.source import FileState
from tests.integration.docs_consistency.test_command import Command, settings_of
from tests.integration.docs_consistency.test_git_history import as_tree
from tests.support.checkouts import Checkout, corpus

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

_COMPARED_EVERY = 10


def timed(command: Command, made: Checkout) -> tuple[Any, float]:
    began = time.monotonic()
    report = command.report(made.folder)
    return report, time.monotonic() - began


async def test_the_whole_history_takes_under_30_seconds_and_a_second_run_under_3(tmp_path: Path) -> None:
    made = corpus(tmp_path / "corpus")
    command = Command(tmp_path / "here")
    first, seconds = timed(command, made)
    assert first["new_events"] > 6_000
    assert seconds < 30
    again = [timed(command, made) for _ in range(5)]
    assert {report["new_events"] for report, _ in again} == {0}
    assert all(report["findings"] == first["findings"] for report, _ in again)
    # The best of them: what else this machine does is not measured here.
    assert min(seconds for _, seconds in again) < 3
    assert command.run(made.folder, "--tree")[0] == made.tree()
    async with EventStore.open(types=TYPES, settings=settings_of(command)) as store:
        files: dict[str, FileState] = {}
        events = [event async for event in store.read_all(order="total")]
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
