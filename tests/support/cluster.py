"""A real Cluster with replicas, and what happens to one: slots move key by key, masters fail over, die, come back."""

import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import redis.exceptions
from redis.crc import key_slot

from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.servers import Server, free_port, redis_server, tries, until

NODE_TIMEOUT_MS = 5_000  # a node that does not answer for so long counts as failed: long enough for a busy machine
_OPTIONS = {
    "cluster-enabled": "yes",
    "cluster-replica-validity-factor": "0",  # a replica may take over however long it was cut off
    "cluster-allow-replica-migration": "no",
    "appendonly": "no",
    "repl-timeout": "5",
}


class ClusterOfServers:
    """All nodes, the first ones made as masters, then their replicas in the same order."""

    def __init__(self, nodes: Sequence[Server], masters: int) -> None:
        self.nodes = list(nodes)
        self.settings = RedisSettings(url=SecretUrl(nodes[0].url), cluster=True, socket_timeout_seconds=2.0)
        self._pairs = {nodes[i].port: nodes[i + masters] for i in range(len(nodes) - masters)}
        self._pairs |= {replica.port: self._server(port) for port, replica in list(self._pairs.items())}

    def owner(self, key: str) -> Server:
        """The running master that serves a key."""
        slot = key_slot(key.encode())
        return next(node for first, last, node in self._served() if first <= slot <= last)

    def masters(self) -> list[Server]:
        """The running ones that serve slots, in order of their first."""
        return list(dict.fromkeys(node for _, _, node in self._served()))

    def partner(self, node: Server) -> Server:
        """The other one of its shard."""
        return self._pairs[node.port]

    def errors(self, code: str) -> int:
        """How often the nodes that run have answered so."""
        return sum(_errors(node, code) for node in self.running())

    async def answer(self, code: str, since: int | None = None) -> None:
        """Until one of the running nodes has answered so once more; `since` is a count that was taken earlier."""
        before = self.errors(code) if since is None else since
        await until(lambda: self.errors(code) > before)

    def running(self) -> list[Server]:
        return [node for node in self.nodes if node.process.poll() is None and not _stopped(node)]

    async def healthy(self, seconds: float = 20) -> None:
        """Until every running node sees a Cluster that is whole."""
        await until(lambda: all(_is_ok(node) for node in self.running()), seconds)

    async def replicated(self, master: Server) -> None:
        """Until the replica follows its master and has all that it has."""
        await until(lambda: has_replica(master) and _offset(self.partner(master)) >= _offset(master))

    def _served(self) -> list[tuple[int, int, Server]]:
        """What each running master says of itself: after a failover the others learn it a moment later."""
        found = []
        for node in filter(is_master, self.running()):
            slots = node.admin("CLUSTER", "SLOTS")
            found += [(first, last, node) for first, last, (_, port, *_), *_ in slots if port == node.port]
        return sorted(found, key=lambda each: each[:2])

    def _server(self, port: object) -> Server:
        return next(node for node in self.nodes if node.port == port)


@asynccontextmanager
async def cluster(
    masters: int = 3,
    *,
    replicas: bool = True,
    binary: str = "redis-server",
    args: Sequence[str] = (),
    environments: Sequence[dict[str, str]] = (),
    node_timeout_ms: int = NODE_TIMEOUT_MS,
) -> AsyncIterator[ClusterOfServers]:
    """Masters with the slots spread evenly over them in order, and a replica for each. `environments` has one for each
    node, in the order of `nodes`. A master that dies is replaced a second or two after `node_timeout_ms`."""
    count = masters * (2 if replicas else 1)
    values = _OPTIONS | {"cluster-node-timeout": str(node_timeout_ms)}
    options = [word for name, value in values.items() for word in (f"--{name}", value)]
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                redis_server(
                    binary,
                    [*options, *args],
                    port=free_port(bus=True),
                    environment=environments[i] if environments else None,
                )
            )
            for i in range(count)
        ]
        edges = [16_384 * i // masters for i in range(masters + 1)]
        for i, node in enumerate(nodes):
            node.admin("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            nodes[0].admin("CLUSTER", "MEET", "127.0.0.1", node.port)
            if i < masters:
                node.admin("CLUSTER", "ADDSLOTSRANGE", edges[i], edges[i + 1] - 1)
        await until(lambda: all(_is_ok(node) and _known(node) == count for node in nodes))
        for replica, master in zip(nodes[masters:], nodes[:masters], strict=bool(replicas)):
            replica.admin("CLUSTER", "REPLICATE", node_id(master))
        if replicas:
            await until(lambda: all(has_replica(master) for master in nodes[:masters]))
            await until(lambda: all(_sees_replicas(node, masters) for node in nodes))
        yield ClusterOfServers(nodes, masters)


# ---- a slot on its way ----


class Move:
    """One slot from one master to another, step by step. Between `begin` and `end` the nodes answer ASK and TRYAGAIN,
    afterwards the source answers MOVED."""

    def __init__(self, cluster: ClusterOfServers, key: str, target: Server) -> None:
        self.slot, self.source, self.target = key_slot(key.encode()), cluster.owner(key), target
        self._others = [node for node in cluster.masters() if node not in (self.source, target)]

    def begin(self) -> None:
        self.target.admin("CLUSTER", "SETSLOT", self.slot, "IMPORTING", node_id(self.source))
        self.source.admin("CLUSTER", "SETSLOT", self.slot, "MIGRATING", node_id(self.target))

    def left(self) -> list[bytes]:
        """What is still at the source."""
        found: list[bytes] = self.source.admin("CLUSTER", "GETKEYSINSLOT", self.slot, 1_000_000)
        return found

    def step(self, keys: Sequence[bytes]) -> None:
        """Some keys go over."""
        if keys:
            self.source.admin("MIGRATE", "127.0.0.1", self.target.port, "", 0, 10_000, "KEYS", *keys)

    def end(self) -> None:
        """All have gone; the target owns the slot, and says so first."""
        assert not self.left()
        for node in (self.target, self.source, *self._others):
            node.admin("CLUSTER", "SETSLOT", self.slot, "NODE", node_id(self.target))


# ---- masters come and go ----


async def fail_over(replica: Server, *how: str) -> None:
    """The orderly exchange of roles; with "TAKEOVER" or "FORCE" without asking the master. Asked for again and again:
    the others do not vote twice for the same shard within two node timeouts."""
    async for number in tries():
        if is_master(replica):
            return
        if number % 100 == 0:
            replica.admin("CLUSTER", "FAILOVER", *how)


async def kill(node: Server) -> None:
    node.process.kill()
    node.process.wait()


def freeze(node: Server) -> None:
    node.process.send_signal(signal.SIGSTOP)


def thaw(node: Server) -> None:
    node.process.send_signal(signal.SIGCONT)


async def cut_off(replica: Server, master: Server) -> None:
    """The replica stands still, and what its master is told from now on does not wait for it in its socket."""
    freeze(replica)
    master.admin("CLIENT", "KILL", "TYPE", "replica")
    await until(lambda: not has_replica(master))


async def start_again(node: Server) -> None:
    """The same node after its death: it has its `nodes.conf`, and no data."""
    assert node.start is not None
    node.process = node.start()
    await until(lambda: answers(node))


# ---- what a node says ----


def node_id(node: Server) -> str:
    reply: bytes = node.admin("CLUSTER", "MYID")
    return reply.decode()


def is_master(node: Server) -> bool:
    return bool(node.admin("ROLE")[0] == b"master")


def has_replica(master: Server) -> bool:
    return bool(b"state=online" in master.admin("INFO", "replication"))


def answers(node: Server) -> bool:
    try:
        return bool(node.admin("PING"))
    except redis.exceptions.ConnectionError:
        return False


def _errors(node: Server, code: str) -> int:
    found = re.search(rb"errorstat_%s:count=(\d+)" % code.encode(), node.admin("INFO", "errorstats"))
    return int(found[1]) if found else 0


def _is_ok(node: Server) -> bool:
    return bool(b"cluster_state:ok" in node.admin("CLUSTER", "INFO"))


def _known(node: Server) -> int:
    return len([line for line in node.admin("CLUSTER", "NODES").splitlines() if b"handshake" not in line])


def _sees_replicas(node: Server, count: int) -> bool:
    return bool(node.admin("CLUSTER", "NODES").count(b"slave") == count)


def _offset(node: Server) -> int:
    return int(re.findall(rb"master_repl_offset:(\d+)", node.admin("INFO", "replication"))[0])


def _stopped(node: Server) -> bool:
    with open(f"/proc/{node.process.pid}/stat") as stat:  # noqa: PTH123
        return stat.read().rpartition(")")[2].split()[0] == "T"
