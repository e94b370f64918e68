"""A projection in a worker: its generations, each filled by a consumer group of its own.

    none yet                     the first is begun, and read at once
    one of a lower version       another is begun beside it, and read when it has caught up
    asked for by `rebuild`       the same
    kept                         goes on being filled, so that it may be read again at once, until it is dropped

Workers of an older version go on with theirs. Whoever finds that a generation has caught up has it read from then on;
that two find it does no harm.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from eventstore import audit
from eventstore.errors import Unavailable
from projections.generations import Generation
from projections.rows import Rows
from projections.sink import Sql
from projections.threads import in_thread
from projections.truth import InSink

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from consumers.worker import Worker
    from projections.projection import Projection
    from projections.sinks.sql import SqlSink

LOOK_SECONDS = 1.0
logger = structlog.get_logger("projections")


class Runner:
    """Of one projection."""

    def __init__(self, projection: "Projection", worker: "Worker") -> None:
        self._projection, self._worker = projection, worker
        self._running: dict[int, anyio.Event] = {}
        self._heads: dict[int, tuple[int, ...]] = {}

    async def run(self) -> None:
        """Until the worker stops."""
        if not isinstance(self._projection.sink, Sql):
            group = Generation(self._projection.name, self._projection.version, self._projection.version).group
            await self._worker.run_group(self._projection.consumer(group), context=Rows)
            return
        sink = self._projection.sink.open(self._worker.store.settings)
        try:
            async with anyio.create_task_group() as tasks:
                while not self._worker.stop.is_set():
                    try:
                        await self._look(sink, tasks)
                    except Unavailable as error:
                        logger.warning("projection_later", projection=self._projection.name, why=str(error))
                    with anyio.move_on_after(LOOK_SECONDS):
                        await self._worker.stop.wait()
                for stop in self._running.values():
                    stop.set()
        finally:
            sink.close()

    async def _look(self, sink: "SqlSink", tasks: "TaskGroup") -> None:
        name, version = self._projection.name, self._projection.version
        known = await in_thread(sink.generations, name)
        if not known or max(each.version for each in known) < version:
            begun = await in_thread(sink.begin, Generation(name, version, tables=tuple(sink.of(0))))
            logger.info("generation_begun", projection=name, generation=begun.number, version=version)
            known = await in_thread(sink.generations, name)
        ours = {each.number: each for each in known if each.version == version}
        for number in self._running.keys() - ours.keys():
            self._running.pop(number).set()
        for number, generation in ours.items():
            if number not in self._running:
                await in_thread(sink.prepare, generation)
                self._running[number] = anyio.Event()
                tasks.start_soon(self._fill, sink, generation, self._running[number])
            if generation.state == "building" and await self._may_be_read(sink, known, generation):
                await in_thread(sink.switch, name, number)
                await audit.record(
                    self._worker.store,
                    "projections",
                    "generation-live",
                    None,
                    {"projection": name, "generation": number},
                )
                logger.info("generation_live", projection=name, generation=number, version=version)

    async def _fill(self, sink: "SqlSink", generation: Generation, stop: anyio.Event) -> None:
        store = self._worker.store
        await self._worker.run_group(
            self._projection.consumer(generation.group),
            truth=InSink(store, sink, generation),
            context=partial(Rows, tables=sink.of(generation.number)),
            stop=stop,
        )

    async def _may_be_read(self, sink: "SqlSink", known: Any, generation: Generation) -> bool:
        """The first at once: there is nothing else to read. Another one when it has come to where the log was at the
        look before."""
        if not any(each.state == "live" for each in known):
            return True
        heads = tuple(position for _, position in (await self._worker.store.heads()).places)
        wanted = self._heads.get(generation.number)
        self._heads[generation.number] = heads
        if wanted is None:
            return False
        reached = await in_thread(sink.checkpoints, generation.projection, generation.number)
        return all(
            position == 0 or (p in reached and reached[p].place[1] >= position) for p, position in enumerate(wanted)
        )
