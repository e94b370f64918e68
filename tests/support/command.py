"""The command `eventstore` as a user runs it: a process of its own."""

import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


class Result:
    """What a finished command has left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The one object of stdout."""
        return json.loads(self.out)

    @property
    def items(self) -> list[Any]:
        """The objects of stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def problem(self) -> Any:
        """The one object of stderr."""
        return json.loads(self.err)


class Command:
    """Runs commands in one folder, with one environment."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        ours = ("REDIS_", "EVENTSTORE_", "POSTGRES_", "COLUMNS", "LINES", "NO_COLOR", "PAGER", "LESS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.environment = {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}

    def run(self, *arguments: str, stdin: str | bytes = b"", **environment: str) -> Result:
        """Runs to the end."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            self.words(arguments),
            cwd=self.folder,
            env=self.environment | environment,
            input=given,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: str | bytes = b"", **environment: str) -> Result:
        """Runs to the end, and well."""
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.code == 0, f"{arguments}: {done.code}\n{done.out}\n{done.err}"
        return done

    def start(self, *arguments: str, **streams: Any) -> "subprocess.Popen[str]":
        """Begins a command; whoever calls waits for it or kills it."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(
            self.words(arguments), cwd=self.folder, env=self.environment, text=True, **(pipes | streams)
        )

    @staticmethod
    def words(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "gateway.cli", *arguments]


class Terminal:
    """A command on a terminal of its own."""

    def __init__(
        self,
        command: Command,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.shown = ""
        self.process = subprocess.Popen(
            command.words(arguments),
            cwd=command.folder,
            env={**command.environment, **(environment or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0) and None,  # noqa: PLW1509 - so that Ctrl-C arrives
        )
        os.close(slave)

    def until(self, condition: Callable[[str], bool]) -> str:
        """Reads until what was shown fulfils the condition."""
        end = time.monotonic() + SECONDS
        while not condition(self.shown):
            assert time.monotonic() < end, self.shown
            if not self._read():
                assert condition(self.shown), self.shown
        return self.shown

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Reads to the end; the exit code."""
        while self._read():
            continue
        os.close(self._master)
        return self.process.wait(SECONDS)

    def hang_up(self) -> None:
        """Closes the terminal, as its window is closed; waits for the command."""
        os.close(self._master)
        self.process.wait(SECONDS)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 1.0)
        if not ready:
            return True
        try:
            part = os.read(self._master, 1 << 16)
        except OSError:  # Linux says so when the last process has left the terminal
            return False
        self.shown += part.decode(errors="replace")
        return bool(part)


def wait_for_line(process: "subprocess.Popen[str]", beginning: str) -> str:
    """The next line of stdout that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"it ended without {beginning!r}: {process.stderr.read() if process.stderr else ''}")


def interrupt(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
    """Sends a signal and waits for the end: exit code, stdout, stderr."""
    process.send_signal(number)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Until something is true; the test fails if it does not become so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)
