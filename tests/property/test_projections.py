"""Whatever is appended, fails, is delivered twice, dies or moves: the rows are the fold, exactly (DESIGN 5)."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore import EventStore
from projections.generations import Generation
from tests.property.projection_world import FaultySink, World, faulty
from tests.support.postgres import Postgres, postgres_server
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
EXAMPLES = 1_000 if SOAK else 40

pytestmark = pytest.mark.timeout(3_600 if SOAK else 300)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def server(portal: BlockingPortal) -> Iterator[Server]:
    with portal.wrap_async_context_manager(redis_server()) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySink]:
    url = f"sqlite:///{tmp_path}/rows.sqlite"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    made = FaultySink(url)
    faulty(made.faults, monkeypatch)
    yield made
    made.close()


def test_rows_are_the_fold_over_all_that_happens(server: Server, portal: BlockingPortal, sink: FaultySink) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(seed=st.integers(0, 2**32), steps=st.integers(20, 150))
    def run(seed: int, steps: int) -> None:
        with portal.wrap_async_context_manager(open_store(server, partitions=1)) as store:
            portal.call(_play, Random(seed), store, sink, steps)

    run()


async def _play(choose: Random, store: EventStore, sink: FaultySink, steps: int) -> None:
    generation = sink.begin(Generation("counts", 1, tables=("totals", "stream_states")))
    world = World(choose, store, sink, generation)
    await world.begin()
    try:
        for _ in range(steps):
            await world.step()
        await world.settle()
    finally:
        sink.drop("counts", generation.number)
