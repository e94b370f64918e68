"""`python -m examples.docs_consistency`, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from eventstore import EventStore, Filter, RecordedEvent
from examples.docs_consistency.events import CATEGORY, TYPES
from infrastructure.settings import LogSettings, Settings
from tests.support.checkouts import Checkout, eventful_checkout, long_checkout
from tests.support.servers import Server, redis_server

pytestmark = pytest.mark.anyio

_REPOSITORY = Path(__file__).parents[3]


class Command:
    """Runs the application in a folder of its own, on the embedded server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("REDIS_", "EVENTSTORE_", "GIT_"))}
        self._environment = {**kept, "PYTHONPATH": str(_REPOSITORY)}

    def on(self, server: Server) -> None:
        """From now on uses this server."""
        self._environment["REDIS_URL"] = server.url

    def start(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "examples.docs_consistency", *map(str, arguments)],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str | Path, code: int = 0) -> tuple[bytes, str]:
        process = self.start(*arguments)
        out, said = process.communicate(timeout=100)
        assert process.returncode == code, said.decode()
        return out, said.decode()

    def report(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json")[0])


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path / "here")


@pytest.fixture
def made(tmp_path: Path) -> Checkout:
    return eventful_checkout(tmp_path / "checkout")


async def test_a_run_ingests_checks_and_reports(command: Command, made: Checkout) -> None:
    made.write("links.md", "# L\n\n[a](README.md#start) [b](gone.md)\n[c](/docs/naïve%20café.md#cafe) [d](lib/x.md)\n")
    made.commit()
    found = command.report(made.folder)
    assert (found["commit"], found["links"], found["external"]) == (made.head(), 4, 1)
    assert [(f["path"], f["line"], f["target"], f["kind"], f["suggestion"]) for f in found["findings"]] == [
        ("links.md", 3, "gone.md", "missing-file", None),
        ("links.md", 4, "/docs/naïve%20café.md#cafe", "missing-anchor", "/docs/naïve%20café.md#café"),
    ]
    assert command.report(made.folder)["new_events"] == 0
    out, _ = command.run(made.folder)
    assert "2 findings in 1 document." in out.decode()


async def test_the_report_on_a_folder_of_the_checkout_counts_what_lies_in_it(command: Command, made: Checkout) -> None:
    for name in ("part/a.md", "part/deep/b.md", "part/c.txt", "partly.md"):
        made.write(name, "# A\n\n[b](deep/b.md)\n")
    made.commit()
    found = command.report(made.folder / "part")
    assert (found["part"], found["files"], found["documents"]) == ("part/", 3, 2)
    whole = command.report(made.folder)
    assert (whole["part"], whole["files"]) == ("", made.tree().count(b"\0"))


async def test_what_the_server_is_warned_of_is_not_in_the_report(command: Command, made: Checkout) -> None:
    async with redis_server() as server:  # without maxmemory, which is warned of
        command.on(server)
        out, said = command.run(made.folder, "--json")
    assert json.loads(out)["commit"] == made.head()
    assert "server_check" in said


async def test_one_is_said_as_one(command: Command, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.md").write_text("# A\n")
    assert "1 revision, 1 event\n" in command.run(tmp_path / "folder")[1]


async def test_the_tree_is_that_of_git_at_any_revision(command: Command, made: Checkout) -> None:
    for revision in (made.commits()[0], "HEAD"):
        assert command.run(made.folder, "--rev", revision, "--tree")[0] == made.tree(revision)


async def test_the_page_is_written_whole(command: Command, made: Checkout) -> None:
    _, said = command.run(made.folder, "--html", "report.html")
    html = (command.folder / "report.html").read_text()
    assert html.endswith("</html>\n")
    assert "report in report.html" in said


async def test_each_checkout_has_a_log_of_its_own(command: Command, made: Checkout) -> None:
    other = Checkout(made.folder.parent / "other")
    other.write("README.md", "another")
    other.commit()
    for checkout in (made, other, made):
        assert command.run(checkout.folder, "--tree")[0] == checkout.tree()
    _, said = command.run(other.folder, "--data-dir", ".eventstore", code=2)
    assert "the log holds the documents of" in said
    assert command.run(other.folder, "--data-dir", ".eventstore", "--adopt", "--tree")[0] == other.tree()


async def test_a_moved_checkout_is_known_by_its_history(command: Command, made: Checkout) -> None:
    command.run(made.folder, "--data-dir", "log")
    moved = made.folder.rename(made.folder.parent / "moved")
    assert command.report(moved, "--data-dir", "log")["new_events"] == 0


async def test_a_lost_read_model_of_a_folder_is_made_again(command: Command) -> None:
    for name in ("a.md", "b.md", "c.md"):
        (command.folder / name).write_text(name)
    command.run()
    (command.folder / ".eventstore" / "documents.sqlite").unlink()
    (command.folder / "a.md").write_text("changed")
    assert command.report()["new_events"] == 1


async def test_a_folder_does_not_ingest_the_log_or_the_report(command: Command) -> None:
    (command.folder / "a.md").write_text("# A\n")
    for expected in (1, 0):
        assert command.report("--html", "report.html")["new_events"] == expected


async def test_findings_are_a_failure_only_if_asked(command: Command) -> None:
    (command.folder / "a.md").write_text("[x](gone.md)\n")
    command.run()
    command.run("--strict", code=1)


async def test_what_cannot_be_is_said_in_one_form(command: Command, made: Checkout) -> None:
    (command.folder / "a.md").write_text("x")
    for arguments, error in (
        (("gone",), "error: bad-request: gone is not a folder\n  field: PATH\n  hint:  "),
        ((made.folder, "--rev", "gone"), "has no revision 'gone'\n  field: --rev\n  hint:  "),
        (("--data-dir", "/proc/nowhere"), "error: "),
    ):
        process = command.start(*arguments)
        _, said = process.communicate(timeout=60)
        assert process.returncode in {1, 2, 5}
        assert error in said.decode()
        assert "Traceback" not in said.decode()


def settings_of(command: Command) -> Settings:
    return Settings(eventstore=LogSettings(data_dir=command.folder / ".eventstore"))


async def changes_in(store: EventStore) -> list[RecordedEvent]:
    """The events of documents."""
    return [event async for event in store.read_all(order="total", where=Filter(categories=(CATEGORY,)))]


async def head_of(store: EventStore) -> int:
    """How many they are."""
    return len(await changes_in(store))


async def test_a_run_that_is_killed_again_and_again_writes_every_event_once(command: Command, tmp_path: Path) -> None:
    made, changes = long_checkout(tmp_path / "long", 400)
    async with EventStore.open(types=TYPES, settings=settings_of(command)) as store:
        for part in range(1, 4):
            process = command.start(made.folder)
            while await head_of(store) < changes * part // 5:
                assert process.poll() is None
            process.kill()
            process.communicate()
        assert await head_of(store) < changes
        assert command.run(made.folder, "--tree")[0] == made.tree()
        events = await changes_in(store)
    assert len(events) == len({event.id for event in events}) == changes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_at_a_safe_point(command: Command, tmp_path: Path, number: signal.Signals) -> None:
    made, changes = long_checkout(tmp_path / "long", 400)
    async with EventStore.open(types=TYPES, settings=settings_of(command)) as store:
        process = command.start(made.folder)
        while await head_of(store) < 50:
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the same command goes on from here" in said.decode()
        assert await head_of(store) < changes
        assert command.run(made.folder, "--tree")[0] == made.tree()
        assert await head_of(store) == changes


async def test_a_reader_that_goes_away_is_no_error(command: Command) -> None:
    (command.folder / "a.md").write_text("[x](gone.md)\n\n" * 20_000)
    process = command.start("--all")
    assert process.stdout is not None
    assert process.stderr is not None
    await anyio.to_thread.run_sync(process.stdout.read, 10)
    process.stdout.close()
    said = await anyio.to_thread.run_sync(process.stderr.read)
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert b"Error" not in said
