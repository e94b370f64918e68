"""The merged order under any schedule of appends, reads, promises and wrong clocks."""

import random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore import merge
from eventstore.codec import Entry
from eventstore.envelope import Metadata
from tests.property.merge_model import Item, ModelReader, Partition, without_promises


def entry(item: Item) -> Entry:
    return Entry(UUID(int=1), "s", 1, item[1], 1, item[2], item[0], "T", 1, b"", Metadata())


class BatchReader:
    """`eventstore.merge`, told the same as the model."""

    def __init__(self, partitions: int) -> None:
        self.at = [0] * partitions
        self.lanes = [merge.Lane() for _ in range(partitions)]
        self.pending: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
        self.out: list[Item] = []

    def show(self, p: int, items: list[Item]) -> None:
        self.at[p] += len(items)
        self.lanes[p].show([entry(item) for item in items])
        self._emit(p)

    def promised(self, p: int, head: int, time: int) -> None:
        self.pending[p].append((head, time))
        self._emit(p)

    def _emit(self, p: int) -> None:
        for head, time in self.pending[p]:
            if self.at[p] >= head:
                self.lanes[p].promise(time)
        self.out += [merge.ascending(taken) for taken in merge.take(self.lanes)]


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from([0, 0, -150, -5, 80]), min_size=2, max_size=4))
def test_a_batch_is_what_the_rule_makes_final_one_by_one(chance: random.Random, skews: list[int]) -> None:
    k, now = len(skews), 1000
    partitions = [Partition(p, skew) for p, skew in enumerate(skews)]
    models, readers = [ModelReader(k) for _ in range(2)], [BatchReader(k) for _ in range(2)]
    for _ in range(chance.randint(40, 200)):
        now += chance.randint(0, 5)
        what, p, i = chance.choice(["append", "read", "read", "ask", "jump"]), chance.randrange(k), chance.randrange(2)
        newest = merge.newest(readers[i].lanes)
        if what == "append":
            partitions[p].append(now, chance.choice([0, 0, 0, max(q.last for q in partitions)]), chance.randint(1, 3))
        elif what == "jump" and chance.random() < 0.1:
            partitions[p].skew = chance.choice([0, -300, 200])
        elif what == "read":
            items = partitions[p].log[models[i].at[p] :][: chance.randint(1, 4)]
            models[i].show(p, items)
            readers[i].show(p, items)
        elif what == "ask" and newest != merge.NOTHING:
            head, promised = partitions[p].promise(newest[0])
            models[i].promised(p, head, promised)
            readers[i].promised(p, head, promised)
        assert [r.out for r in readers] == [m.out for m in models]
    for reader in readers:
        assert reader.out == sorted(set(reader.out))
    shorter, longer = sorted((reader.out for reader in readers), key=len)
    assert longer[: len(shorter)] == shorter


def test_without_promises_such_schedules_do_lose_the_order() -> None:
    chance = random.Random(7)
    wrong = 0
    for _ in range(200):
        partitions, reader = [Partition(p, chance.choice([0, -50, 50])) for p in range(3)], ModelReader(3)
        reader.emit = without_promises(reader)  # type: ignore[method-assign]
        for now in range(1000, 1030):
            partitions[chance.randrange(3)].append(now, 0, 1)
            p = chance.randrange(3)
            reader.show(p, partitions[p].log[reader.at[p] :][:2])
        wrong += reader.out != sorted(reader.out)
    assert wrong > 100


@given(st.lists(st.lists(st.integers(0, 50), max_size=30).map(sorted), min_size=1, max_size=5), st.booleans())
def test_finite_lanes_merge_into_one_sorted_list(times: list[list[int]], backwards: bool) -> None:
    key = merge.descending if backwards else merge.ascending
    everything, lanes = [], []
    for p, lane_times in enumerate(times):
        entries = [entry((t, p, position)) for position, t in enumerate(lane_times, 1)]
        everything += entries
        lanes.append(merge.Lane(key))
        lanes[-1].show(entries[::-1] if backwards else entries)
        lanes[-1].known = merge.EVERYTHING
    assert merge.take(lanes, key) == sorted(everything, key=key)
    assert merge.take(lanes, key) == []
