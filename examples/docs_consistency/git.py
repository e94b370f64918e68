"""Runs git: no shell, no settings of the user that would change what it prints, no lock taken in the checkout."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.docs_consistency.errors import SourceError

# What a hook or another git around us would make git look at instead of the folder it is given.
_REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)


class GitFailed(SourceError):
    """git ended with an error; the detail is what it said."""


async def run_git(folder: Path, *arguments: str) -> bytes:
    """What git prints when run in a folder. Raises GitFailed."""
    try:
        done = await anyio.run_process(
            _command(folder, arguments), check=False, env=_environment(), stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise _not_runnable(error) from error
    if done.returncode:
        raise _failed(arguments, done.returncode, done.stderr)
    return done.stdout


@asynccontextmanager
async def git_output(folder: Path, *arguments: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The output of git as it comes. Reading to its end raises GitFailed if git failed; leaving early stops git."""
    with tempfile.TemporaryFile() as said:
        process = await _start(folder, arguments, said, subprocess.DEVNULL)
        async with process:
            yield _chunks(process, arguments, said)
            if process.returncode is None:
                process.terminate()


async def _chunks(process: Process, arguments: Sequence[str], said: IO[bytes]) -> AsyncIterator[bytes]:
    if process.stdout is None:
        raise RuntimeError("git was started without a pipe for its output")
    async for chunk in process.stdout:
        yield chunk
    if code := await process.wait():
        said.seek(0)
        raise _failed(arguments, code, said.read(4096))


@asynccontextmanager
async def git_dialogue(
    folder: Path, *arguments: str
) -> AsyncIterator[tuple[ByteSendStream, BufferedByteReceiveStream]]:
    """git that answers what it is asked, e.g. `cat-file --batch`. It ends when its input is closed, on leaving."""
    with tempfile.TemporaryFile() as said:
        process = await _start(folder, arguments, said, subprocess.PIPE)
        async with process:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("git was started without pipes")
            yield process.stdin, BufferedByteReceiveStream(process.stdout)


async def _start(folder: Path, arguments: Sequence[str], said: IO[bytes], stdin: int) -> Process:
    # Its complaints go to a file: a pipe that nobody empties would stop it.
    try:
        return await anyio.open_process(_command(folder, arguments), stdin=stdin, stderr=said, env=_environment())
    except OSError as error:
        raise _not_runnable(error) from error


def _command(folder: Path, arguments: Sequence[str]) -> list[str]:
    return ["git", "-C", str(folder), "--no-pager", *arguments]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _REPOSITORY_VARIABLES}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _not_runnable(error: OSError) -> SourceError:
    return SourceError(f"git cannot be run: {error}", remedy="install git, or name a folder that is no checkout")


def _failed(arguments: Sequence[str], code: int, said: bytes) -> GitFailed:
    reason = said.decode(errors="replace").strip() or f"exit code {code}"
    return GitFailed(
        f"git {arguments[0]}: {reason}", remedy="run git status in the checkout", facts={"exit_code": code}
    )
