"""Lossy failovers as a model: three nodes with histories, wrong clocks, old primaries that come back."""

import random
from collections.abc import Sequence

Item = tuple[int, int, int]  # epoch, position, what tells two events of one place apart


class Node:
    """One server's copy of a partition."""

    def __init__(self, skew: int) -> None:
        self.skew, self.process, self.numbered_by = skew, 0, -1
        self.entries: list[Item] = []
        self.chain: list[tuple[int, int]] = []

    def append(self, now: int, unique: int) -> None:
        if self.numbered_by != self.process:
            above = max(self.chain[-1][0] if self.chain else 0, (now + self.skew) * 10_000)
            self.chain.append((above + 1 + self.process, len(self.entries) + 1))
            self.numbered_by = self.process
        self.entries.append((self.chain[-1][0], len(self.entries) + 1, unique))

    def copy(self, other: "Node", length: int) -> None:
        self.entries = other.entries[:length]
        self.chain = [start for start in other.chain if start[1] <= length]
        self.numbered_by = -1

    def epochs(self, newest_known: int | None) -> bytes | None:
        """As a page shows them: nothing to a reader that knows the newest one."""
        if newest_known == (self.chain[-1][0] if self.chain else 0):
            return None
        return ",".join(f"{epoch}:{first}" for epoch, first in self.chain).encode()


class World:
    """`step` does something at random; readers ask `primary`."""

    def __init__(self, chance: random.Random, skews: Sequence[int]) -> None:
        self.chance, self.now, self.unique, self.processes = chance, 100, 0, len(skews)
        self.nodes = [Node(skew) for skew in skews]
        for process, node in enumerate(self.nodes):
            node.process = process
        self.primary = self.nodes[0]

    def step(self) -> None:
        self.now += self.chance.randint(0, 12)
        what = self.chance.choice(["append"] * 6 + ["replicate"] * 3 + ["fail over"])
        if what == "append":
            self.unique += 1
            self.primary.append(self.now, self.unique)
        elif what == "replicate":
            self._replicate(self._other())
        else:
            self.primary = self._other()
            self.processes += 1
            self.primary.process = self.processes

    def _replicate(self, node: Node) -> None:
        """A node with a history of its own is resynchronised, or left as it is until it comes back as primary."""
        mine, theirs = self.primary.entries, node.entries
        if mine[: len(theirs)] == theirs:
            node.copy(self.primary, self.chance.randint(len(theirs), len(mine)))
        elif self.chance.random() < 0.5:
            node.copy(self.primary, self.chance.randint(0, len(mine)))

    def _other(self) -> Node:
        return self.chance.choice([node for node in self.nodes if node is not self.primary])
