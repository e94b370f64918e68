"""From the path on the command line to what lies there."""

from pathlib import Path

import anyio
from msgspec import Struct

from examples.docs_consistency.errors import BadInput
from examples.docs_consistency.folder_source import FolderSource
from examples.docs_consistency.git_source import git_source
from examples.docs_consistency.source import Source


class Opened(Struct, frozen=True):
    """A source, and the part of it that the report is about (`docs/`; empty: all of it)."""

    source: Source
    part: str


async def open_source(path: Path, revision: str = "HEAD", without: frozenset[Path] = frozenset()) -> Opened:
    """The whole checkout that the folder belongs to, so that links out of the folder are judged rightly; else the
    folder itself. Raises BadInput."""
    folder = Path(await anyio.Path(path).resolve())
    if not await anyio.Path(folder).is_dir():
        raise BadInput(f"{path} is not a folder", field="PATH", remedy="name a Git checkout or a folder")
    found = await git_source(folder, revision)
    if found is None:
        if revision != "HEAD":
            raise BadInput(f"{path} is no Git checkout, so it has no revisions", field="--rev", remedy="omit --rev")
        return Opened(FolderSource(folder, without), "")
    if not folder.is_relative_to(found.root):
        return Opened(found, "")
    part = folder.relative_to(found.root).as_posix()
    return Opened(found, "" if part == "." else f"{part}/")
