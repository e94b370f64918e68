"""The command `eventstore` in the process of the test: in a fifth of the time that a process of its own takes."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from gateway.cli.main import run
from tests.support.command import Command, Result


class Here:
    """Runs commands as Command does."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str) -> Result:
        self._capsys.readouterr()
        code = run(list(arguments))
        shown = self._capsys.readouterr()
        return Result(code, shown.out, shown.err)

    def ok(self, *arguments: str) -> Result:
        done = self.run(*arguments)
        assert done.code == 0, f"{arguments}: {done.code}\n{done.out}\n{done.err}"
        return done


@contextmanager
def in_this_process(
    cli: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    """In the folder of `cli` and with its environment. What was imported from there is forgotten in the end: the next
    test may have a module of the same name."""
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(cli.folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield Here(capsys)
    structlog.reset_defaults()
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(f"{cli.folder}/"):
            del sys.modules[name]
