"""The checkout as a handler sees it: the contents that lie there now."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from examples.docs_consistency.errors import ContentGone
from examples.docs_consistency.events import DocumentAdded, DocumentChanged
from examples.docs_consistency.open_source import open_source
from examples.docs_consistency.source import Contents, Source, Tree

Look = Callable[[], Awaitable[Tree]]


class Checkout:
    """`look` tells the present tree; None for a plain folder, where the file itself is looked at."""

    def __init__(self, contents: Contents, look: Look | None) -> None:
        self._contents, self._look = contents, look
        self._tree: Tree | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, source: Source | None, look: Look | None = None) -> AsyncIterator["Checkout"]:
        """The tree of `source`, which stays the same, unless `look` tells another. None has no contents."""
        if source is None:
            yield cls(_Nothing(), None)
            return
        async with source.contents() as contents:
            yield cls(contents, None if source.commit is None else look or source.tree)

    async def content(self, event: DocumentAdded | DocumentChanged) -> bytes | None:
        """What the event tells of; None if that is not what lies there now. Raises SourceError."""
        if self._look is not None and not await self._is_in_tree(event, self._look):
            return None
        try:
            return await self._contents.read(event.path, event.blob)
        except ContentGone:
            return None

    async def _is_in_tree(self, event: DocumentAdded | DocumentChanged, look: Look) -> bool:
        if self._tree is None or _may_be_newer(event, self._tree):
            self._tree = await look()
        state = self._tree.files.get(event.path)
        return state is not None and state.blob == event.blob


class _Nothing:
    async def read(self, path: str, blob: str) -> bytes:
        raise ContentGone(f"{path!r} is not read", remedy="name the source")


def _may_be_newer(event: DocumentAdded | DocumentChanged, tree: Tree) -> bool:
    if event.commit == tree.commit or event.committed_at is None or tree.committed_at is None:
        return False
    return event.committed_at >= tree.committed_at


@asynccontextmanager
async def opened_checkout() -> AsyncIterator[Checkout]:
    """The checkout or folder that the environment names as DOCS, else the present folder."""
    path = Path(os.environ.get("DOCS", "."))

    async def look() -> Tree:
        return await (await open_source(path)).source.tree()

    async with Checkout.open((await open_source(path)).source, look) as checkout:
        yield checkout
