"""Lines to stdout; on a terminal, more than a screen goes to $PAGER."""

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress


class Lines:
    """Writes lines; holds as many as fit on the screen until it is sure whether a pager is needed."""

    def __init__(self, *, paged: bool) -> None:
        self._height = shutil.get_terminal_size().lines - 1 if paged else 0
        self._held: list[str] | None = [] if paged else None
        self._pager: subprocess.Popen[str] | None = None

    def write(self, line: str) -> None:
        """Raises BrokenPipeError when nobody reads any more; that is no error of a pager, which may be left early."""
        if self._held is None:
            self._put(line)
            return
        self._held.append(line)
        if len(self._held) > self._height:
            self._pager = _start_pager()
            self._release()

    def close(self) -> None:
        """Writes what is held and waits until the reader leaves the pager."""
        self._release()
        if self._pager is None:
            sys.stdout.flush()
            return
        if self._pager.stdin is not None:
            with suppress(BrokenPipeError):  # left before the end, as one may
                self._pager.stdin.close()
        self._pager.wait()

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for line in held:
            self._put(line)

    def _put(self, line: str) -> None:
        if self._pager is not None and self._pager.stdin is not None:
            try:
                self._pager.stdin.write(line + "\n")
            except BrokenPipeError as error:
                raise PagerLeft from error
            return
        sys.stdout.write(line + "\n")


class PagerLeft(Exception):
    """The reader has left the pager: there is no more to do, and nothing went wrong."""


def _start_pager() -> "subprocess.Popen[str] | None":
    command = shlex.split(os.environ.get("PAGER", "less"))
    if not command or command == ["cat"] or shutil.which(command[0]) is None:
        return None
    environment = {"LESS": "FRX", **os.environ}  # F: leave if it fits; R: colours; X: do not clear the screen
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - the user's pager
