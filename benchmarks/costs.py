"""What is better when there is less of it: bytes, processor time. The ratio is to a baseline of the same round."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from benchmarks.measure import Ratio


class Price(Struct, frozen=True):
    """What one way costs per event: a figure per round, with what else there is to say about it."""

    name: str
    values: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)


class Cost(Struct, frozen=True):
    """Prices of the same work; those after the baseline stand for themselves."""

    title: str
    unit: str
    ours: Sequence[Price]
    baseline: Price
    others: Sequence[Price] = ()

    def ratio(self, price: Price) -> Ratio:
        ratios = [ours / theirs for ours, theirs in zip(price.values, self.baseline.values, strict=True)]
        return Ratio(median(ratios), min(ratios), max(ratios))
