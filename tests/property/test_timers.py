"""What is scheduled and not taken back is appended once, in order and never before its time, whoever fires it."""

import os
import random
from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.timers import firing
from infrastructure.server_program import find_program
from tests.property.timer_world import AHEAD, PAGE, PARTITIONS, World
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
EXAMPLES = 1_000 if SOAK else 15


@pytest.fixture(params=["redis-server", "embedded"], scope="module")
def server(request: pytest.FixtureRequest, portal: BlockingPortal) -> Iterator[Server]:
    binary = find_program() if request.param == "embedded" else request.param
    starting = redis_server(binary, ["--enable-debug-command", "local"])
    with portal.wrap_async_context_manager(starting) as server:
        yield server


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.mark.timeout(300 if not SOAK else 3600)
def test_the_scripts_do_what_the_model_does(
    server: Server, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firing, "MOST_TIMERS", PAGE)  # so that pages are full
    monkeypatch.setattr(firing, "AHEAD_MS", AHEAD)
    with portal.wrap_async_context_manager(open_store(server, prefix="es", partitions=PARTITIONS)) as store:

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(seed=st.integers(0, 2**32), steps=st.integers(50, 250))
        def run(seed: int, steps: int) -> None:
            world = World(random.Random(seed), server, portal, store)
            for _ in range(steps):
                world.step()
            world.settle()

        run()
