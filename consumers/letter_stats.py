"""How many letters there are, how much waits behind them, and what they have in common."""

from collections import defaultdict
from collections.abc import Mapping

from consumers.letter_scan import groups_of, scan
from consumers.letter_shape import Letter, LetterStats, Share, Where
from eventstore.store import EventStore

EVERYTHING = Where()


async def stats(store: EventStore, group: str | None = None, where: Where = EVERYTHING) -> LetterStats:
    """Of a group, or of all. Looks at every letter: some seconds for 100,000. Raises GroupNotFound, Unavailable,
    LogDamaged."""
    groups = await groups_of(store.log, group)
    whole = _Sum()
    by_group: dict[str, _Sum] = {each: _Sum() for each in groups}
    by_type, by_error = defaultdict[str, _Sum](_Sum), defaultdict[str, _Sum](_Sum)
    async for page in scan(store.log, groups, where, retrying=True):
        for letter in page:
            for part in (whole, by_group[letter.group], by_type[letter.type], by_error[letter.error]):
                part.add(letter)
    total = whole.share()
    return LetterStats(
        total.parked,
        total.waiting,
        total.retrying,
        total.oldest_seconds,
        by_group=_shares(by_group),
        by_type=_shares(by_type),
        by_error=_shares(by_error),
    )


class _Sum:
    def __init__(self) -> None:
        self.parked = self.waiting = self.retrying = 0
        self.oldest: float | None = None

    def add(self, letter: Letter) -> None:
        if not letter.is_parked:
            self.retrying += 1
            return
        self.parked += 1
        self.waiting += letter.waiting
        age = letter.parked_seconds
        if age is not None and age > (self.oldest or 0.0):
            self.oldest = age

    def share(self) -> Share:
        return Share(self.parked, self.waiting, self.retrying, self.oldest)


def _shares(sums: Mapping[str, _Sum]) -> dict[str, Share]:
    """The most of them first; those without any are left out."""
    there = [(name, each.share()) for name, each in sums.items() if each.parked or each.retrying]
    return dict(sorted(there, key=lambda pair: (-pair[1].parked, -pair[1].retrying, pair[0])))
