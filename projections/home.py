"""Where the generations of projections are noted, and what a worker and an operator may ask of them.

In a database they are rows beside the read models, so that another one is read from one transaction on. Of read models
in Redis they are facts in the stream `$projections`, whose fold tells which keys are to be read.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from consumers.context import Context
from consumers.errors import GroupNotFound
from consumers.groups import describe_group
from consumers.keys import effect_key
from consumers.truth import IN_REDIS, Truth
from eventstore.errors import WrongExpectedVersion
from eventstore.event_types import event
from eventstore.key_scan import keys_of
from eventstore.store import EventStore
from infrastructure.patience import replies
from projections.generations import Generation, standing
from projections.rows import Rows
from projections.sink import Opens, Redis, url_of
from projections.sinks.protocol import Sink
from projections.sinks.sql import SqlSink
from projections.threads import in_thread
from projections.truth import InSink

STREAM = "$projections"


class Home(Protocol):
    async def names(self) -> Sequence[str]: ...
    async def generations(self, projection: str) -> Sequence[Generation]: ...
    async def begin(self, generation: Generation, *, again: bool = False) -> Generation: ...
    async def prepare(self, generation: Generation) -> None: ...
    async def switch(self, projection: str, generation: int) -> None: ...
    async def drop(self, projection: str, generation: int) -> None: ...

    async def reached(self, generation: Generation) -> Mapping[int, tuple[int, int]]:
        """Of each partition the position that it has come to, and how many streams have left the main pass."""

    def truth(self, generation: Generation) -> Truth: ...
    def context(self, generation: Generation) -> Callable[..., Context]: ...


@asynccontextmanager
async def home_of(store: EventStore, sink: Opens | Redis | None = None) -> AsyncIterator[Home]:
    """Of a projection's sink; without one the database of the settings."""
    if isinstance(sink, Redis):
        yield InLog(store)
        return
    opened: Sink = SqlSink(url_of(store.settings), ()) if sink is None else sink.open(store.settings)
    try:
        yield InDatabase(store, opened)
    finally:
        opened.close()


class InDatabase:
    """Or in a sink of one's own."""

    def __init__(self, store: EventStore, sink: Sink) -> None:
        self.sink = sink
        self._store = store

    async def names(self) -> Sequence[str]:
        """Of a sink of one's own none: they are known to its projections alone."""
        return await in_thread(self.sink.names) if isinstance(self.sink, SqlSink) else []

    async def generations(self, projection: str) -> Sequence[Generation]:
        return await in_thread(self.sink.generations, projection)

    async def begin(self, generation: Generation, *, again: bool = False) -> Generation:
        return await in_thread(self.sink.begin, generation, again=again)

    async def prepare(self, generation: Generation) -> None:
        await in_thread(self.sink.prepare, generation)

    async def switch(self, projection: str, generation: int) -> None:
        await in_thread(self.sink.switch, projection, generation)

    async def drop(self, projection: str, generation: int) -> None:
        await in_thread(self.sink.drop, projection, generation)

    async def reached(self, generation: Generation) -> Mapping[int, tuple[int, int]]:
        found = await in_thread(self.sink.checkpoints, generation.projection, generation.number)
        return {partition: (each.place[1], len(each.detached)) for partition, each in found.items()}

    def truth(self, generation: Generation) -> Truth:
        return InSink(self._store, self.sink, generation)

    def context(self, generation: Generation) -> Callable[..., Context]:
        return partial(Rows, tables=self.sink.of(generation.number)) if isinstance(self.sink, SqlSink) else Rows


@event(name="projections.GenerationBegun")
class GenerationBegun(Struct, frozen=True):
    projection: str
    version: int
    number: int
    begun_at: int


@event(name="projections.GenerationLive")
class GenerationLive(Struct, frozen=True):
    projection: str
    number: int


@event(name="projections.GenerationDropped")
class GenerationDropped(Struct, frozen=True):
    projection: str
    number: int


class InLog:
    """What is read is in keys of the group of the live generation: `effect_key` of consumers."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        for struct in (GenerationBegun, GenerationLive, GenerationDropped):
            store.log.types.add(struct)

    async def names(self) -> Sequence[str]:
        known, _, _ = await self._known()
        return sorted(known)

    async def generations(self, projection: str) -> Sequence[Generation]:
        known, _, _ = await self._known()
        return list(known.get(projection, {}).values())

    async def begin(self, generation: Generation, *, again: bool = False) -> Generation:
        while True:
            known, version, last = await self._known()
            ours = known.get(generation.projection, {})
            if found := standing(ours.values(), generation.version, again=again):
                return found
            begun = replace(generation, number=last.get(generation.projection, 0) + 1)
            fact = GenerationBegun(begun.projection, begun.version, begun.number, begun.begun_at)
            if await self._append(fact, version):
                return begun

    async def prepare(self, generation: Generation) -> None:
        """There is nothing to make: keys come with what is written."""

    async def switch(self, projection: str, generation: int) -> None:
        await self._note(GenerationLive(projection, generation))

    async def drop(self, projection: str, generation: int) -> None:
        await self._note(GenerationDropped(projection, generation))
        log, group = self._store.log, Generation(projection, 0, generation).group
        for partition in range(log.partitions):
            keys = await keys_of(log, partition, effect_key(log.keys, group, partition, "*"))
            for key in keys:
                await replies(log.redis, key, ("UNLINK", key))

    async def reached(self, generation: Generation) -> Mapping[int, tuple[int, int]]:
        try:
            shape = await describe_group(self._store, generation.group)
        except GroupNotFound:
            return {}
        return {each.partition: (each.offset, each.detached) for each in shape.partitions}

    def truth(self, generation: Generation) -> Truth:
        return IN_REDIS

    def context(self, generation: Generation) -> Callable[..., Context]:
        return Rows

    async def _note(self, fact: GenerationLive | GenerationDropped) -> None:
        while not await self._append(fact, await self._store.version(STREAM)):
            pass

    async def _append(self, fact: Struct, version: int) -> bool:
        try:
            await self._store.append_to(STREAM, [fact], expected=version)
        except WrongExpectedVersion:
            return False
        return True

    async def _known(self) -> tuple[dict[str, dict[int, Generation]], int, dict[str, int]]:
        """The generations that there are, the version of the stream, and the highest number that each projection ever
        had."""
        known: dict[str, dict[int, Generation]] = {}
        last: dict[str, int] = {}
        version = 0
        async for recorded in self._store.read(STREAM):
            version, fact = recorded.version, recorded.data
            ours = known.setdefault(fact.projection, {})
            match fact:
                case GenerationBegun():
                    begun_at = fact.begun_at or recorded.recorded_at
                    last[fact.projection] = fact.number
                    ours[fact.number] = Generation(fact.projection, fact.version, fact.number, begun_at=begun_at)
                case GenerationLive() if fact.number in ours:
                    for number, each in ours.items():
                        was_live = "kept" if each.state == "live" else each.state
                        ours[number] = replace(each, state="live" if number == fact.number else was_live)
                case GenerationDropped():
                    ours.pop(fact.number, None)
        return {name: ours for name, ours in known.items() if ours}, version, last
