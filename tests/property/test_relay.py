"""Returned events are in their streams exactly once, whatever is lost, late or done twice."""

import os
import random
from collections.abc import Iterator

import pytest
import redis
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers import outbox
from infrastructure.server_program import find_program
from tests.property.real_relay import RealWorld
from tests.property.relay_world import PARTITIONS, World
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
EXAMPLES, REAL_EXAMPLES = (50_000, 1_000) if SOAK else (1_000, 12)


def play(world: World, steps: int) -> None:
    for _ in range(steps):
        world.step()
    for settle in (world.settle, world.go_on):
        settle()
        for q in PARTITIONS:
            assert world.found(q) == world.wanted(q)
        assert [model.out for model in world.models] == [[] for _ in PARTITIONS]


@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(50, 250), page=st.integers(1, 4))
def _play_with_the_model(seed: int, steps: int, page: int) -> None:
    play(World(random.Random(seed), page), steps)


@pytest.mark.timeout(600 if not SOAK else 3600)
def test_what_is_returned_is_there_exactly_once_over_all_that_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CALL_EVENTS", 2)  # so that flows are full, and behind
    monkeypatch.setattr(outbox, "QUEUE_EVENTS", 3)
    _play_with_the_model()


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


@pytest.mark.timeout(600 if not SOAK else 3600)
def test_the_scripts_do_what_the_model_does(server: Server, portal: BlockingPortal) -> None:
    with (
        redis.Redis(port=server.port, protocol=2) as client,
        portal.wrap_async_context_manager(open_store(server, prefix="es", partitions=2)) as store,
    ):

        @settings(max_examples=REAL_EXAMPLES, deadline=None)
        @given(seed=st.integers(0, 2**32), steps=st.integers(50, 250))
        def run(seed: int, steps: int) -> None:
            play(RealWorld(random.Random(seed), client, portal, store), steps)

        run()
