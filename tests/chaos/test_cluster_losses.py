"""A replica that has less takes over, in a Cluster under load: no event that is there is skipped, and what was seen and
is gone is reported, once by each observer.
"""

import os
import random

import pytest

from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.clocks import clock_off_by
from tests.support.cluster import ClusterOfServers, cluster, cut_off, fail_over, kill, start_again, thaw
from tests.support.load import Load, loaded
from tests.support.recorded import recorded_in
from tests.support.servers import Server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

PARTITIONS = 4
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
LOSSES = 6 if SOAK else 2
BEHIND_SECONDS = -90.0


@pytest.mark.timeout(120 + 600 * SOAK)
@pytest.mark.parametrize(
    ("durability", "behind"),
    [("memory", False), ("replicas:1", True)] + [("memory", True), ("replicas:1", False)] * SOAK,
)
async def test_a_replica_that_has_less_takes_over_again_and_again(durability: str, behind: bool) -> None:
    """With the clocks of those that take over right, or behind, so that an epoch that was lost lies above the next."""
    chance = random.Random(seed := _seed())
    clocks: list[dict[str, str]] = [{}] * 3 + [clock_off_by(BEHIND_SECONDS)] * 3 if behind else []
    args = ["--enable-debug-command", "yes"]
    async with (
        cluster(binary=find_program() if behind else "redis-server", args=args, environments=clocks) as nodes,
        open_store(nodes.settings, partitions=PARTITIONS, durability=durability) as store,
    ):
        load, masters, allowed = Load(store, seed=seed), nodes.masters(), []
        async with loaded(load):
            await load.wrote(200)
            master = chance.choice([node for node in masters if _partitions(nodes, load, node)])
            for _ in range(LOSSES):
                allowed.append(await _lose(nodes, load, master))
                master = nodes.partner(master)
        print(load.refused)
        reports = await load.reports()
        assert len([report for report in reports if report.observer == "partition"]) >= LOSSES
        acknowledged = allowed if durability == "memory" else ()
        # An event that was seen and lost had told the merge that its partition has come so far. What takes its place
        # is later if the clocks agree; a clock that is behind dates it back.
        load.check(recorded_in(nodes, store.log), lost=reports, allowed=acknowledged, final=not behind)
        assert await verify(store.log) == []


async def _lose(nodes: ClusterOfServers, load: Load, master: Server) -> tuple[int, int]:
    """The replica of a master takes over without what was written last, and that had been seen. Returns the numbers of
    the appends that may be lost."""
    replica, keys = nodes.partner(master), load.store.log.keys
    first = len(load.appended)
    await nodes.replicated(master)
    await cut_off(replica, master)
    master.admin("DEBUG", "CHANGE-REPL-ID")  # an epoch of which the replica knows nothing
    cut = {p: int(master.admin("HGET", keys.head(p), "pos")) for p in _partitions(nodes, load, master)}
    await until(lambda: any(load.position("partition", p) > at for p, at in cut.items()))
    await kill(master)
    thaw(replica)
    await fail_over(replica, "TAKEOVER")
    await nodes.healthy()
    last = len(load.appended)
    await start_again(master)
    await nodes.healthy()
    await nodes.replicated(replica)
    async for _ in tries():
        if any(report.last > cut.get(report.partition, report.last) for report in await load.reports()):
            break
    await load.wrote(50)
    return first, last


def _partitions(nodes: ClusterOfServers, load: Load, master: Server) -> list[int]:
    return [p for p in range(PARTITIONS) if nodes.owner(load.store.log.keys.head(p)) is master]


def _seed() -> int:
    seed = random.randrange(1_000_000)
    print("seed", seed)
    return seed
