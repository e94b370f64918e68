"""A plain folder: no history, so its present files are compared with what the read model has.

Blobs are named as Git names them: what was parsed for a folder need not be parsed again for a checkout.
"""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha1, sha256
from pathlib import Path

import anyio.to_thread
from msgspec import Struct

from examples.docs_consistency.errors import ContentGone, SourceError
from examples.docs_consistency.paths import path_text, raw_path
from examples.docs_consistency.source import Contents, FileState, History, Tree

PREFIX = "folder-"
"""Of what a state of a folder is called."""
# Kept by tools, written by no author.
_NOT_DOCUMENTS = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", ".eventstore"})


class FolderSource(Struct, frozen=True):
    """`without`: absolute paths of files and folders of our own (the log's data, the report) that may lie inside."""

    root: Path
    without: frozenset[Path] = frozenset()

    @property
    def commit(self) -> str | None:
        return None

    @property
    def title(self) -> str:
        return f"{self.root} (a plain folder)"

    @asynccontextmanager
    async def history(self, since: str | None) -> AsyncIterator[History | None]:
        yield None

    async def tree(self) -> Tree:
        return await anyio.to_thread.run_sync(self._tree)

    async def knows(self, commits: list[str]) -> bool:
        return False

    async def uncommitted(self) -> int:
        return 0

    @asynccontextmanager
    async def contents(self) -> AsyncIterator[Contents]:
        yield _Files(self.root)

    def _tree(self) -> Tree:
        files = {}
        digest = sha256()
        for path in sorted(_files(self.root, self.without)):
            state = _state(path)
            if state is not None:
                name = os.fsencode(path.relative_to(self.root))
                files[path_text(name)] = state
                digest.update(b"%s %s %s\0" % (state.mode.encode(), state.blob.encode(), name))
        return Tree(f"{PREFIX}{digest.hexdigest()}", None, None, files)


def _files(root: Path, without: frozenset[Path]) -> Iterator[Path]:
    """Files and symbolic links; what links lead to is not entered."""
    for folder, folders, names in os.walk(root, onerror=_refused):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [
            name for name in folders if name not in _NOT_DOCUMENTS and name not in links and here / name not in without
        ]
        yield from (path for path in (here / name for name in [*names, *links]) if path not in without)


def _refused(error: OSError) -> None:
    raise _unreadable(error) from error


def _state(path: Path) -> FileState | None:
    """None for what went away meanwhile, and for what is neither a file nor a link."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return FileState(blob_id(os.fsencode(path.readlink())), "120000")
        if not stat.S_ISREG(mode):
            return None
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(error) from error
    return FileState(blob_id(content), "100755" if mode & stat.S_IXUSR else "100644")


def blob_id(content: bytes) -> str:
    """The name that Git gives to a content."""
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _unreadable(error: OSError) -> SourceError:
    return SourceError(
        f"{error.filename!r} cannot be read: {error.strerror}", remedy="make it readable, or move it away"
    )


class _Files:
    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self, path: str, blob: str) -> bytes:
        file = anyio.Path(self._root, os.fsdecode(raw_path(path)))
        try:
            content = await file.read_bytes()
        except FileNotFoundError as error:
            raise ContentGone(f"{path!r} was removed while it was read", remedy="run again") from error
        except OSError as error:
            raise _unreadable(error) from error
        if blob_id(content) != blob:
            raise ContentGone(f"{path!r} was changed while it was read", remedy="run again")
        return content
