"""What a place that documents come from looks like to the rest: a history of revisions, a present tree, contents."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class FileState(Struct, frozen=True):
    """What a file is: the Git id of its content (or of a submodule's commit), and its Git mode."""

    blob: str
    mode: str


class FileChange(Struct, frozen=True):
    """What a file became; None if it went away."""

    path: str
    now: FileState | None


class Revision(Struct, frozen=True):
    """A state of the whole and what changed to reach it. `id` is the correlation id of its events: the commit, or for
    a plain folder the digest of what is in it."""

    id: str
    commit: str | None
    committed_at: datetime | None
    changes: tuple[FileChange, ...]


class Tree(Struct, frozen=True):
    """All files of a revision."""

    id: str
    commit: str | None
    committed_at: datetime | None
    files: Mapping[str, FileState]


class History(Struct, frozen=True):
    """Revisions, oldest first. `total` counts them."""

    total: int
    revisions: AsyncIterator[Revision]


class Contents(Protocol):
    """Reads files of the present tree, one at a time."""

    async def read(self, path: str, blob: str) -> bytes:
        """Raises SourceError; ContentGone if a folder no longer has it."""
        ...


class Source(Protocol):
    """A Git checkout or a plain folder."""

    @property
    def root(self) -> Path: ...

    @property
    def commit(self) -> str | None:
        """The commit that `tree` is of; None for a plain folder."""
        ...

    @property
    def title(self) -> str:
        """One line for people: which checkout at which commit."""
        ...

    def history(self, since: str | None) -> AbstractAsyncContextManager[History | None]:
        """The revisions from commit `since` on, that one included (its events may be incomplete), or all. None if
        `since` is not in this history, or nothing has one."""
        ...

    async def tree(self) -> Tree: ...

    async def knows(self, commits: list[str]) -> bool:
        """Whether any of these commits was ever part of this source."""
        ...

    async def uncommitted(self) -> int:
        """How many files of the work tree differ from the commit, and so from `tree`."""
        ...

    def contents(self) -> AbstractAsyncContextManager[Contents]: ...
