"""Which server serves a key: the only one, the one that Sentinel names, or the owner of the key's slot in a Cluster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError

from infrastructure.errors import Unavailable
from infrastructure.pools import Node
from infrastructure.refusals import code_of, refusal
from infrastructure.wires import Reply

SLOTS = 16_384

MakeNode = Callable[[str], Node]


class Routes(Protocol):
    async def refresh(self) -> None:
        """Learn who serves what. Raises Unavailable if nobody tells."""

    def find(self, key: str) -> Node:
        """The server of `key`. Raises Unavailable if there is none."""

    def redirect(self, error: ResponseError, by: Node) -> Node | None:
        """A server named another one for a slot. Returns the node to ask for the refused command alone, after ASK."""

    def masters(self) -> Mapping[str, Node]:
        """Every server that accepts writes, by address."""

    def retire(self) -> None:
        """Close all connections."""


class Standalone:
    """One server; which one never changes."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._greeted = False

    async def refresh(self) -> None:
        if not self._greeted:
            await _ask(self._node, "PING")
            self._greeted = True

    def find(self, key: str) -> Node:
        return self._node

    def redirect(self, error: ResponseError, by: Node) -> None:
        """Only the nodes of a Cluster redirect; the caller gets the reply and its remedy."""

    def masters(self) -> Mapping[str, Node]:
        return {self._node.address: self._node}

    def retire(self) -> None:
        self._node.retire()


class Sentinel:
    """The server that a Sentinel names as primary and that says so itself."""

    def __init__(self, sentinels: list[Node], name: str, make: MakeNode) -> None:
        self._sentinels = sentinels
        self._name = name
        self._make = make
        self._master: Node | None = None

    async def refresh(self) -> None:
        failures = []
        for sentinel in list(self._sentinels):
            try:
                await self._follow(sentinel)
            except Unavailable as error:
                failures.append(error)
                continue
            # Asked first from now on, as Redis advises: it is alive.
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return
        raise Unavailable(
            f"no Sentinel leads to the primary {self._name}: {'; '.join(error.detail for error in failures)}",
            reason=failures[-1].reason,
            remedy=failures[-1].remedy,
        )

    def find(self, key: str) -> Node:
        if self._master is None:
            raise Unavailable(f"no Sentinel has named the primary {self._name} yet", reason="unreachable")
        return self._master

    def redirect(self, error: ResponseError, by: Node) -> None:
        """Only the nodes of a Cluster redirect."""

    def masters(self) -> Mapping[str, Node]:
        return {self._master.address: self._master} if self._master else {}

    def retire(self) -> None:
        for node in (*self._sentinels, *self.masters().values()):
            node.retire()

    async def _follow(self, sentinel: Node) -> None:
        named = await self._named_by(sentinel)
        if named is None:
            raise Unavailable(
                f"the Sentinel {sentinel.address} knows no primary {self._name}",
                reason="unsupported",
                remedy="check redis.sentinel_master",
            )
        address = _address(named[0], named[1])
        known = self._master is not None and self._master.address == address
        node = self._master if self._master and known else self._make(address)
        try:
            await _must_be_master(node)
        except BaseException:
            if not known:
                node.retire()
            raise
        if not known:
            previous, self._master = self._master, node
            if previous:
                previous.retire()

    async def _named_by(self, sentinel: Node) -> Reply:
        try:
            return await _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
        except Unavailable as error:
            if error.reason != "authentication":
                raise
            raise Unavailable(
                f"the Sentinel {error.detail}",
                reason=error.reason,
                remedy="check redis.sentinel_username and redis.sentinel_password",
            ) from error


class Cluster:
    """The nodes of a Redis Cluster and their slots.

    Each question goes to another node than the last one: a node that is cut off from the rest goes on naming masters
    that have been replaced, itself among them, and whoever asked it first each time would never learn better.
    """

    def __init__(self, seeds: Sequence[str], make: MakeNode) -> None:
        self._seeds = seeds
        self._make = make
        self._nodes: dict[str, Node] = {}
        self._slots: dict[int, str] = {}
        self._informed: list[str] = []  # who named a move last knows more than the rest
        self._members = list(seeds)  # masters and replicas; the next to be asked comes first

    async def refresh(self) -> None:
        failures = []
        for address in list(dict.fromkeys((*self._informed, *self._members, *self._seeds))):
            try:
                ranges = await self._ranges(address)
            except Unavailable as error:
                failures.append(error)
                self._members = _last(address, self._members)
                continue
            self._informed.clear()
            self._adopt(ranges, address)
            return
        if len(failures) == 1:
            raise failures[0]
        raise Unavailable(
            f"no node of the Cluster answers: {'; '.join(error.detail for error in failures)}",
            reason=failures[-1].reason,
            remedy=failures[-1].remedy,
        )

    def find(self, key: str) -> Node:
        slot = key_slot(key.encode())
        address = self._slots.get(slot)
        if address is None:
            raise Unavailable(f"no node of the Cluster serves slot {slot}", reason="cluster", remedy="see CLUSTER INFO")
        return self._node(address)

    def redirect(self, error: ResponseError, by: Node) -> Node | None:
        if not isinstance(error, AskError):
            return None
        address = _address(error.host or by.address.rpartition(":")[0], error.port)
        if not isinstance(error, MovedError):
            return self._node(address)
        self._slots[error.slot_id] = address
        self._informed.append(address)
        return None

    def masters(self) -> Mapping[str, Node]:
        return {address: self._node(address) for address in sorted(set(self._slots.values()))}

    def retire(self) -> None:
        for node in self._nodes.values():
            node.retire()

    async def _ranges(self, address: str) -> Reply:
        ranges = await _ask(self._node(address), "CLUSTER", "SLOTS")
        if not ranges:
            raise Unavailable(f"{address} knows of no node that serves slots", reason="cluster", remedy="CLUSTER MEET")
        return ranges

    def _adopt(self, ranges: Reply, told_by: str) -> None:
        self._slots = dict(_owners(ranges, told_by))
        named = dict.fromkeys(_addresses(ranges, told_by))
        whole = len(self._slots) == SLOTS  # who knows of no owner for some slots may not know all nodes either
        known = [address for address in self._members if address in named or not whole]
        self._members = _last(told_by, [*known, *named])
        serving = set(self._slots.values())
        for address in [known for known in self._nodes if known not in serving]:
            self._nodes.pop(address).retire()

    def _node(self, address: str) -> Node:
        if address not in self._nodes:
            self._nodes[address] = self._make(address)
        return self._nodes[address]


async def _ask(node: Node, *command: str) -> Reply:
    reply = await _question(node, *command)
    if isinstance(reply, ResponseError):
        raise refusal(reply, node.address)
    return reply


async def _question(node: Node, *command: str) -> Reply:
    """A question of our own: if it fails, surely nothing of the caller's has been sent."""
    try:
        (reply,) = await node.calls.exchange(command)
    except Unavailable as error:
        raise Unavailable(error.detail, reason=error.reason, remedy=error.remedy) from error
    return reply


async def _must_be_master(node: Node) -> None:
    """A Sentinel that lags behind names a server that has been demoted; only the server itself knows."""
    reply = await _question(node, "ROLE")
    if isinstance(reply, ResponseError):
        if code_of(reply) == "NOPERM":
            return  # a user without the right to ask learns it from READONLY
        raise refusal(reply, node.address)
    if reply[0] != b"master":
        raise Unavailable(
            f"{node.address} is named as the primary but is a replica",
            reason="read-only",
            remedy="try again: a failover is under way",
        )


def _last(address: str, members: Iterable[str]) -> list[str]:
    """The members, each once, with this one behind all others."""
    return [*(other for other in dict.fromkeys(members) if other != address), address]


def _owners(ranges: Iterable[Reply], asked: str) -> Iterable[tuple[int, str]]:
    """Slot and address of its master."""
    for first, last, master, *_ in ranges:
        address = _member(master, asked)
        for slot in range(first, last + 1):
            yield slot, address


def _addresses(ranges: Iterable[Reply], asked: str) -> Iterable[str]:
    """All masters, then all replicas."""
    yield from (_member(master, asked) for _, _, master, *_ in ranges)
    yield from (_member(replica, asked) for _, _, _, *replicas in ranges for replica in replicas)


def _member(named: Reply, asked: str) -> str:
    """A node that does not know its own address leaves it out: it is the one asked."""
    host, port, *_ = named
    return _address(asked.rpartition(":")[0] if host in (None, b"", b"?") else host, port)


def _address(host: bytes | str, port: bytes | str | int) -> str:
    name = host.decode() if isinstance(host, bytes) else host
    number = port.decode() if isinstance(port, bytes) else port
    return f"[{name}]:{number}" if ":" in name and not name.startswith("[") else f"{name}:{number}"
