"""streaq: a queue of tasks on Redis streams. Each order is the argument of one."""

import logging
from functools import partial

from streaq import Worker

from benchmarks.consuming.tally import Tally, sampled
from benchmarks.measure import Contestant, Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, order

NAME = "streaq worker"


def contestants(server: BenchServer, events: int) -> list[Contestant]:
    """It gets a hundredth of the events: it would take minutes over all."""
    return [Contestant(NAME, partial(_run, server, max(500, events // 100)), baseline=True)]


async def _run(server: BenchServer, events: int) -> Sample:
    logging.getLogger("streaq").setLevel(logging.WARNING)
    tally = Tally(events)
    worker: Worker[None] = Worker(redis_url=server.url, queue_name="bench", handle_signals=False)

    async def handle(event: OrderPlaced) -> None:
        if not tally.began:
            tally.begin()
        tally.seen[event.number] += 1

    task = worker.task(handle)
    async with worker:
        await worker.enqueue_many([task.enqueue(order(number)) for number in range(events)])
    worker.burst = True  # as its command's --burst: it ends when nothing is left
    used = await server.cpu_seconds()
    await worker.run_async()
    sample = await sampled(server, used, events, tally.stopped())
    tally.check(NAME)
    await server.clean()
    return sample
