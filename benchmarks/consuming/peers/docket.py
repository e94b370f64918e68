"""docket (pydocket): a queue of tasks. Each order is the argument of one; a worker takes them from a Redis stream.

A worker looks for more each 250 ms unless told otherwise, and takes 10 tasks at once: 40 a second, if they do nothing.
"""

import logging
from datetime import timedelta
from functools import partial

from docket import Docket, Worker

from benchmarks.consuming.tally import Tally, sampled
from benchmarks.measure import Contestant, Sample
from benchmarks.own_server import BenchServer
from benchmarks.payload import OrderPlaced, order

NAME = "docket worker, looks each 5 ms"
_LOOK = timedelta(milliseconds=5)


def contestants(server: BenchServer, events: int) -> list[Contestant]:
    """It gets a hundredth of the events: it would take minutes over all."""
    return [Contestant(NAME, partial(_run, server, max(500, events // 100)), baseline=True)]


async def _run(server: BenchServer, events: int) -> Sample:
    logging.getLogger("docket").setLevel(logging.WARNING)
    tally = Tally(events)

    async def handle(event: OrderPlaced) -> None:
        if not tally.began:
            tally.begin()
        tally.seen[event.number] += 1

    async with Docket(name="bench", url=server.url) as docket:
        docket.register(handle)
        await docket.add_many([docket.call(handle)(order(number)) for number in range(events)])
        used = await server.cpu_seconds()
        async with Worker(docket, minimum_check_interval=_LOOK) as worker:
            await worker.run_until_finished()
            sample = await sampled(server, used, events, tally.stopped())
    tally.check(NAME)
    await server.clean()
    return sample
