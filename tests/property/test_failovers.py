"""A reader finds its way back through any sequence of lossy failovers, with and without its chain."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstore.epochs import Observer
from tests.property.epoch_model import Item, World


class Reader:
    """What a subscription does with each page."""

    def __init__(self) -> None:
        self.observer = Observer()
        self.kept: list[Item] = []
        self.lost: list[Item] = []

    def read(self, world: World, n: int) -> None:
        node, chain = world.primary, self.observer.chain
        epochs = node.epochs(None if chain is None else chain[-1].epoch if chain else 0)
        common = self.observer.common(epochs, len(node.entries))
        assert common <= self.observer.position
        if common < self.observer.position:
            self.lost += self.kept[common:]
            del self.kept[common:]
            self.observer.move(epochs, common)
            return
        self.kept += node.entries[self.observer.position :][:n]
        self.observer.move(epochs, len(self.kept))

    def forget_the_chain(self) -> None:
        """What is left of it in a cursor."""
        self.observer = Observer(self.observer.place)


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(-60, 60), min_size=3, max_size=3), st.booleans())
def test_what_a_reader_kept_is_in_the_end_what_the_log_holds(
    chance: random.Random, skews: list[int], cursors: bool
) -> None:
    world, reader = World(chance, skews), Reader()
    for _ in range(chance.randint(15, 75)):
        world.step()
        if chance.random() < 0.4:
            reader.read(world, chance.randint(1, 5))
        elif cursors and chance.random() < 0.2:
            reader.forget_the_chain()
    while reader.kept != world.primary.entries:
        before = len(reader.kept), len(reader.lost)
        reader.read(world, 5)
        assert (len(reader.kept), len(reader.lost)) != before, "the reader stands still"


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(-60, 60), min_size=3, max_size=3))
def test_with_its_chain_a_reader_reports_exactly_what_the_log_has_lost(chance: random.Random, skews: list[int]) -> None:
    world, reader = World(chance, skews), Reader()
    for _ in range(chance.randint(15, 75)):
        world.step()
        before = list(reader.kept)
        reader.read(world, chance.randint(1, 5))
        gone = [item for item in before if item not in world.primary.entries]
        assert reader.lost[-len(gone) :] == gone if gone else reader.kept[: len(before)] == before
