"""A projection in a worker: its generations, each filled by a consumer group of its own.

    none yet                     the first is begun, and read at once
    one of a lower version       another is begun beside it, and read when it has caught up
    asked for by `rebuild`       the same
    kept                         goes on being filled, so that it may be read again at once, until it is dropped

Workers of an older version go on with theirs. Whoever finds that a generation has caught up has it read from then on;
that two find it does no harm.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import anyio
import structlog

from eventstore import audit
from eventstore.errors import Unavailable
from infrastructure.tasks import plain_errors
from projections.generations import Generation
from projections.home import Home, home_of
from projections.poison import answering

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from consumers.worker import Worker
    from projections.projection import Projection

LOOK_SECONDS = 1.0
logger = structlog.get_logger("projections")


class Runner:
    """Of one projection."""

    def __init__(self, projection: "Projection", worker: "Worker") -> None:
        self._projection, self._worker = projection, worker
        self._running: dict[int, anyio.Event] = {}
        self._heads: dict[int, tuple[int, ...]] = {}
        self._held_up: set[int] = set()
        self._why = ""

    async def run(self) -> None:
        """Until the worker stops."""
        async with (
            home_of(self._worker.store, self._projection.sink) as home,
            anyio.create_task_group() as tasks,
        ):
            while not self._worker.stop.is_set():
                try:
                    await self._look(home, tasks)
                except Unavailable as error:
                    self._tell(str(error))
                else:
                    self._tell("")
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._worker.stop.wait()
            for stop in self._running.values():
                stop.set()

    def _tell(self, why: str) -> None:
        """Once what holds it up, however often it is looked; and that nothing does any more."""
        if why and not self._why:
            logger.warning("projection_later", projection=self._projection.name, why=why)
        elif self._why and not why:
            logger.warning("projection_goes_on", projection=self._projection.name)
        self._why = why

    async def _look(self, home: Home, tasks: "TaskGroup") -> None:
        name, version = self._projection.name, self._projection.version
        known = await home.generations(name)
        if not known or max(each.version for each in known) < version:
            begun = await home.begin(Generation(name, version, tables=self._projection.tables))
            logger.info("generation_begun", projection=name, generation=begun.number, version=version)
            known = await home.generations(name)
        ours = {each.number: each for each in known if each.version == version}
        for number in self._running.keys() - ours.keys():
            self._running.pop(number).set()
        for number, generation in ours.items():
            if number not in self._running:
                await home.prepare(generation)
                self._running[number] = anyio.Event()
                tasks.start_soon(self._fill, home, generation, self._running[number])
            if generation.state == "building" and await self._may_be_read(home, known, generation):
                await home.switch(name, number)
                facts = {"projection": name, "generation": number}
                await audit.record(self._worker.store, "projections", "generation-live", None, facts)
                logger.info("generation_live", projection=name, generation=number, version=version)

    async def _fill(self, home: Home, generation: Generation, stop: anyio.Event) -> None:
        """Once more where the server was away as it began, for other things run in this process."""
        while not stop.is_set():
            try:
                with plain_errors():
                    await self._fill_once(home, generation, stop)
            except Unavailable as error:
                if error.reason == "permission":
                    raise
                logger.warning("projection_later", projection=self._projection.name, why=str(error))
                with anyio.move_on_after(LOOK_SECONDS):
                    await stop.wait()
            else:
                return

    async def _fill_once(self, home: Home, generation: Generation, stop: anyio.Event) -> None:
        async with answering(self._worker.store, self._projection.poison, generation.group) as on_parked:
            await self._worker.run_group(
                self._projection.consumer(generation.group),
                truth=home.truth(generation),
                context=home.context(generation),
                stop=stop,
                on_parked=on_parked,
            )

    async def _may_be_read(self, home: Home, known: Sequence[Generation], generation: Generation) -> bool:
        """The first at once: there is nothing else to read. Another one when it has come to where the log was at the
        look before, with no more streams that have failed than the one that is read; never one of a lower version."""
        live = next((each for each in known if each.state == "live"), None)
        if live is None:
            return True
        if generation.version < live.version:
            return False
        heads = tuple(position for _, position in (await self._worker.store.heads()).places)
        wanted = self._heads.get(generation.number)
        self._heads[generation.number] = heads
        if wanted is None:
            return False
        reached = await home.reached(generation)
        if any(position > reached.get(p, (0, 0))[0] for p, position in enumerate(wanted)):
            return False
        return self._is_as_whole(generation, _detached(reached), _detached(await home.reached(live)))

    def _is_as_whole(self, generation: Generation, detached: int, of_live: int) -> bool:
        """Their events are in no row of it. A function that fails for all would have nothing read at all."""
        if detached <= of_live:
            return True
        if generation.number not in self._held_up:
            self._held_up.add(generation.number)
            logger.error(
                "generation_held_up",
                projection=generation.projection,
                generation=generation.number,
                detached=detached,
                remedy="it has caught up, but lacks streams that the one which is read has: retry or discard them,"
                f" eventstore dlq list {generation.group}, and it is read; or drop it",
            )
        return False


def _detached(reached: Mapping[int, tuple[int, int]]) -> int:
    return sum(streams for _, streams in reached.values())
