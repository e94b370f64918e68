"""On a terminal: colour, width, pager, bars, Ctrl-C. And where there is none: pipes that close."""

import json
import os
import subprocess
import sys
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command, Terminal
from tests.support.servers import Server


@pytest.fixture
def filled(cli: Command) -> Command:
    rows = [{"type": "Noted", "stream": f"note-{n % 70:02}", "data": {"text": "x" * 200}} for n in range(300)]
    cli.ok("import", "-", stdin="\n".join(map(json.dumps, rows)))
    return cli


def is_taken(lock: Path) -> bool:
    """Whether an embedded server lives, which holds this file locked."""
    with lock.open() as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_table_is_cut_at_the_edge_of_a_terminal_only(filled: Command) -> None:
    terminal = Terminal(filled, "read", "note-01", columns=60)
    assert terminal.end() == 0
    assert max(len(line.rstrip("\r")) for line in terminal.shown.split("\n")) <= 60 + len("\x1b[2m\x1b[0m")
    assert "…" in terminal.shown
    assert "x" * 200 in filled.ok("read", "note-01").out


def test_doctor_breaks_its_lines_between_words(cli: Command) -> None:
    terminal = Terminal(cli, "doctor", "--color", "never", columns=70)
    assert terminal.end() == 0
    lines = terminal.shown.splitlines()
    assert max(map(len, lines)) <= 70
    (at,) = [i for i, line in enumerate(lines) if "a restart loses events" in line]
    assert lines[at + 1].strip() == "fix: CONFIG SET appendonly yes"


def test_a_long_name_of_one_stream_leaves_the_other_lines_whole(cli: Command) -> None:
    cli.ok("publish", "order-42", "OrderPlaced")
    cli.ok("publish", "document-" + "x" * 60, "DocumentAdded")
    terminal = Terminal(cli, "streams", "--color", "never", columns=60)
    assert terminal.end() == 0
    title, long, short = terminal.shown.splitlines()
    assert title.endswith("LAST EVENT")
    assert len(title) == 60
    assert long.startswith("document-" + "x" * 60 + "  ")
    assert len(short) <= 60


def test_a_terminal_shows_fifty_and_says_that_there_are_more(filled: Command) -> None:
    terminal = Terminal(filled, "streams", "--no-pager")
    assert terminal.end() == 0
    assert terminal.shown.count("note-") == 50
    assert "50 shown, there are more: --limit N" in terminal.shown
    assert filled.ok("streams").out.count("note-") == 70


def test_more_than_a_screen_goes_to_the_pager(filled: Command) -> None:
    (filled.folder / "pager").write_text('#!/bin/sh\necho "PAGED"\ncat\n')
    (filled.folder / "pager").chmod(0o755)
    pager = {"PAGER": str(filled.folder / "pager")}
    paged = Terminal(filled, "streams", environment=pager)
    assert paged.end() == 0
    assert paged.shown.startswith("PAGED")
    assert paged.shown.count("note-") == 50
    for arguments in (["streams", "--limit", "5"], ["streams", "--no-pager"], ["streams", "--json"]):
        plain = Terminal(filled, *arguments, environment=pager)
        assert plain.end() == 0
        assert "PAGED" not in plain.shown


def test_a_pager_that_is_left_early_is_no_error(filled: Command) -> None:
    (filled.folder / "pager").write_text("#!/bin/sh\nhead -n 1\n")
    (filled.folder / "pager").chmod(0o755)
    terminal = Terminal(filled, "streams", environment={"PAGER": str(filled.folder / "pager")})
    assert terminal.end() == 0
    assert "error" not in terminal.shown


@pytest.mark.parametrize(
    ("arguments", "environment", "colour"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
)
def test_colour_is_for_terminals(cli: Command, arguments: list[str], environment: dict[str, str], colour: bool) -> None:
    terminal = Terminal(cli, "doctor", *arguments, environment=environment)
    assert terminal.end() == 0
    assert ("\x1b[32mok\x1b[0m" in terminal.shown) is colour
    assert "ok" in terminal.shown


def test_without_a_terminal_there_is_no_colour_unless_it_is_wanted(cli: Command) -> None:
    assert "\x1b[" not in cli.ok("doctor").out
    assert "\x1b[32mok\x1b[0m" in cli.ok("doctor", "--color", "always").out


def test_data_cannot_steer_the_terminal(cli: Command) -> None:
    cli.ok("publish", "note-\u202e", "T", '"\\u001b[2J\u009b2J"')
    for arguments in (["streams"], ["read", "note-\u202e"], ["tail", "--since", "0", "--limit", "1"]):
        terminal = Terminal(cli, *arguments, "--color", "never")
        assert terminal.end() == 0
        assert not {"\x1b", "\x9b", "\u202e"} & set(terminal.shown)


def test_long_work_shows_a_bar_that_goes_away(cli: Command) -> None:
    with (cli.folder / "events.ndjson").open("w") as out:
        for n in range(100_000):
            out.write(json.dumps({"type": "T", "stream": f"s-{n % 100}", "data": n}) + "\n")
    terminal = Terminal(cli, "import", "events.ndjson", columns=100)
    terminal.until(lambda shown: "importing  [" in shown)
    terminal.press("\x03")
    assert terminal.end() == 130
    last = terminal.shown.rsplit("\x1b[K", 1)[1]
    assert last.startswith("interrupted: stopped after line ")


@pytest.mark.parametrize("arguments", [["tail", "--since", "0"], ["up"]], ids=" ".join)
def test_a_terminal_that_is_closed_leaves_no_server_behind(embedded: Command, arguments: list[str]) -> None:
    embedded.ok("publish", "order-42", "OrderPlaced")
    terminal = Terminal(embedded, *arguments, "--no-pager")
    terminal.until(lambda shown: "order-42" in shown or "eventstore is up at " in shown)
    lock = embedded.folder / ".eventstore" / "lock"
    assert is_taken(lock)
    terminal.hang_up()
    assert not is_taken(lock)


def test_a_closed_pipe_ends_with_141_and_silence(filled: Command) -> None:
    read = [sys.executable, "-m", "gateway.cli", "export"]
    for arguments in (read, [*read[:3], "read", "note-01", "--json"], [*read[:3], "read", "--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        with subprocess.Popen(
            arguments, env=filled.environment, cwd=filled.folder, stdout=writing, stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(writing)
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (141, "")


def test_results_are_on_stdout_and_all_else_on_stderr(filled: Command, server: Server) -> None:
    server.admin("CONFIG", "SET", "maxmemory", "0")  # which is warned of
    try:
        done = filled.ok("export", "-v")
        assert len(done.items) == 300
        assert "warning: server_check" in done.err
        assert "300 events" in done.err
        assert filled.ok("export", "-q").err == ""
    finally:
        server.admin("CONFIG", "SET", "maxmemory", "500mb")


def test_bash_completes_commands_flags_and_streams(cli: Command) -> None:
    cli.ok("publish", "order-42", "T")
    cli.ok("publish", "order-43", "T")
    cli.ok("publish", "other-1", "T")
    binary = cli.folder / "bin"
    binary.mkdir()
    (binary / "eventstore").write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway.cli "$@"\n')
    (binary / "eventstore").chmod(0o755)
    (cli.folder / "completion").write_text(cli.ok("completion", "bash").out)
    environment = cli.environment | {"PATH": f"{binary}:{cli.environment['PATH']}", "PYTHONPATH": str(ROOT)}

    def complete(*words: str) -> list[str]:
        program = (
            'source ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            "$(complete -p eventstore | sed 's/.*-F \\([^ ]*\\).*/\\1/') eventstore; printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(
            ["bash", "-c", program, "bash", "eventstore", *words],
            cwd=cli.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return sorted(word.strip() for word in done.stdout.split())

    assert {"publish", "read", "tail"} <= set(complete(""))
    assert complete("ver") == ["verify"]
    assert "--backwards" in complete("read", "--")
    assert complete("read", "order-") == ["order-42", "order-43"]
    cli.ok("publish", "saga-payment-1", "T")
    assert complete("sagas", "show", "saga-") == ["saga-payment-1"]
    cli.ok("groups", "create", "mailer")
    cli.ok("groups", "create", "totals")
    assert complete("groups", "ma") == ["mailer"]
    assert complete("groups", "pause", "") == ["mailer", "totals"]
    environment["REDIS_URL"] = "redis://127.0.0.1:1"
    assert "order-42" not in complete("read", "order-")
