"""Every command against a Cluster: `REDIS_URL` names any node, `REDIS_CLUSTER` says what it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import anyio.from_thread
import pytest

from tests.support.cluster import ClusterOfServers, cluster
from tests.support.command import Command, interrupt, wait_for_line, wait_until
from tests.support.logs import blocked_clients

NOTES = 400


@pytest.fixture(scope="module")
def nodes() -> Iterator[ClusterOfServers]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(cluster(replicas=False, args=["--maxmemory", "500mb"])) as nodes,
    ):
        yield nodes


@pytest.fixture(scope="module")
def cli(nodes: ClusterOfServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """With 400 notes in 40 streams of 16 partitions, for all tests. Afterwards no key is left but those of this log."""
    prefix = f"t{uuid4().hex[:8]}"
    command = Command(
        tmp_path_factory.mktemp("cli"), REDIS_URL=nodes.nodes[2].url, REDIS_CLUSTER="true", EVENTSTORE_PREFIX=prefix
    )
    lines = [{"type": "Noted", "stream": f"note-{n % 40:02}", "data": {"n": n}} for n in range(NOTES)]
    command.ok("import", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
    yield command
    keys = [key for node in nodes.nodes for key in node.admin("KEYS", "*")]
    ours = (f"{prefix}:{{log.".encode(), f"{prefix}:log".encode())
    assert [key for key in keys if not key.startswith(ours)] == []
    assert len([key for key in keys if key.endswith(b"}:head")]) == 16


def test_what_all_nodes_hold_is_listed_described_and_verified(cli: Command) -> None:
    found = cli.ok("streams", "--category", "note", "--json").items
    assert [(each["stream"], each["version"]) for each in found] == [(f"note-{n:02}", 10) for n in range(40)]
    log = cli.ok("log", "--json").json
    assert len(log["heads"]) == 16
    assert log["events"] >= NOTES
    assert log["bytes"] > 0
    assert log["server_bytes"] > 3_000_000, "of three servers"
    assert cli.ok("verify").out.endswith("events: each once, no gap, in order\n")


@pytest.mark.parametrize("order", ["partition", "total"])
def test_tail_follows_what_comes_to_any_node(cli: Command, nodes: ClusterOfServers, order: str) -> None:
    following = cli.start("tail", "--json", "--order", order, "--limit", "50")
    wait_until(lambda: sum(map(blocked_clients, nodes.nodes)) == 16 or following.poll() is not None)
    lines = [{"type": "Noted", "stream": f"{order}-{n}", "data": {"n": n}} for n in range(50)]
    cli.ok("import", "-", stdin="".join(json.dumps(line) + "\n" for line in lines))
    out, err = following.communicate(timeout=20)
    assert sorted(json.loads(line)["data"]["n"] for line in out.splitlines()) == list(range(50)), err


def test_doctor_looks_at_every_node_and_says_on_which_one_something_is_wrong(
    cli: Command, nodes: ClusterOfServers
) -> None:
    found = {each["name"]: each for each in cli.ok("doctor", "--json").items}
    assert found["log"]["detail"].startswith("16 partitions")
    assert found["server"]["detail"].endswith("(and 2 servers more)")
    victim = nodes.nodes[1]
    victim.admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        done = cli.run("doctor", "--json")
    finally:
        victim.admin("CONFIG", "SET", "maxmemory-policy", "noeviction")
    policy = next(each for each in done.items if each["name"] == "policy")
    assert (done.code, policy["status"]) == (1, "FAIL")
    assert victim.address in policy["detail"]
    assert "(1 of 3 servers)" in policy["detail"]


def test_bench_leaves_nothing_behind(cli: Command) -> None:
    assert len(cli.ok("bench", "--events", "1000", "--json").items) == 5


def test_up_holds_it_for_others(cli: Command) -> None:
    up = cli.start("up")
    wait_for_line(up, "eventstore is up at redis://")
    assert cli.ok("publish", "note-01", "Noted", "{}", "--json", "--expected", "10").json["version"] == 11
    assert len(cli.ok("read", "note-01", "--json").items) == 11
    code, _, err = interrupt(up)
    assert code == 0, err


def test_where_a_master_is_down_a_command_says_which_and_ends_with_5(tmp_path: Path) -> None:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(cluster(replicas=False)) as nodes,
    ):
        cli = Command(tmp_path, REDIS_URL=nodes.nodes[0].url, REDIS_CLUSTER="true")
        cli.ok("publish", "note-1", "Noted", "{}")
        dead = nodes.nodes[1]
        dead.process.kill()
        dead.process.wait()
        for words in (["log"], ["publish", "a-1", "T", "1"], ["doctor"]):
            done = cli.run(*words)
            assert done.code == 5, words
            assert f"nothing listens at {dead.address}" in done.err
            assert "CLUSTER NODES" in done.err
