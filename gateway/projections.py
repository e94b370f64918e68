"""Read models as the ways in offer them: the operations of projections, in the same JSON for all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from consumers.dead_letters import LetterShape
from eventstore.store import EventStore
from gateway.errors import BadRequest
from gateway.modules import projections_of
from infrastructure.settings import Settings
from projections import operate
from projections.errors import ProjectionNotFound
from projections.home import Home, home_of
from projections.sink import Opens, Redis, Sql, url_of
from projections.status import (
    GenerationPartShape,
    GenerationShape,
    ProjectionShape,
    describe_generation,
    describe_projection,
)

__all__ = [
    "GenerationPartShape",
    "GenerationShape",
    "LetterShape",
    "ProjectionShape",
    "ReadModels",
    "read_models",
]
MOST_LETTERS = 5


@asynccontextmanager
async def read_models(
    store: EventStore, *, database: str | None = None, app: str | None = None
) -> "AsyncIterator[ReadModels]":
    """Those in a database, by default in that of the settings, and in Redis; with the name of a module also those of
    its projections that have sinks of their own. Raises BadRequest."""
    found = projections_of(app) if app else []
    url = url_of(store.settings) if database is None else _checked(database)
    async with AsyncExitStack() as stack:
        homes: list[tuple[str, Home]] = []
        if not _is_missing_file(url):
            homes.append((_shown(url), await stack.enter_async_context(home_of(store, Sql((), url)))))
        elif database is not None:
            raise BadRequest(f"there is no file {sa.make_url(url).database}", field="database", remedy="see the URL")
        homes.append(("redis", await stack.enter_async_context(home_of(store, Redis()))))
        own = {
            each.name: (_told(each.sink, store.settings), await stack.enter_async_context(home_of(store, each.sink)))
            for each in found
            if not isinstance(each.sink, Sql)
            or (database is None and not _is_missing_file(_url(each.sink, store.settings)))
        }
        yield ReadModels(store, homes, own)


class ReadModels:
    """Made by `read_models`. Each method raises ReadModelUnavailable, those with a name ProjectionNotFound."""

    def __init__(self, store: EventStore, homes: Sequence[tuple[str, Home]], own: dict[str, tuple[str, Home]]) -> None:
        self._store, self._homes, self._own = store, homes, own

    async def all(self) -> list[ProjectionShape]:
        """All that were ever begun, by name."""
        found = {}
        for name, (sink, home) in self._own.items():
            if await home.generations(name):
                found[name] = await self._shape(name, sink, home)
        for sink, home in self._homes:
            for name in await home.names():
                if name not in found:
                    found[name] = await self._shape(name, sink, home)
        return [found[name] for name in sorted(found)]

    async def show(self, name: str) -> ProjectionShape:
        """With the events that fail, the first ones of each generation."""
        sink, home = await self._home(name)
        return await self._shape(name, sink, home, letters=MOST_LETTERS)

    async def pause(self, name: str, *, who: str, why: str | None) -> ProjectionShape:
        """Its generations stand still until it is resumed."""
        sink, home = await self._home(name)
        await operate.pause(self._store, home, name, who=who, why=why)
        return await self._shape(name, sink, home)

    async def resume(self, name: str, *, who: str, why: str | None) -> ProjectionShape:
        sink, home = await self._home(name)
        await operate.resume(self._store, home, name, who=who, why=why)
        return await self._shape(name, sink, home)

    async def rebuild(self, name: str, *, who: str, why: str | None) -> tuple[int, ProjectionShape]:
        """Begins another generation beside the one that is read; workers fill it. Which one. Raises WrongState."""
        sink, home = await self._home(name)
        begun = await operate.rebuild(self._store, home, name, who=who, why=why)
        return begun.number, await self._shape(name, sink, home)

    async def rollback(self, name: str, *, who: str, why: str | None) -> ProjectionShape:
        """Has the generation read that was read before. Raises WrongState."""
        sink, home = await self._home(name)
        await operate.rollback(self._store, home, name, who=who, why=why)
        return await self._shape(name, sink, home)

    async def generation(self, name: str, number: int) -> GenerationShape:
        """Raises ProjectionNotFound."""
        _, home = await self._home(name)
        return await describe_generation(self._store, home, name, number)

    async def drop(self, name: str, number: int, *, who: str, why: str | None) -> ProjectionShape:
        """Removes a generation that is not read, with its rows. Raises WrongState."""
        sink, home = await self._home(name)
        await operate.drop(self._store, home, name, number, who=who, why=why)
        return await self._shape(name, sink, home)

    # ---- below ----

    async def _home(self, name: str) -> tuple[str, Home]:
        for sink, home in (*([self._own[name]] if name in self._own else ()), *self._homes):
            if await home.generations(name):
                return sink, home
        raise ProjectionNotFound(name)

    async def _shape(self, name: str, sink: str, home: Home, *, letters: int = 0) -> ProjectionShape:
        return await describe_projection(self._store, home, name, sink=sink, letters=letters)


# ---- databases ----


def _checked(url: str) -> str:
    try:
        backend = sa.make_url(url).get_backend_name()
    except sa.exc.ArgumentError as error:
        raise BadRequest(f"{url!r:.80} is no URL of a database", field="database", remedy=_URLS) from error
    if backend not in ("sqlite", "postgresql"):
        raise BadRequest(f"read models are not kept in {backend}", field="database", remedy=_URLS)
    return url


_URLS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def _is_missing_file(url: str) -> bool:
    """A question makes no database."""
    parsed = sa.make_url(url)
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists()


def _told(sink: Opens | Redis, settings: Settings) -> str:
    if isinstance(sink, Redis):
        return "redis"
    return _shown(_url(sink, settings)) if isinstance(sink, Sql) else type(sink).__name__


def _url(sink: Sql, settings: Settings) -> str:
    return sink.url or url_of(settings)


def _shown(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)
